//! A Service with `externalTrafficPolicy: Local` at the address by which its pods leave: kube-proxy answers only on nodes
//! that run one, so these hold the address.

use crate::cluster::{FAR, SIP, SIP_FRONTEND, at};
use crate::harness::{Host, Lab, assert_echoes};

/// Who speaks to the Service.
const OUTSIDE: &str = "10.10.0.200";
const GATEWAYS: [&str; 2] = ["node-4", "node-5"];

/// What kubectl prints of the Service.
fn service(lab: &Lab, path: &str) -> String {
    let output = format!("jsonpath={path}");
    lab.kubectl(&["get", "service", "sip", "-n", "telephony", "-o", &output]).trim().to_owned()
}

/// The gateway that holds the Service's address, and the other one.
#[track_caller]
pub fn holder_and_other(lab: &Lab) -> (&'static str, &'static str) {
    let holder = lab.until("a holder of the Service's address", || {
        let node = service(lab, r"{.metadata.annotations.kube-vip\.io/vipHost}");
        GATEWAYS.into_iter().find(|name| *name == node).ok_or(node)
    });
    (holder, if holder == "node-4" { "node-5" } else { "node-4" })
}

/// By externalTrafficPolicy Local a pod sees who speaks to it.
#[track_caller]
pub fn reached_with_the_clients_address(lab: &Lab) {
    let client = lab.host("outside-1");
    lab.until("the Service to show its clients", || match client.tcp_source(at(SIP_FRONTEND)) {
        Ok(source) if source.to_string() == OUTSIDE => Ok(()),
        other => Err(format!("{other:?}")),
    });
    for _ in 0..3 {
        assert_eq!(client.tcp_source(at(SIP_FRONTEND)).unwrap().to_string(), OUTSIDE);
        assert_eq!(client.udp_source(at(SIP_FRONTEND)).unwrap().to_string(), OUTSIDE);
    }
}

fn phone(lab: &Lab, node: &str) {
    lab.pod("telephony", &format!("phone-{node}"), node, "app=phone").serve_sources(1100);
}

fn hang_up(lab: &Lab, node: &str) {
    lab.egret(&["pod", &format!("phone-{node}"), "-n", "telephony", "--rm"]);
}

#[track_caller]
fn until_held_by(lab: &Lab, node: &str) {
    lab.until("the address to be where the pod is", || match holder_and_other(lab).0 {
        holder if holder == node => Ok(()),
        holder => Err(holder.to_owned()),
    });
    reached_with_the_clients_address(lab);
}

/// Each gateway runs a phone, and so does a node that is none: `far`.
pub fn the_address_is_held_where_the_services_pods_are(lab: &Lab, far: &Host) {
    let local = "{\"spec\": {\"externalTrafficPolicy\": \"Local\"}}";
    lab.kubectl(&["patch", "service", "sip", "-n", "telephony", "--type=merge", "-p", local]);
    reached_with_the_clients_address(lab);
    let (mut outbound, source) = far.connect(at(FAR));
    assert_eq!(source.to_string(), SIP);

    let (first, second) = holder_and_other(lab);
    hang_up(lab, first);
    until_held_by(lab, second);
    assert_echoes(&mut outbound, "the address went to where the Service's other pod is");

    // Back again, by a pod that is not ready before the other one has gone.
    phone(lab, first);
    reached_with_the_clients_address(lab);
    assert_eq!(holder_and_other(lab).0, second, "one pod more is no reason to go");
    let unready = |status: &str| {
        let conditions = format!(
            "{{\"status\": {{\"conditions\": [{{\"type\": \"Ready\", \"status\": \"{status}\"}}]}}}}"
        );
        let name = format!("phone-{first}");
        let patch =
            ["patch", "pod", &name, "-n", "telephony", "--subresource=status", "--type=strategic", "-p"];
        lab.kubectl(&[&patch[..], &[&conditions]].concat());
    };
    unready("False");
    hang_up(lab, second);
    let condition = r#"{.status.conditions[?(@.type=="egret.dev/EgressFullyApplied")].reason}"#;
    lab.until("the Service to be told that nobody reaches it", || match service(lab, condition) {
        told if told == "NoLocalPod" => Ok(()),
        other => Err(other),
    });
    assert_echoes(&mut outbound, "no gateway runs a pod that is ready");
    assert_eq!(far.tcp_source(at(FAR)).unwrap().to_string(), SIP, "pods leave by it all the same");
    unready("True");
    until_held_by(lab, first);
    lab.until("the Service to be told no more", || match service(lab, condition) {
        told if told.is_empty() => Ok(()),
        told => Err(told),
    });
    assert_echoes(&mut outbound, "the pod is ready");
    phone(lab, second);
    reached_with_the_clients_address(lab);
}

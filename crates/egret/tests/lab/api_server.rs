//! What happens when the API server is not there: nothing, until it is back.

use std::net::TcpStream;

use crate::harness::{ANTREA_HA, Host, Lab, SMALL, Store, assert_echoes};

const FAR: &str = "198.51.100.10:7000";

fn connect(pod: &Host) -> (TcpStream, String) {
    let (stream, source) = pod.connect(FAR.parse().unwrap());
    (stream, source.to_string())
}

#[test]
fn a_gateway_fails_over_while_the_api_server_is_dead_and_changes_take_effect_when_it_is_back() {
    let lab = Lab::up_on(Store::Kubernetes, "t-api", SMALL);
    lab.apply(ANTREA_HA);
    lab.host("outside-2").serve_sources(7000);
    let pod = lab.pod("prod", "web", "node-1", "app=web");
    let (mut stream, source) = connect(&pod);
    assert_eq!(source, "10.10.0.11");

    lab.egret(&["fault", "control", "power-off"]);
    assert!(!lab.try_egret(&["kubectl", "--request-timeout=2s", "get", "nodes"]).status.success());
    for node in ["node-4", "node-5"] {
        lab.egret(&["fault", node, "cut", "eth1"]);
        assert_echoes(&mut stream, "the other gateway carries on");
        assert_eq!(connect(&pod).1, "10.10.0.11", "a new connection while {node} is cut off");
        lab.egret(&["fault", node, "heal"]);
        assert_echoes(&mut stream, "and both are back");
    }

    lab.egret(&["fault", "control", "heal"]);
    assert_echoes(&mut stream, "the API server is back");
    let other = lab.pod("staging", "other", "node-2", "app=web");
    assert_eq!(connect(&other).1, "10.10.0.12", "a pod that came afterwards");
    assert_eq!(connect(&pod).1, "10.10.0.11", "no address has moved");
    lab.assert_no_leak();
}

#[test]
fn kubectl_speaks_to_the_api_server_of_its_lab() {
    let lab = Lab::up_on(Store::Kubernetes, "t-kubectl", SMALL);
    lab.apply(ANTREA_HA);
    lab.pod("prod", "web", "node-1", "app=web");
    let nodes = lab.egret(&["kubectl", "get", "nodes", "-o", "name"]);
    assert_eq!(nodes.lines().count(), 4, "{nodes}");
    let pods = lab.egret(&["kubectl", "get", "pods", "-n", "prod", "-o", "wide"]);
    assert!(pods.contains("Running") && pods.contains("node-1"), "{pods}");
    let egress =
        lab.egret(&["kubectl", "get", "egress", "egress-prod-web", "-o", "jsonpath={.status.egressIP}"]);
    assert_eq!(egress, "10.10.0.11");
    let own = lab
        .host("control")
        .command(env!("CARGO_BIN_EXE_egret"), &["import", "cluster", "--kubeconfig", &kubeconfig(&lab)]);
    let own = String::from_utf8_lossy(&own.stdout).into_owned();
    assert!(own.contains("kind: EgressPool") && own.contains("kind: ClusterEgressPolicy"), "{own}");
    let told = lab.host("control").command(
        env!("CARGO_BIN_EXE_egret"),
        &["explain", "pod", "prod/web", "--store", "kubernetes", "--kubeconfig", &kubeconfig(&lab)],
    );
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("=> leaves by 10.10.0.11"), "{told}");
}

/// The controller's, which may read everything that Egret reads.
fn kubeconfig(lab: &Lab) -> String {
    let arguments = lab.host("node-1").pids.into_iter().find_map(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words: Vec<String> =
            line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        words.iter().any(|word| word == "controller").then_some(words)
    });
    let arguments = arguments.unwrap();
    let at = arguments.iter().position(|word| word == "--kubeconfig").unwrap();
    arguments[at + 1].clone()
}

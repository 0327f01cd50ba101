//! LoxiLB's example with pods that are in the other network by macvlans: of their node's interface between nodes, and of a
//! gateway's wire, where the holder of the egress address announces it, too.

use std::net::SocketAddr;

use crate::attackers::{repelled, throw, udp};
use crate::dialects::{LOXILB, OF_LOXILB, lab, other, survives};
use crate::harness::{Host, Lab};

const ROUTER: [&str; 2] = ["--router", "123.123.123.200"];
const OUTSIDE: &str = "198.51.100.10:7000";

fn pod(lab: &Lab, last: u8, node: &str, parent: &str, router: &[&str]) -> Host {
    let (name, second) = (format!("pod-{last}"), format!("123.123.123.{last}/24"));
    let pod = ["pod", &name, "--node", node, "-l", "app=pod", "--second", &second, "--parent", parent];
    lab.egret(&[&pod[..], router].concat());
    lab.host(&name)
}

/// A pod's neighbours see it as it is, whatever it sends.
#[track_caller]
fn assert_seen_as(pod: &Host, neighbour: &str, address: &str) {
    let neighbour: SocketAddr = neighbour.parse().unwrap();
    assert_eq!(pod.tcp_source(neighbour).unwrap().to_string(), address, "{neighbour}");
    assert_eq!(pod.udp_source(neighbour).unwrap().to_string(), address, "{neighbour}");
}

/// L5, L6, L12.
#[test]
fn pods_on_macvlans_leave_by_the_egress_address_and_outlive_its_node() {
    let lab = lab("t-macvlan", &[LOXILB]);
    let gateway = other(OF_LOXILB.carried_by(&lab, &["node-4", "node-5"]));
    let inside = pod(&lab, 17, "node-1", "eth0", &ROUTER);
    let at_gateway = pod(&lab, 18, gateway, "eth1", &ROUTER);
    // Not listed: on the same parent, and behind another one in the same network.
    let sibling = pod(&lab, 19, "node-1", "eth0", &[]);
    let distant = pod(&lab, 20, "node-2", "eth0", &[]);
    for (neighbour, node) in [(&sibling, "172.16.0.1"), (&distant, "172.16.0.2")] {
        neighbour.serve_sources(7001);
        let source = neighbour.tcp_source(OUTSIDE.parse().unwrap()).unwrap();
        assert_eq!(source.to_string(), node, "the example does not list it");
    }
    assert_seen_as(&inside, "123.123.123.19:7001", "123.123.123.17");
    assert_seen_as(&inside, "123.123.123.20:7001", "123.123.123.17");
    assert_seen_as(&sibling, "123.123.123.20:7001", "123.123.123.19");

    let pods = [inside, at_gateway];
    OF_LOXILB.assert_datagrams(&pods);
    for pod in &pods {
        let ping = pod.command("ping", &["-c", "3", "-i", "0.2", "-W", "2", "198.51.100.10"]);
        assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
    }
    for node in ["node-1", gateway] {
        let answered = lab.counters(node).get("ANSWERED_ARP").copied().unwrap_or_default();
        assert!(answered > 0, "the pod's own node is the router: {:?}", lab.counters(node));
    }
    let forged = udp(("123.123.123.17", 9), ("123.123.123.20", 7001), b"who am I?");
    repelled(&lab, "node-1", "DROP_SPOOFED", "a sibling's address", || throw(&sibling, forged.clone()));

    let held = OF_LOXILB.connect(&pods);
    lab.kill_programs("node-1");
    lab.egret(&["fault", "node-1", "heal"]);
    survives(&lab, &OF_LOXILB, &pods, held);
    lab.egret(&["pod", "pod-17", "--rm"]);
    assert_seen_as(&sibling, "123.123.123.20:7001", "123.123.123.19");
}

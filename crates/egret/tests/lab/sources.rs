//! Which address the outside sees.

use std::net::SocketAddr;

use crate::harness::{ANTREA_HA, Lab, SMALL};

const OWN: &str = include_str!("own.yaml");
const NEAR: &str = "10.10.0.200:7000";
const FAR: &str = "198.51.100.10:7000";

fn at(server: &str) -> SocketAddr {
    server.parse().unwrap()
}

#[test]
fn seed_example_sends_prod_and_staging_by_their_addresses_under_each_cni_shape() {
    let lab = Lab::up("t-seed", SMALL);
    lab.apply(ANTREA_HA);
    for outside in ["outside-1", "outside-2"] {
        lab.host(outside).serve_sources(7000);
    }
    for (namespace, expected) in [("prod", "10.10.0.11"), ("staging", "10.10.0.12")] {
        for node in ["node-1", "node-2", "node-4", "node-5"] {
            let pod = lab.pod(namespace, &format!("{namespace}-{node}"), node, "app=web");
            for server in [NEAR, FAR] {
                assert_eq!(
                    pod.tcp_source(at(server)).unwrap().to_string(),
                    expected,
                    "TCP, {namespace} on {node} to {server}"
                );
                assert_eq!(
                    pod.udp_source(at(server)).unwrap().to_string(),
                    expected,
                    "UDP, {namespace} on {node} to {server}"
                );
            }
            let ping = pod.command("ping", &["-c", "3", "-i", "0.2", "-W", "2", "198.51.100.10"]);
            assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
        }
    }
    lab.assert_no_leak();
}

#[test]
fn unselected_pods_and_destinations_go_as_before() {
    let lab = Lab::up("t-before", SMALL);
    for outside in ["outside-1", "outside-2"] {
        lab.host(outside).serve_sources(7000);
    }
    let other = lab.pod("prod", "other", "node-1", "app=other");
    let batch = lab.pod("batch", "job", "node-1", "app=batch");
    let before = [other.tcp_source(at(FAR)).unwrap(), batch.tcp_source(at(NEAR)).unwrap()];
    lab.apply(ANTREA_HA);
    lab.apply(OWN);
    assert_eq!(other.tcp_source(at(FAR)).unwrap(), before[0], "a pod that nobody selects");
    assert_eq!(batch.tcp_source(at(NEAR)).unwrap(), before[1], "a destination that the policy does not name");
    assert_eq!(batch.tcp_source(at(FAR)).unwrap().to_string(), "10.10.0.64", "a destination that it names");
    let neighbour = lab.pod("prod", "web", "node-2", "app=web");
    neighbour.serve_sources(7000);
    let inside: SocketAddr =
        format!("{}:7000", neighbour.addresses[0].split('/').next().unwrap()).parse().unwrap();
    assert_eq!(
        batch.tcp_source(inside).unwrap().to_string(),
        batch.addresses[0].split('/').next().unwrap(),
        "pod to pod"
    );
    lab.assert_no_leak();
}

#[test]
fn ipv6_leaves_by_ipv6_addresses() {
    let lab = Lab::up("t-v6", SMALL);
    lab.apply(OWN);
    lab.host("outside-2").serve_sources(7000);
    for node in ["node-1", "node-2", "node-4"] {
        let pod = lab.pod("six", &format!("six-{node}"), node, "app=six");
        let server = at("[fd00:198:51:100::10]:7000");
        assert_eq!(pod.tcp_source(server).unwrap().to_string(), "fd00:10:10::1000", "TCP on {node}");
        assert_eq!(pod.udp_source(server).unwrap().to_string(), "fd00:10:10::1000", "UDP on {node}");
        let ping = pod.command("ping", &["-c", "3", "-i", "0.2", "-W", "2", "fd00:198:51:100::10"]);
        assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
    }
    lab.assert_no_leak();
}

#[test]
fn answers_to_connections_from_outside_are_no_egress() {
    let lab = Lab::up("t-reply", SMALL);
    lab.apply(ANTREA_HA);
    let pod = lab.pod("prod", "web", "node-1", "app=web");
    pod.serve_sources(7000);
    // the outside reaches the pod through its node, as a node port would
    lab.egret(&["exec", "router", "--", "ip", "route", "add", "10.244.1.0/24", "via", "10.0.0.1"]);
    let server: SocketAddr = format!("{}:7000", pod.addresses[0].split('/').next().unwrap()).parse().unwrap();
    let outside = lab.host("outside-2");
    assert_eq!(outside.tcp_source(server).unwrap().to_string(), "198.51.100.10", "TCP");
    assert_eq!(outside.udp_source(server).unwrap().to_string(), "198.51.100.10", "UDP");
}

#[test]
fn the_older_way_of_attaching_and_the_way_without_tunnel_carry_the_same_packets() {
    for (name, arguments) in [("t-clsact", "[--attach, clsact]"), ("t-link", "[--steering, link]")] {
        let lab = Lab::up(name, &SMALL.replace("    cni:", &format!("    agent: {arguments}\n    cni:")));
        lab.apply(ANTREA_HA);
        lab.apply(OWN);
        lab.host("outside-2").serve_sources(7000);
        for node in ["node-1", "node-2", "node-5"] {
            let pod = lab.pod("prod", &format!("web-{node}"), node, "app=web");
            assert_eq!(pod.tcp_source(at(FAR)).unwrap().to_string(), "10.10.0.11", "{arguments} on {node}");
            let pod = lab.pod("six", &format!("six-{node}"), node, "app=six");
            let server = at("[fd00:198:51:100::10]:7000");
            assert_eq!(
                pod.tcp_source(server).unwrap().to_string(),
                "fd00:10:10::1000",
                "{arguments} on {node}"
            );
        }
        let counters = lab.counters("node-1");
        let way = if name == "t-link" { "SENT_LINK" } else { "SENT_OVERLAY" };
        assert!(counters[way] > 0, "{counters:?}");
        lab.assert_no_leak();
    }
}

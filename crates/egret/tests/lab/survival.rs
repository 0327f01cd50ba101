//! What may die without anybody noticing.

use std::net::TcpStream;

use crate::harness::{ANTREA_HA, Lab, SMALL, Store, assert_echoes, on_both_stores};

on_both_stores!(
    agents_and_controller_die_and_connections_do_not,
    a_hung_agent_moves_nothing_and_a_cut_wire_moves_its_addresses,
);

/// A connection from the pod, and the source that the other end saw.
fn connect(pod: &crate::harness::Host, server: &str) -> (TcpStream, String) {
    let (stream, source) = pod.connect(server.parse().unwrap());
    (stream, source.to_string())
}

#[test]
fn demo_loses_no_connection_when_the_gateway_is_powered_off() {
    let lab = Lab::not_up("t-demo");
    let report = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo.json");
    lab.egret(&["demo", "--out", report.to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report["connections"]["held"], 1000, "{report:#}");
    assert_eq!(report["connections"]["lost"], 0, "{report:#}");
    assert_eq!(report["wrong_source_packets"], 0, "{report:#}");
}

pub fn agents_and_controller_die_and_connections_do_not(store: Store) {
    let lab = Lab::up_on(store, "t-kill", SMALL);
    lab.apply(ANTREA_HA);
    lab.host("outside-2").serve_sources(7000);
    let pod = lab.pod("prod", "web", "node-1", "app=web");
    let (mut stream, source) = connect(&pod, "198.51.100.10:7000");
    assert_eq!(source, "10.10.0.11");
    for node in ["node-1", "node-4", "node-5"] {
        lab.kill_programs(node);
    }
    assert_echoes(&mut stream, "all agents are dead");
    let (_, source) = connect(&pod, "198.51.100.10:7000");
    assert_eq!(source, "10.10.0.11", "a new connection, all agents dead");
    for node in ["node-1", "node-4", "node-5"] {
        lab.egret(&["fault", node, "heal"]);
    }
    assert_echoes(&mut stream, "all agents are back");
    let counters = lab.counters("node-1");
    let sent: u64 = ["SENT_OVERLAY", "SENT_LINK"].iter().filter_map(|way| counters.get(*way)).sum();
    assert!(sent > 5, "the counters were adopted, not begun anew: {counters:?}");
    for node in ["node-4", "node-5"] {
        let only = format!("nodeSelector: {{ matchLabels: {{ kubernetes.io/hostname: {node} }} }}");
        lab.apply(&ANTREA_HA.replacen("nodeSelector: {}", &only, 1));
        assert_echoes(&mut stream, &format!("the pool selects {node} alone"));
        let (_, source) = connect(&pod, "198.51.100.10:7000");
        assert_eq!(source, "10.10.0.11", "by {node}");
    }
    lab.assert_no_leak();
}

fn a_hung_agent_moves_nothing_and_a_cut_wire_moves_its_addresses(store: Store) {
    let lab = Lab::up_on(store, "t-cut", SMALL);
    lab.apply(ANTREA_HA);
    lab.host("outside-1").serve_sources(7000);
    let pod = lab.pod("prod", "web", "node-1", "app=web");
    let (mut stream, _) = connect(&pod, "10.10.0.200:7000");
    for node in ["node-4", "node-5"] {
        lab.egret(&["fault", node, "hang"]);
        assert_echoes(&mut stream, "its kernel goes on");
        lab.egret(&["fault", node, "heal"]);
    }
    for node in ["node-4", "node-5"] {
        lab.egret(&["fault", node, "cut", "eth1"]);
        assert_echoes(&mut stream, "the other gateway carries on");
        lab.egret(&["fault", node, "heal"]);
        assert_echoes(&mut stream, "and both are back");
    }
    lab.assert_no_leak();
}

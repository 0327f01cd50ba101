//! What grows with connections, and what must not.

use std::net::UdpSocket;
use std::process::Command;

use crate::harness::{Lab, SMALL};

const FLOWS: usize = 100_000;
const SERVERS: u16 = 32;

const WIDE: &str = "
apiVersion: egret.dev/v1alpha1
kind: EgressPool
metadata: { name: wide }
spec:
  ranges: [{ start: 10.10.0.80, end: 10.10.0.80 }]
  ports: { blockSize: 1024, initialBlocks: 16, maxBlocks: 16 }
---
apiVersion: egret.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: wide }
spec:
  namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: wide } }
  pool: wide
";

fn entries(lab: &Lab, node: &str, map: &str) -> usize {
    let pin = lab.directory().join("bpf").join(node).join("maps").join(map);
    let output = Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(&pin).output().unwrap();
    assert!(output.status.success(), "{pin:?}: {}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    rows.len()
}

#[test]
fn gateways_keep_nothing_per_flow_at_100_000_flows() {
    let lab = Lab::up_alone("t-flows", SMALL);
    lab.apply(WIDE);
    let outside = lab.host("outside-1");
    outside.serve_sources(7000);
    let pod = lab.pod("wide", "many", "node-1", "app=many");
    assert_eq!(pod.udp_source("10.10.0.200:7000".parse().unwrap()).unwrap().to_string(), "10.10.0.80");
    let maps =
        ["flows", "returns", "inbound", "leases", "served", "egress", "pods", "rules", "nodes", "inside"];
    let before: Vec<usize> =
        maps.iter().map(|map| entries(&lab, "node-4", map) + entries(&lab, "node-5", map)).collect();
    pod.wait(|| {
        for client in 0..FLOWS / SERVERS as usize {
            let socket = UdpSocket::bind(("0.0.0.0", 20_000 + client as u16)).unwrap();
            for server in 0..SERVERS {
                socket.send_to(b"one flow", ("10.10.0.200", 9000 + server)).unwrap();
            }
        }
    });
    let flows = entries(&lab, "node-1", "flows");
    assert!(flows >= FLOWS, "{flows} flows on the pod's node; {:?}", lab.counters("node-1"));
    let after: Vec<usize> =
        maps.iter().map(|map| entries(&lab, "node-4", map) + entries(&lab, "node-5", map)).collect();
    assert_eq!(before, after, "maps of the gateways: {maps:?}");
    lab.assert_no_leak();
}

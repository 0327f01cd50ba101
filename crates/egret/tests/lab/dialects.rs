//! The examples of four systems' documentation, as they stand, on real packets: pods leave by the address that the
//! example says, a gateway dies, and connections hold.

use std::net::TcpStream;
use std::time::Instant;

use serde_json::Value;

use crate::harness::{ANTREA_HA, DEADLINE, Host, Lab, assert_echoes};

pub const NETWORKS: &str = include_str!("../../../lab/topology/dialects.yaml");
const KUBE_VIP: &str = include_str!("../../../lab/demo/kube-vip.yaml");
pub const LOXILB: &str = include_str!("../../../lab/demo/loxilb.yaml");
const DECKHOUSE: &str = include_str!("../../../lab/demo/deckhouse.yaml");

/// Pods that a selector of the examples means, and where each system says who carries.
pub struct Example {
    /// The address that the pods leave by.
    address: &'static str,
    /// The object's status, by kind, namespace and name, and the field that names the node.
    status: (&'static str, &'static str),
    /// The port that the example is about.
    port: u16,
}

const ANTREA: Example =
    Example { address: "10.10.0.11", status: ("Egress/_/egress-prod-web", "/egressNode"), port: 7000 };
const OF_DECKHOUSE: Example = Example {
    address: "172.18.18.242",
    status: ("EgressGateway/_/egress-gw", "/activeNodeName"),
    port: 7000,
};
pub const OF_LOXILB: Example = Example {
    address: "123.123.123.200",
    status: ("Egress.egress.loxilb.io/default/loxilb-egress-svc2", "/node"),
    port: 7000,
};
const OF_KUBE_VIP: Example = Example {
    address: "192.168.0.245",
    status: ("Service/telephony/sip", "/conditions/0/message"),
    port: 5060,
};

impl Example {
    /// Connections of these pods, which carry the address.
    #[track_caller]
    pub fn connect(&self, pods: &[Host]) -> Vec<TcpStream> {
        pods.iter()
            .flat_map(|pod| {
                let server = self.server();
                (0..5).map(move |_| {
                    let (stream, source) = pod.connect(server.parse().unwrap());
                    assert_eq!(source.to_string(), self.address, "{}", pod.namespace);
                    stream
                })
            })
            .collect()
    }

    fn server(&self) -> &'static str {
        if self.port == 5060 { "198.51.100.10:5060" } else { "198.51.100.10:7000" }
    }

    /// Datagrams of these pods carry the address.
    #[track_caller]
    pub fn assert_datagrams(&self, pods: &[Host]) {
        for pod in pods {
            let source = pod.udp_source_asking_again(self.server().parse().unwrap()).unwrap();
            assert_eq!(source.to_string(), self.address, "{}", pod.namespace);
        }
    }

    /// Waits until the object itself names one of these nodes as the one that carries, and returns it.
    #[track_caller]
    pub fn carried_by(&self, lab: &Lab, nodes: &[&'static str]) -> &'static str {
        let (file, field) = self.status;
        let path = lab.directory().join("store/.egret/status").join(format!("{file}.json"));
        let begun = Instant::now();
        loop {
            let status: Value = std::fs::read(&path)
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok())
                .unwrap_or_default();
            let told = status.pointer(field).and_then(Value::as_str).unwrap_or_default();
            if let Some(node) = nodes.iter().find(|node| told.ends_with(**node)) {
                return node;
            }
            assert!(begun.elapsed() < DEADLINE, "{file} names none of {nodes:?}: {status:#}");
            std::thread::yield_now();
        }
    }
}

pub fn other(node: &str) -> &'static str {
    if node == "node-4" { "node-5" } else { "node-4" }
}

/// A lab in which the far host tells sources.
pub fn lab(name: &str, manifests: &[&str]) -> Lab {
    let lab = Lab::up(name, NETWORKS);
    manifests.iter().for_each(|text| lab.apply(text));
    for port in [5060, 7000] {
        lab.host("outside-2").serve_sources(port);
    }
    lab
}

/// The gateway that carries is powered off: the connections go on, new ones have the same address, and the object
/// names the other gateway.
#[track_caller]
pub fn survives(lab: &Lab, example: &Example, pods: &[Host], mut held: Vec<TcpStream>) {
    let gateways = ["node-4", "node-5"];
    let carrier = example.carried_by(lab, &gateways);
    lab.egret(&["fault", carrier, "power-off"]);
    held.iter_mut().for_each(|stream| assert_echoes(stream, "the gateway is dead"));
    example.assert_datagrams(pods);
    example.carried_by(lab, &[other(carrier)]);
    lab.egret(&["fault", carrier, "heal"]);
    held.iter_mut().for_each(|stream| assert_echoes(stream, "and back"));
    lab.assert_no_leak();
}

#[test]
fn kube_vips_example_runs_as_written_on_every_node_and_outlives_a_gateway() {
    // Its connections are TCP, which the example as it stands does not name.
    let with_tcp = KUBE_VIP.replace("udp:5060", "tcp:5060,udp:5060");
    let lab = lab("t-kubevip", &[KUBE_VIP]);
    let pods = ["node-1", "node-2"].map(|node| lab.pod("telephony", &format!("sip-{node}"), node, "app=sip"));
    OF_KUBE_VIP.assert_datagrams(&pods);
    let elsewhere = pods[0].udp_source("198.51.100.10:7000".parse().unwrap()).unwrap();
    assert_eq!(elsewhere.to_string(), "172.16.0.1", "another port goes as before");
    let tcp = pods[0].tcp_source("198.51.100.10:5060".parse().unwrap()).unwrap();
    assert_eq!(tcp.to_string(), "172.16.0.1", "another protocol goes as before");
    lab.apply(&with_tcp);
    let held = OF_KUBE_VIP.connect(&pods);
    survives(&lab, &OF_KUBE_VIP, &pods, held);
    // Its `externalTrafficPolicy: Local` asks for the address where a pod runs.
    let without = other(OF_KUBE_VIP.carried_by(&lab, &["node-4", "node-5"]));
    let mut held = OF_KUBE_VIP.connect(&pods);
    let late = lab.pod("telephony", "sip-late", without, "app=sip");
    OF_KUBE_VIP.carried_by(&lab, &[without]);
    OF_KUBE_VIP.assert_datagrams(&[late]);
    held.iter_mut().for_each(|stream| assert_echoes(stream, "the address went to a pod"));
    lab.assert_no_leak();
}

#[test]
fn deckhouses_example_runs_as_written_and_outlives_the_master() {
    let lab = lab("t-deckhouse", &[DECKHOUSE]);
    let pods =
        ["node-1", "node-2"].map(|node| lab.pod("default", &format!("vm-{node}"), node, "app=backend"));
    let stranger = lab.pod("elsewhere", "stranger", "node-1", "app=backend");
    let held = OF_DECKHOUSE.connect(&pods);
    let source = stranger.tcp_source("198.51.100.10:7000".parse().unwrap()).unwrap();
    assert_eq!(source.to_string(), "172.16.0.1", "the same label in another namespace");
    survives(&lab, &OF_DECKHOUSE, &pods, held);
}

/// The pods that the example lists have these addresses in another network than the cluster's, where they have the egress
/// address for their router, as the documentation writes it; the third is there, too, and not listed.
fn loxilbs_pods(lab: &Lab) -> [Host; 3] {
    let router = ["--router", "123.123.123.200"];
    [("17", "node-1", &router[..]), ("18", "node-2", &router[..]), ("19", "node-1", &[])].map(
        |(last, node, router)| {
            let (name, second) = (format!("pod-{last}"), format!("123.123.123.{last}/24"));
            let pod = ["pod", &name, "--node", node, "-l", "app=pod", "--second", &second];
            lab.egret(&[&pod[..], router].concat());
            lab.host(&name)
        },
    )
}

/// L3, L5, L6, L12.
#[test]
fn loxilbs_example_runs_as_written_and_outlives_its_node() {
    let lab = lab("t-loxilb", &[LOXILB]);
    let [first, second, third] = loxilbs_pods(&lab);
    let source = third.tcp_source("198.51.100.10:7000".parse().unwrap()).unwrap();
    assert_eq!(source.to_string(), "172.16.0.1", "the example does not list it");
    // Neighbours in the network see each other as they are.
    third.serve_sources(7001);
    let seen = first.tcp_source("123.123.123.19:7001".parse().unwrap()).unwrap();
    assert_eq!(seen.to_string(), "123.123.123.17", "a neighbour is no matter of an Egress");
    let seen = first.udp_source("123.123.123.19:7001".parse().unwrap()).unwrap();
    assert_eq!(seen.to_string(), "123.123.123.17", "a neighbour is no matter of an Egress");
    let pods = [first, second];
    OF_LOXILB.assert_datagrams(&pods);
    let ping = pods[0].command("ping", &["-c", "3", "-i", "0.2", "-W", "2", "198.51.100.10"]);
    assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
    let answered = lab.counters("node-1").get("ANSWERED_ARP").copied().unwrap_or_default();
    assert!(answered > 0, "the pod's own node is the router: {:?}", lab.counters("node-1"));
    let mut held = OF_LOXILB.connect(&pods);
    for node in ["node-1", "node-2"] {
        lab.kill_programs(node);
        lab.egret(&["fault", node, "heal"]);
    }
    held.iter_mut().for_each(|stream| assert_echoes(stream, "their nodes' agents began anew"));
    survives(&lab, &OF_LOXILB, &pods, held);
}

/// L10: the selector means pods in the networks that the annotation names; who is in none of them is left out.
#[test]
fn a_selector_means_its_pods_in_the_networks_that_are_named() {
    let lab = lab("t-multus", &[]);
    let by_selector = LOXILB
        .replace(
            "  name: loxilb-egress-svc2\n",
            "  name: by-selector\n  annotations: { loxilb.io/multus-nets: default/second }\n",
        )
        .replace("  addresses:\n  - 123.123.123.17\n  - 123.123.123.18\n", "  selector: { app: pod }\n");
    assert!(by_selector.contains("multus-nets") && by_selector.contains("selector:"), "{by_selector}");
    let [first, _, third] = loxilbs_pods(&lab);
    let alone = lab.pod("default", "alone", "node-1", "app=pod");
    lab.apply(&by_selector);
    OF_LOXILB.assert_datagrams(std::slice::from_ref(&first));
    for pod in [&alone, &third] {
        let source = pod.tcp_source("198.51.100.10:7000".parse().unwrap()).unwrap();
        assert_eq!(source.to_string(), "172.16.0.1", "{}: by the cluster's network as before", pod.namespace);
    }
    lab.egret(&["pod", "pod-17", "--rm"]);
    lab.assert_no_leak();
}

#[test]
fn four_systems_examples_run_side_by_side_in_one_cluster() {
    let lab = lab("t-dialects", &[ANTREA_HA, DECKHOUSE, LOXILB, KUBE_VIP]);
    let web = lab.pod("prod", "web", "node-2", "app=web");
    let backend = lab.pod("default", "backend", "node-2", "app=backend");
    let sip = lab.pod("telephony", "sip", "node-2", "app=sip");
    let [first, second, _] = loxilbs_pods(&lab);
    let examples = [
        (ANTREA, vec![web]),
        (OF_DECKHOUSE, vec![backend]),
        (OF_LOXILB, vec![first, second]),
        (OF_KUBE_VIP, vec![sip]),
    ];
    for (example, pods) in &examples {
        example.assert_datagrams(pods);
    }
    let carriers = examples.each_ref().map(|(example, _)| example.carried_by(&lab, &["node-4", "node-5"]));
    let dying = carriers[0];
    lab.egret(&["fault", dying, "power-off"]);
    for (example, pods) in &examples {
        example.carried_by(&lab, &[other(dying)]);
        example.assert_datagrams(pods);
    }
    lab.assert_no_leak();
}

#[test]
fn demos_of_all_systems_lose_no_connection() {
    let lab = Lab::not_up("t-demos");
    let report = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo-all.json");
    let out = report.to_str().unwrap();
    lab.egret(&["demo", "--dialect", "all", "--connections", "200", "--flows", "40", "--out", out]);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    let examples = report["examples"].as_object().unwrap();
    assert_eq!(examples.len(), 4, "{report:#}");
    for (name, example) in examples {
        let count = |of: &str, what: &str| example[of][what].as_u64().unwrap();
        assert_eq!(count("connections", "lost") + count("flows", "lost"), 0, "{name}: {example:#}");
        assert_eq!(count("connections", "held") + count("flows", "held"), 240, "{name}: {example:#}");
        let young = count("connections", "younger_than_10_s") + count("flows", "younger_than_10_s");
        assert!(young > 0, "{name}: L12, who is too young to be copied holds as well: {example:#}");
    }
    assert_eq!(report["wrong_source_packets"], 0, "{report:#}");
}

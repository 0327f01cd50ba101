//! Services at the address by which their pods leave: whose a port is.

use std::net::IpAddr;

use egret_api::{Kind, Lease, ObjectKey, PortUse};
use egret_plan::allocate::QUARANTINE;
use jiff::SignedDuration;
use serde_json::json;

use crate::sim::{Cluster, decode, pod_object};

/// A block that is leased from the beginning.
const BLOCK: u16 = 1024;
/// A port in its middle.
const LATER: u16 = 1500;

fn address() -> IpAddr {
    "10.10.0.245".parse().unwrap()
}

/// The Service, reached by these ports.
fn put_service(cluster: &mut Cluster, ports: &[u16]) {
    let key = ObjectKey { kind: Kind::Service, namespace: "telephony".to_owned(), name: "sip".to_owned() };
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "sip", "namespace": "telephony", "annotations": {
            "kube-vip.io/egress": "true", "kube-vip.io/loadbalancerIPs": address(),
        }},
        "spec": {
            "type": "LoadBalancer", "selector": {"app": "sip"},
            "ports": ports.iter().map(|port| json!({"port": port, "protocol": "UDP"})).collect::<Vec<_>>(),
        },
    });
    if let Some(before) = cluster.objects.get(&key) {
        service["status"] = before.encode().unwrap()["status"].clone();
    }
    cluster.apply(decode(service));
    cluster.settle();
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::six_nodes();
    for n in 1..=2 {
        let (name, node) = (format!("sip-{n}"), format!("node-{n}"));
        cluster.apply(pod_object("telephony", &name, &node, 10, json!({"app": "sip"})));
    }
    cluster.apply(decode(json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPool", "metadata": {"name": "services"},
        "spec": {"ranges": [{"cidr": "10.10.0.240/28"}], "namespaces": {"names": ["telephony"]}},
    })));
    put_service(&mut cluster, &[5060]);
    cluster
}

/// The lease of the block, if anybody has it.
fn lease(cluster: &Cluster) -> Option<Lease> {
    let record = cluster.world.record(address()).unwrap();
    record.spec.leases.iter().find(|lease| lease.first_port == BLOCK).cloned()
}

/// Whether the node takes ports of new flows from the block, and to whom the gateway sends what comes to it; what a
/// gateway sends to nobody is its kernel's, and so kube-proxy's.
fn in_force(cluster: &Cluster, node: &str) -> (bool, Option<IpAddr>) {
    let takes = cluster.kernels[node].egress[&address()].blocks.contains(&BLOCK);
    let holder = &cluster.plans[node].holders[&address()];
    let to = cluster.kernels[holder].leases.get(&(address(), BLOCK)).copied();
    for gateway in ["node-4", "node-5", "node-6"] {
        let other = cluster.kernels[gateway].leases.get(&(address(), BLOCK)).copied();
        assert_eq!(other, to, "{gateway} may hold the address next");
    }
    (takes, to)
}

fn has_flows(cluster: &mut Cluster, node: &str, busy_blocks: &[u16]) {
    let used = PortUse { wanted_blocks: 0, flows: 3, busy_blocks: busy_blocks.to_vec() };
    cluster.flows.insert((node.to_owned(), address()), used);
    cluster.settle();
}

/// As `docs/limits.md` says it of a port that a Service gets later.
#[test]
fn a_port_that_a_service_gets_later_is_its_own_when_the_flows_of_its_block_have_ended() {
    let mut cluster = cluster();
    let node = lease(&cluster).unwrap().node;
    let source: IpAddr = format!("10.0.0.{}", &node[5..]).parse().unwrap();
    has_flows(&mut cluster, &node, &[BLOCK]);
    assert_eq!(in_force(&cluster, &node), (true, Some(source)));

    put_service(&mut cluster, &[5060, LATER]);
    assert_eq!(in_force(&cluster, &node), (false, Some(source)), "flows go on, new ones have other ports");
    assert!(!cluster.kernels[&node].egress[&address()].blocks.is_empty(), "there are others");
    assert!(lease(&cluster).unwrap().released.is_some());

    cluster.pass(QUARANTINE * 5);
    cluster.settle();
    assert_eq!(in_force(&cluster, &node), (false, Some(source)), "however long they take");

    has_flows(&mut cluster, &node, &[]);
    assert_eq!(in_force(&cluster, &node), (false, None), "what comes to the port is the Service's");
    assert_eq!(lease(&cluster), None);

    // Whoever needs ports gets others.
    for _ in 0..3 {
        for busy in ["node-1", "node-2"] {
            let used = PortUse { wanted_blocks: 0, flows: 100_000, busy_blocks: Vec::new() };
            cluster.flows.insert((busy.to_owned(), address()), used);
        }
        cluster.settle();
    }
    assert!(cluster.world.record(address()).unwrap().spec.leases.len() > 20);
    assert_eq!(lease(&cluster), None, "it is nobody's to lease");

    put_service(&mut cluster, &[5060]);
    cluster.settle();
    assert!(lease(&cluster).is_some(), "until the Service has the port no more");
}

#[test]
fn a_block_without_flows_rests_for_two_minutes_before_its_port_is_the_services() {
    let mut cluster = cluster();
    let node = lease(&cluster).unwrap().node;
    put_service(&mut cluster, &[5060, LATER]);
    let (_, held) = in_force(&cluster, &node);
    cluster.pass(QUARANTINE - SignedDuration::from_secs(1));
    cluster.settle();
    assert!(held.is_some());
    assert_eq!(in_force(&cluster, &node), (false, held), "remote ends may still remember its flows");
    cluster.pass(SignedDuration::from_secs(1));
    cluster.settle();
    assert_eq!(in_force(&cluster, &node), (false, None));
}

/// K13, K14: whichever node has heard of it first.
#[test]
fn a_pod_that_moves_leaves_by_the_services_address_from_its_new_node_and_is_unknown_to_its_old_one() {
    let mut cluster = cluster();
    let at = |node: &str| -> IpAddr { format!("10.244.{}.10", &node[5..]).parse().unwrap() };
    let leaves_by = |cluster: &Cluster, node: &str| {
        let kernel = &cluster.kernels[node];
        let set = kernel.pods.get(&at(node))?.rules;
        let rules = kernel.rules.iter().filter(|((id, _), _)| *id == set).flat_map(|(_, rules)| rules);
        rules.filter_map(|rule| rule.egress).next()
    };
    assert_eq!(leaves_by(&cluster, "node-1"), Some(address()));
    // Under the same name, as a StatefulSet does it; and then with another address on the same node.
    cluster.apply(pod_object("telephony", "sip-1", "node-3", 10, json!({"app": "sip"})));
    for node in ["node-1", "node-3"] {
        cluster.agent(node);
    }
    assert!(!cluster.kernels["node-1"].pods.contains_key(&at("node-1")), "its old address is nobody's");
    assert!(!cluster.kernels["node-1"].guard.selected.contains_key(&at("node-1")));
    // Until it has ports it sends nothing, and by no other address.
    assert_eq!(leaves_by(&cluster, "node-3"), Some(address()));
    assert!(cluster.kernels["node-3"].egress[&address()].blocks.is_empty());
    cluster.settle();
    assert!(!cluster.kernels["node-3"].egress[&address()].blocks.is_empty());

    cluster.apply(pod_object("telephony", "sip-1", "node-3", 11, json!({"app": "sip"})));
    cluster.settle();
    assert!(!cluster.kernels["node-3"].pods.contains_key(&at("node-3")));
    let other: IpAddr = "10.244.3.11".parse().unwrap();
    assert!(cluster.kernels["node-3"].guard.selected.contains_key(&other));
}

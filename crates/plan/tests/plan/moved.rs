//! Addresses of nodes that leave their node: every node knows it from the reports, before the controller has decided
//! anything, and while there is none.

use std::net::IpAddr;

use egret_plan::tables::Path;
use serde_json::json;

use crate::sim::{Cluster, decode, pod_object};

const NODES: [&str; 3] = ["node-4", "node-5", "node-6"];

fn own(node: &str) -> IpAddr {
    format!("10.10.0.10{}", &node[5..]).parse().unwrap()
}

fn other(address: IpAddr) -> &'static str {
    NODES.into_iter().find(|node| own(node) != address).unwrap()
}

/// Addresses by which the rules of a node's pods let packets leave.
fn leaves_by(cluster: &Cluster, node: &str) -> Vec<IpAddr> {
    cluster.kernels[node].rules.values().flatten().filter_map(|rule| rule.egress).collect()
}

fn path(cluster: &Cluster, node: &str, address: IpAddr) -> Path {
    cluster.kernels[node].egress[&address].path
}

/// An address leaves a node, and perhaps comes to another one. The agents notice; no controller runs.
fn moves(cluster: &mut Cluster, from: &str, to: Option<&str>) {
    let moved = format!("{}/24", own(from)).parse().unwrap();
    let mut wires: Vec<_> = [Some(from), to]
        .into_iter()
        .flatten()
        .map(|node| (node.to_owned(), cluster.local(node).wires[0].addresses.clone()))
        .collect();
    for (node, addresses) in &mut wires {
        match *node == from {
            true => assert!(addresses.remove(&moved)),
            false => assert!(addresses.insert(moved)),
        }
    }
    cluster.wires.extend(wires);
    for node in cluster.nodes() {
        cluster.agent(&node);
    }
    cluster.agent("node-1");
}

#[test]
fn without_a_controller_pods_turn_to_another_node_when_an_address_leaves_its_own() {
    let mut cluster = Cluster::six_nodes();
    cluster.apply(pod_object("prod", "web", "node-1", 10, json!({})));
    cluster.apply(decode(json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPool", "metadata": {"name": "own"},
        "spec": {"nodeAddress": {}, "interface": "eth1", "namespaces": {"names": ["*"]}},
    })));
    cluster.apply(decode(json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPolicy", "metadata": {"name": "web", "namespace": "prod"},
        "spec": {"podSelector": {}, "pool": "own"},
    })));
    cluster.settle();
    let before = leaves_by(&cluster, "node-1")[0];
    let node = NODES.into_iter().find(|node| own(node) == before).unwrap();
    assert!(matches!(path(&cluster, "node-1", before), Path::Overlay(_)));

    // The wire stays, with its other address: the node can carry much, but not this.
    moves(&mut cluster, node, None);
    let now = leaves_by(&cluster, "node-1");
    assert!(!now.is_empty() && !now.contains(&before), "{now:?}");
    assert!(matches!(path(&cluster, "node-1", now[0]), Path::Overlay(_)));
    assert_eq!(path(&cluster, "node-1", before), Path::None, "nobody can answer for it");
    assert!(!cluster.kernels[node].served.contains_key(&before), "nor does its node try");

    cluster.settle();
    assert_eq!(leaves_by(&cluster, "node-1"), now);
    assert!(
        !cluster.world.record(before).is_some_and(|record| record
            .spec
            .claims
            .iter()
            .any(|c| c.name == "web"))
    );
}

#[test]
fn nothing_is_sent_to_the_node_that_an_address_has_left_and_all_to_the_one_that_has_it() {
    let mut cluster = Cluster::six_nodes();
    cluster.apply(pod_object("prod", "web", "node-1", 10, json!({})));
    let address = own("node-4");
    cluster.apply(decode(json!({
        "apiVersion": "crd.antrea.io/v1beta1", "kind": "Egress", "metadata": {"name": "static"},
        "spec": {"appliedTo": {"podSelector": {}}, "egressIP": address},
    })));
    cluster.settle();
    let by_overlay = |node: &str| Path::Overlay(format!("10.0.0.{}", &node[5..]).parse().unwrap());
    assert_eq!(path(&cluster, "node-1", address), by_overlay("node-4"));
    let to = other(address);
    moves(&mut cluster, "node-4", Some(to));
    assert_eq!(path(&cluster, "node-1", address), Path::None, "it is not known yet to be another's");
    assert_eq!(
        leaves_by(&cluster, "node-1"),
        [address],
        "and no other address is the one that was asked for"
    );
    let leases = cluster.world.record(address).unwrap().spec.leases.clone();
    cluster.settle();
    assert_eq!(path(&cluster, "node-1", address), by_overlay(to));
    assert_eq!(cluster.world.record(address).unwrap().spec.leases, leases, "connections keep their ports");
    assert!(cluster.kernels[to].served.contains_key(&address));
    assert!(!cluster.kernels["node-4"].served.contains_key(&address));
}

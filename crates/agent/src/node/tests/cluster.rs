//! Two gateways, a source node with a pod, one address: as objects, as links, and as a node that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use egret_api::{EgressAddress, EgressNode, Kind, Modes, Object};
use egret_datapath::LinkSnapshot;
use egret_plan::tables::{LinkIndex, Path, UnknownPods};
use egret_plan::{ClusterSettings, LocalWire, PodLink, Steering, Underlay};
use egret_store::Changes;
use serde_json::{Value, json};

use super::memory::Memory;
use crate::kernel::Kernel;
use crate::liveness::Verdict;
use crate::node::{Node, Setup};

pub(super) const ADDRESS: &str = "192.0.2.11";
pub(super) const POD: &str = "10.244.1.10";
pub(super) const UNDERLAY: LinkIndex = 2;
pub(super) const WIRE: LinkIndex = 3;
pub(super) const POD_LINK: LinkIndex = 7;

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn decode(kind: Kind, value: Value) -> Object {
    kind.decode(value).unwrap()
}

pub(super) fn cluster_node(number: u8) -> Object {
    decode(
        Kind::Node,
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{number}")},
            "spec": {"podCIDR": format!("10.244.{number}.0/24")},
            "status": {"addresses": [{"type": "InternalIP", "address": format!("10.0.0.{number}")}]},
        }),
    )
}

/// Two gateways, one source node with a selected pod, and one address whose port block it leases.
pub(super) fn cluster() -> Vec<Object> {
    let gateway = |number: u8| {
        let value = json!({
            "apiVersion": "egret.dev/v1alpha1", "kind": "EgressNode", "metadata": {"name": format!("node-{number}")},
            "spec": {
                "underlay": format!("10.0.0.{number}"), "ready": true, "programmed": {ADDRESS: 1},
                "wires": [{"interface": "eth1", "addresses": [format!("192.0.2.{number}/24")], "carrier": true}],
            },
        });
        Object::EgressNode(Box::new(serde_json::from_value::<EgressNode>(value).unwrap()))
    };
    let record = json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressAddress", "metadata": {"name": "192-0-2-11"},
        "spec": {
            "address": ADDRESS, "pool": "EgressPool/pool", "blockSize": 1024, "revision": 1,
            "claims": [{"kind": "EgressPolicy", "namespace": "prod", "name": "web"}],
            "candidates": ["node-4", "node-5"],
            "leases": [
                {"node": "node-1", "firstPort": 1024, "revision": 1},
                {"node": "node-2", "firstPort": 2048, "revision": 1},
            ],
        },
    });
    let mut objects: Vec<_> = [1, 2, 4, 5].into_iter().map(cluster_node).collect();
    objects.extend([
        gateway(4),
        gateway(5),
        Object::EgressAddress(Box::new(serde_json::from_value::<EgressAddress>(record).unwrap())),
        decode(
            Kind::EgressPool,
            json!({
                "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPool", "metadata": {"name": "pool"},
                "spec": {"ranges": [{"start": ADDRESS, "end": ADDRESS}], "namespaces": {"names": ["prod"]}},
            }),
        ),
        decode(
            Kind::EgressPolicy,
            json!({
                "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPolicy",
                "metadata": {"name": "web", "namespace": "prod"}, "spec": {"podSelector": {}, "pool": "pool"},
            }),
        ),
        decode(
            Kind::Pod,
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "prod"},
                "spec": {"nodeName": "node-1", "containers": []}, "status": {"podIPs": [{"ip": POD}]},
            }),
        ),
    ]);
    objects
}

pub(super) fn batch(applied: Vec<Object>) -> Changes {
    let applied = applied.into_iter().map(Into::into).collect();
    Changes { applied, objects_digest: "o1".into(), addresses_digest: "a1".into(), ..Changes::default() }
}

pub(super) fn wire(link: LinkIndex, interface: &str, address: &str, carrier: bool) -> LocalWire {
    let addresses = [address.parse().unwrap()].into();
    LocalWire {
        interface: interface.into(),
        link,
        mac: [2, 0, 0, 0, 0, link as u8],
        addresses,
        primary: [].into(),
        carrier,
    }
}

pub(super) fn links(number: u8, carrier: bool, pods: bool) -> LinkSnapshot {
    let underlay = format!("10.0.0.{number}");
    let mut wires = vec![wire(UNDERLAY, "eth0", &format!("{underlay}/24"), true)];
    if number > 3 {
        wires.push(wire(WIRE, "eth1", &format!("192.0.2.{number}/24"), carrier));
    }
    let pod = PodLink { link: POD_LINK, mac: [6; 6], host_mac: [8; 6] };
    LinkSnapshot {
        underlay: Some(Underlay {
            link: UNDERLAY,
            address: ip(&underlay),
            mac: [2, 0, 0, 0, 0, 2],
            addresses: [format!("{underlay}/24").parse().unwrap()].into(),
        }),
        underlay_interface: "eth0".into(),
        wires,
        candidates: if number == 1 { [POD_LINK].into() } else { BTreeSet::new() },
        pod_links: if pods && number == 1 { [(ip(POD), pod)].into() } else { BTreeMap::new() },
        second: BTreeSet::new(),
        second_links: BTreeMap::new(),
    }
}

pub(super) fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(super) fn verdict(alive: &[&str], dead: &[&str]) -> Verdict {
    Verdict { alive: names(alive), dead: names(dead), reachable: names(alive) }
}

pub(super) fn adopt(number: u8, kernel: Memory) -> Node<Memory> {
    adopt_steering(number, kernel, Steering::Overlay)
}

pub(super) fn adopt_steering(number: u8, kernel: Memory, steering: Steering) -> Node<Memory> {
    let setup = Setup {
        node: format!("node-{number}"),
        unknown_pods: UnknownPods::Hold,
        steering,
        cluster: ClusterSettings::default(),
        modes: Modes::default(),
    };
    let actual = kernel.read().unwrap();
    Node::adopt(setup, kernel, actual)
}

/// A node with its first plan in force.
pub(super) fn running(number: u8) -> (Node<Memory>, Instant) {
    let mut node = adopt(number, Memory::default());
    let now = Instant::now();
    node.objects(batch(cluster()));
    node.links(links(number, true, true));
    let others: Vec<_> =
        ["node-4", "node-5"].into_iter().filter(|name| *name != format!("node-{number}")).collect();
    node.gateways(verdict(&others, &[]));
    node.step(now);
    assert_eq!(node.waiting(), Vec::<String>::new());
    assert!(node.in_force().is_some());
    (node, now)
}

pub(super) fn path(node: &Node<Memory>) -> Path {
    node.kernel.tables.egress[&ip(ADDRESS)].path
}

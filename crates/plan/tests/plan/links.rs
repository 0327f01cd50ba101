//! Without tunnel: who tries, who uses it, and who sends back by it.

use std::net::IpAddr;

use egret_plan::Steering;
use egret_plan::tables::Path;
use serde_json::json;

use crate::sim::{Cluster, decode, pod_object};

pub fn cluster(steering: Steering) -> Cluster {
    let mut cluster = Cluster::six_nodes();
    cluster.steering = steering;
    cluster.apply(decode(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod"}})));
    cluster.apply(pod_object("prod", "web", "node-1", 10, json!({"app": "web"})));
    for (kind, metadata, spec) in [
        (
            "EgressPool",
            json!({"name": "p"}),
            json!({"ranges": [{"start": "10.10.0.11", "end": "10.10.0.11"}],
            "namespaces": {"names": ["prod"]}}),
        ),
        (
            "EgressPolicy",
            json!({"name": "web", "namespace": "prod"}),
            json!({"podSelector": {}, "pool": "p"}),
        ),
    ] {
        cluster.apply(decode(
            json!({"apiVersion": "egret.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}),
        ));
    }
    cluster.settle();
    cluster
}

pub fn address() -> IpAddr {
    "10.10.0.11".parse().unwrap()
}

fn path(cluster: &Cluster) -> Path {
    cluster.kernels["node-1"].egress[&address()].path
}

fn direct(cluster: &Cluster, gateway: &str) -> bool {
    cluster.kernels[gateway].nodes[&"10.0.0.1".parse::<IpAddr>().unwrap()].direct
}

fn holder(cluster: &Cluster) -> String {
    cluster.plans["node-1"].holders[&address()].clone()
}

#[test]
fn a_link_is_tried_from_a_leased_port_and_used_once_it_works() {
    let mut cluster = cluster(Steering::Auto);
    let holder = holder(&cluster);
    let plan = &cluster.plans["node-1"];
    let tried: Vec<&str> = plan.link_probes.keys().map(|(name, _)| name.as_str()).collect();
    assert_eq!(tried, ["node-4", "node-5", "node-6"], "those in reserve as well");
    let probe = plan.link_probes[&(holder.clone(), false)];
    assert_eq!((probe.source, probe.link), (address(), 2));
    assert!(plan.tables.egress[&address()].blocks.contains(&probe.port));
    assert!(matches!(path(&cluster), Path::Overlay(_)), "nothing is known yet");
    let gateway = &cluster.kernels[&holder].nodes[&"10.0.0.1".parse::<IpAddr>().unwrap()];
    assert!(gateway.mac.is_some() && !gateway.direct, "questions are let in, answers go by the overlay");

    cluster.links.insert("node-1".into(), [holder.clone()].into());
    cluster.settle();
    assert!(matches!(path(&cluster), Path::Link(_, 2)));
    for name in ["node-4", "node-5", "node-6"] {
        assert_eq!(direct(&cluster, name), name == holder, "{name}");
    }

    cluster.links.clear();
    cluster.settle();
    assert!(matches!(path(&cluster), Path::Overlay(_)));
    assert!(!direct(&cluster, &holder));
}

#[test]
fn set_to_link_nothing_is_tried_and_set_to_overlay_nothing_is_known() {
    let by_link = cluster(Steering::Link);
    assert!(matches!(path(&by_link), Path::Link(..)));
    assert!(by_link.plans["node-1"].link_probes.is_empty());
    assert!(direct(&by_link, &holder(&by_link)));

    let mut by_overlay = cluster(Steering::Overlay);
    by_overlay.links.insert("node-1".into(), [holder(&by_overlay)].into());
    by_overlay.settle();
    assert!(matches!(path(&by_overlay), Path::Overlay(_)));
    let plan = &by_overlay.plans["node-1"];
    assert!(plan.link_probes.is_empty() && plan.links.is_empty());
    assert!(by_overlay.kernels.values().all(|k| k.nodes.values().all(|n| n.mac.is_none() && !n.direct)));
}

//! What a person would write: two nodes, a pool on the gateway, and one policy for each pod.

use crate::cluster::{self, PODS, egress, pod};
use anyhow::Result;
use serde_json::{Value, json};
use std::path::Path;

/// The pod's node.
pub const NODE: &str = "n1";
/// The gateway.
pub const GATEWAY: &str = "g1";

/// Writes the manifests for a number of policies, each with its own pod.
pub fn write(store: &Path, policies: usize) -> Result<()> {
    let cluster = vec![
        node(NODE, cluster::NODE.to_string(), json!({ "podCIDR": PODS, "podCIDRs": [PODS] }), json!({})),
        node(GATEWAY, cluster::GATEWAY.to_string(), json!({}), json!({ "role": "gateway" })),
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "bench" } }),
        json!({
            "apiVersion": "egret.dev/v1alpha1",
            "kind": "EgressPool",
            "metadata": { "name": "outside" },
            "spec": {
                "ranges": [{ "start": egress(0).to_string(), "end": egress(999).to_string() }],
                "nodeSelector": { "matchLabels": { "role": "gateway" } },
                "interface": "eth1",
                "namespaces": { "names": ["bench"] },
            },
        }),
    ];
    list(&store.join("cluster.json"), &cluster)?;
    list(&store.join("pods.json"), &(0..policies).map(pod_of).collect::<Vec<_>>())?;
    list(&store.join("policies.json"), &(0..policies).map(policy).collect::<Vec<_>>())
}

fn list(path: &Path, items: &[Value]) -> Result<()> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    Ok(std::fs::write(path, list.to_string())?)
}

fn node(name: &str, address: String, spec: Value, labels: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": labels },
        "spec": spec,
        "status": { "addresses": [{ "type": "InternalIP", "address": address }] },
    })
}

fn pod_of(index: usize) -> Value {
    let address = pod(index).to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name(index), "namespace": "bench", "labels": { "app": name(index) } },
        "spec": { "nodeName": NODE },
        "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }] },
    })
}

/// Everything outside the cluster; the addresses are given out in the order of the names.
fn policy(index: usize) -> Value {
    json!({
        "apiVersion": "egret.dev/v1alpha1",
        "kind": "EgressPolicy",
        "metadata": { "name": name(index), "namespace": "bench" },
        "spec": { "podSelector": { "matchLabels": { "app": name(index) } }, "pool": "outside" },
    })
}

fn name(index: usize) -> String {
    format!("app-{index:04}")
}

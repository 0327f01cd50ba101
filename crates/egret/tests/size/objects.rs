//! A cluster's objects, as kubelets, agents, people and the controller would have written them.

use std::path::Path;
use std::time::{Duration, Instant};

use egret_api::EgressNodeSpec;
use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

/// The node whose agent is looked at.
pub const NODE: &str = "node-0";
/// Addresses that its pods leave by.
pub const OWN_ADDRESSES: usize = 2;
/// Its pods.
const OWN_PODS: usize = 20;
/// Nodes that have leases of one address, blocks of each, and addresses of each.
const SHARERS: usize = 25;
const BLOCKS: usize = 2;
/// Requests at a time.
const AT_ONCE: usize = 64;

/// How large a cluster is.
#[derive(Clone, Copy)]
pub struct Size {
    pub nodes: usize,
    pub pods: usize,
}

/// Egress addresses of a cluster: each node has leases of two, and each is shared by as many nodes.
pub fn addresses(size: &Size) -> usize {
    size.nodes.div_ceil(SHARERS).max(1) * OWN_ADDRESSES
}

async fn client(kubeconfig: &Path) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn address(number: usize) -> String {
    format!("192.0.{}.{}", number / 250, number % 250 + 1)
}

fn name_of(number: usize) -> String {
    address(number).replace('.', "-")
}

fn underlay(node: usize) -> String {
    format!("10.0.{}.{}", node / 250, node % 250 + 1)
}

/// As a kubelet registers it, with the images that it has.
fn node(number: usize) -> Value {
    let image = |n: usize| json!({"names": [format!("registry.example/team-{n}/image@sha256:{n:064x}")], "sizeBytes": n});
    let taint: Vec<Value> = Vec::new();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("node-{number}"), "labels": {
            "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": format!("node-{number}"),
            "topology.kubernetes.io/zone": format!("zone-{}", number % 3), "node.kubernetes.io/instance-type": "m5.large",
        }},
        "spec": {"podCIDR": format!("100.{}.{}.0/24", 64 + number / 256, number % 256), "taints": taint,
                 "podCIDRs": [format!("100.{}.{}.0/24", 64 + number / 256, number % 256)]},
        "status": {
            "addresses": [{"type": "InternalIP", "address": underlay(number)},
                          {"type": "Hostname", "address": format!("node-{number}")}],
            "images": (0..40).map(image).collect::<Vec<_>>(),
        },
    })
}

/// As its agent writes it.
fn report(number: usize, size: &Size) -> Value {
    let first = number / SHARERS * OWN_ADDRESSES;
    let own = || (first..first + OWN_ADDRESSES).map(address);
    let ports =
        own().map(|address| (address, json!({"wantedBlocks": BLOCKS, "flows": 40, "busyBlocks": [1024]})));
    let holders = own().map(|address| (address, json!("node-1")));
    let gateway = number < 3;
    let programmed = (0..addresses(size)).filter(|_| gateway).map(|n| (address(n), json!(1)));
    let wire =
        json!({"interface": "eth1", "addresses": [format!("192.0.63.{}/18", 240 + number)], "carrier": true});
    let wires: Vec<Value> = gateway.then_some(wire).into_iter().collect();
    json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressNode", "metadata": {"name": format!("node-{number}")},
        "spec": {
            "underlay": underlay(number), "underlayMac": "02:00:00:00:00:01", "ready": true,
            "wires": wires,
            "programmed": serde_json::Map::from_iter(programmed), "ports": serde_json::Map::from_iter(ports),
            "holders": serde_json::Map::from_iter(holders), "links": ["node-1", "node-2", "node-3"],
            "bootId": format!("b1f6c2a0-0000-4000-8000-{number:012}"),
            "observedObjects": "0123456789abcdef", "observedAddresses": "0123456789abcdef",
        },
    })
}

/// As the controller writes it.
fn record(number: usize) -> Value {
    let first = number / OWN_ADDRESSES * SHARERS;
    let lease = |block: usize| {
        let (node, port) = (format!("node-{}", first + block / BLOCKS), 1024 + block * 1024);
        json!({"node": node, "firstPort": port, "revision": 1})
    };
    let claim = json!({"kind": "EgressPolicy", "namespace": format!("team-{number}"), "name": "egress"});
    json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressAddress", "metadata": {"name": name_of(number)},
        "spec": {
            "address": address(number), "pool": "EgressPool/pool", "claims": [claim], "blockSize": 1024,
            "candidates": ["node-0", "node-1", "node-2"], "revision": 1,
            "leases": (0..SHARERS * BLOCKS).map(lease).collect::<Vec<_>>(),
        },
    })
}

fn namespace(number: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("team-{number}")}})
}

fn policy(number: usize) -> Value {
    json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"name": "egress", "namespace": format!("team-{number}")},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "pool": "pool", "address": address(number),
                 "destinations": [{"cidr": "198.51.100.0/24", "except": ["198.51.100.128/25"]}]},
    })
}

/// A pod of a node's `turn`, in a namespace whose address the node has leases of.
fn pod(node: usize, turn: usize) -> Value {
    let team = node / SHARERS * OWN_ADDRESSES + turn % OWN_ADDRESSES;
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("web-{node}-{turn}"), "namespace": format!("team-{team}"), "labels": {"app": "web"}},
        "spec": {"nodeName": format!("node-{node}"), "containers": [{"name": "main", "image": "none"}]},
    })
}

fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let (group, v) = version.rsplit_once('/').unwrap_or(("", version));
    let lower = kind.to_lowercase();
    let plural = match (lower.strip_suffix('y'), lower.ends_with('s')) {
        (Some(stem), _) => format!("{stem}ies"),
        (None, true) => format!("{lower}es"),
        (None, false) => format!("{lower}s"),
    };
    let [group, version, api_version, kind] = [group, v, version, kind].map(str::to_owned);
    let resource = ApiResource { group, version, api_version, kind, plural };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Creates all, many at a time. What is refused because its namespace or definition is new is tried again.
async fn create(client: &Client, what: &str, objects: impl Iterator<Item = Value>) {
    let begun = Instant::now();
    let made = futures::stream::iter(objects).map(|object| async move {
        let value = serde_json::from_value(object.clone()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match api(client, &object).create(&PostParams::default(), &value).await {
                Ok(_) => return,
                Err(error) => assert!(Instant::now() < deadline, "{object}: {error}"),
            }
        }
    });
    let count = made.buffer_unordered(AT_ONCE).count().await;
    println!("{what}: {count} in {:.1?}", begun.elapsed());
}

/// Makes everything.
pub async fn make(kubeconfig: &Path, size: &Size) {
    let client = &client(kubeconfig).await;
    let crds = egret_api::crds().into_iter().map(|crd| {
        let mut crd = serde_json::to_value(crd).unwrap();
        (crd["apiVersion"], crd["kind"]) =
            ("apiextensions.k8s.io/v1".into(), "CustomResourceDefinition".into());
        crd
    });
    create(client, "definitions", crds).await;
    let all = addresses(size);
    let pool = json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPool", "metadata": {"name": "pool"},
        "spec": {"ranges": [{"cidr": "192.0.0.0/18"}]},
    });
    create(client, "pools", [pool].into_iter()).await;
    create(client, "namespaces", (0..all).map(namespace)).await;
    create(client, "policies", (0..all).map(policy)).await;
    create(client, "addresses", (0..all).map(record)).await;
    create(client, "nodes", (0..size.nodes).map(node)).await;
    create(client, "reports", (1..size.nodes).map(|number| report(number, size))).await;
    let others = size.pods.saturating_sub(OWN_PODS);
    let per_node = others.div_ceil(size.nodes.max(2) - 1);
    create(client, "pods", (0..others).map(|n| pod(1 + n / per_node, n % per_node))).await;
    create(client, "own pods", (0..OWN_PODS).map(|turn| pod(0, turn))).await;
    for turn in 0..OWN_PODS {
        let ip = format!("100.64.0.{}", turn + 2);
        let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
        let (api, name) = (api(client, &pod(0, turn)), format!("web-0-{turn}"));
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }
}

/// What the agent says of itself, as soon as it is ready.
pub async fn reported(kubeconfig: &Path, within: Duration) -> Option<EgressNodeSpec> {
    let client = client(kubeconfig).await;
    let (api, deadline) = (
        api(&client, &json!({"apiVersion": "egret.dev/v1alpha1", "kind": "EgressNode"})),
        Instant::now() + within,
    );
    while Instant::now() < deadline {
        if let Some(record) = api.get_opt(NODE).await.unwrap() {
            let spec: EgressNodeSpec = serde_json::from_value(record.data["spec"].clone()).unwrap();
            if spec.ready && spec.ports.len() == OWN_ADDRESSES {
                return Some(spec);
            }
        }
    }
    None
}

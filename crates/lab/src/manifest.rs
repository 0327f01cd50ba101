//! The objects that the lab itself writes, as kubelet and CNI would: Nodes, Namespaces, Pods.

use anyhow::{Context, Result};
use egret_store::Directory;
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::pod::PodRequest;
use crate::state::{Paths, State};

/// Who writes, for the names of temporary files.
const WRITER: &str = "lab";

/// Opens the lab's store.
///
/// # Errors
/// When the directory cannot be made or watched.
pub fn store(paths: &Paths) -> Result<Directory> {
    Directory::open(paths.store(), WRITER).with_context(|| format!("the store of lab {}", paths.name))
}

/// Writes the Node objects.
///
/// # Errors
/// When the store cannot be written.
pub fn write_nodes(paths: &Paths, state: &State) -> Result<()> {
    let store = store(paths)?;
    for node in &state.topology.nodes {
        let mut labels = node.labels.clone();
        labels.insert("kubernetes.io/hostname".to_owned(), node.name.clone());
        let mut addresses: Vec<Value> =
            node.underlay.iter().map(|a| json!({"type": "InternalIP", "address": a.addr()})).collect();
        addresses.push(json!({"type": "Hostname", "address": node.name}));
        let object = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node.name, "labels": labels},
            "spec": {"podCIDR": node.pod_networks.first(), "podCIDRs": node.pod_networks},
            "status": {"addresses": addresses, "conditions": [{"type": "Ready", "status": "True"}]},
        });
        put(&store, &format!("lab-node-{}.json", node.name), &object)?;
    }
    for namespace in ["default", "kube-system"] {
        write_namespace(&store, namespace)?;
    }
    Ok(())
}

/// Writes a running pod, and its namespace.
///
/// # Errors
/// When the store cannot be written.
pub fn write_pod(paths: &Paths, request: &PodRequest, addresses: &[IpNet]) -> Result<()> {
    let store = store(paths)?;
    write_namespace(&store, &request.namespace)?;
    let ips: Vec<Value> = addresses.iter().map(|a| json!({"ip": a.addr()})).collect();
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": request.name, "namespace": request.namespace, "labels": request.labels},
        "spec": {"nodeName": request.node, "containers": [{"name": "main", "image": "lab"}]},
        "status": {"phase": "Running", "podIP": addresses.first().map(IpNet::addr), "podIPs": ips},
    });
    put(&store, &pod_file(&request.namespace, &request.name), &object)
}

/// Removes a pod's object.
///
/// # Errors
/// When the store cannot be written.
pub fn remove_pod(paths: &Paths, namespace: &str, name: &str) -> Result<()> {
    Ok(store(paths)?.remove_manifest(&pod_file(namespace, name))?)
}

fn write_namespace(store: &Directory, name: &str) -> Result<()> {
    let labels = json!({"kubernetes.io/metadata.name": name});
    let object =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    put(store, &format!("lab-namespace-{name}.json"), &object)
}

fn pod_file(namespace: &str, name: &str) -> String {
    format!("lab-pod-{namespace}_{name}.json")
}

fn put(store: &Directory, file: &str, object: &Value) -> Result<()> {
    Ok(store.write_manifest(file, &serde_json::to_string_pretty(object)?)?)
}

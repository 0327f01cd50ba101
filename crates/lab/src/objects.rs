//! The objects that the lab itself writes, as kubelet and CNI would, into either store.

use std::collections::BTreeMap;

use anyhow::Result;
use egret_store::Directory;
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::kubernetes::ControlPlane;
use crate::manifest;
use crate::pod::PodRequest;
use crate::state::{Paths, State, StoreKind};
use crate::topology::Node;

/// What a scheduler may think that there is on each node.
const ROOM: [(&str, &str); 3] = [("cpu", "8"), ("memory", "16Gi"), ("pods", "110")];

/// Where the lab's objects are.
pub enum Objects {
    /// In a directory of manifests.
    Directory(Box<Directory>),
    /// In an API server.
    Kubernetes(ControlPlane),
}

impl Objects {
    /// Those of a lab.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn of(paths: &Paths, state: &State) -> Result<Objects> {
        Ok(match state.store {
            StoreKind::Directory => Objects::Directory(Box::new(manifest::store(paths)?)),
            StoreKind::Kubernetes => Objects::Kubernetes(ControlPlane::of(paths, state)?),
        })
    }

    /// Writes the Node objects, and the namespaces that every cluster has.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn write_nodes(&self, state: &State) -> Result<()> {
        let nodes: Vec<Value> = state.topology.nodes.iter().map(|own| node(state, own)).collect();
        match self {
            Objects::Directory(store) => {
                for (node, object) in state.topology.nodes.iter().zip(&nodes) {
                    put(store, &format!("lab-node-{}.json", node.name), object)?;
                }
                ["default", "kube-system"].iter().try_for_each(|name| put_namespace(store, name))
            }
            Objects::Kubernetes(control) => register(control, &nodes),
        }
    }

    /// Writes the Node object of one node anew.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn write_node(&self, state: &State, name: &str) -> Result<()> {
        let object = node(state, state.topology.node(name)?);
        match self {
            Objects::Directory(store) => put(store, &format!("lab-node-{name}.json"), &object),
            Objects::Kubernetes(control) => register(control, &[object]),
        }
    }

    /// Writes a running pod, and its namespace.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn write_pod(&self, request: &PodRequest, addresses: &[IpNet]) -> Result<()> {
        let pod = pod(request, addresses);
        match self {
            Objects::Directory(store) => {
                put_namespace(store, &request.namespace)?;
                put(store, &pod_file(&request.namespace, &request.name), &pod)
            }
            Objects::Kubernetes(control) => {
                let mut objects = vec![namespace(&request.namespace)];
                // Admission asks for it, and its controller makes it a moment later than the namespace.
                objects.extend(control.installed.then(|| account(&request.namespace)));
                objects.push(pod.clone());
                control.apply(&objects)?;
                control.replace_status(&[pod]).map(drop)
            }
        }
    }

    /// Removes a pod's object.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn remove_pod(&self, namespace: &str, name: &str) -> Result<()> {
        match self {
            Objects::Directory(store) => Ok(store.remove_manifest(&pod_file(namespace, name))?),
            Objects::Kubernetes(control) => {
                let pod = ["pod", name, "--namespace", namespace];
                let now = ["delete", "--ignore-not-found", "--grace-period=0", "--force"];
                control.kubectl(&[&now[..], &pod[..]].concat(), "").map(drop)
            }
        }
    }
}

fn register(control: &ControlPlane, nodes: &[Value]) -> Result<()> {
    let mut without_status = nodes.to_vec();
    without_status.iter_mut().filter_map(Value::as_object_mut).for_each(|node| {
        node.remove("status");
    });
    control.apply(&without_status)?;
    control.replace_status(nodes)?;
    // Every new node has it, until a controller takes it away.
    let names = nodes.iter().filter_map(|node| node["metadata"]["name"].as_str()).collect::<Vec<_>>();
    let taint = "node.kubernetes.io/not-ready:NoSchedule-";
    control.kubectl(&[&["taint", "nodes"], &names[..], &[taint]].concat(), "").map(drop)
}

fn node(state: &State, node: &Node) -> Value {
    let mut labels = node.labels.clone();
    labels.insert("kubernetes.io/os".to_owned(), "linux".to_owned());
    labels.insert("kubernetes.io/hostname".to_owned(), node.name.clone());
    let mut addresses: Vec<Value> =
        node.underlay.iter().map(|a| json!({"type": "InternalIP", "address": a.addr()})).collect();
    addresses.push(json!({"type": "Hostname", "address": node.name}));
    // As kubelet registers with it: so no pod is there before the node's agent is ready.
    let taint = json!({"key": "egret.dev/agent-not-ready", "effect": "NoSchedule"});
    let taints: Vec<&Value> = state.installed.then_some(&taint).into_iter().collect();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"podCIDR": node.pod_networks.first(), "podCIDRs": node.pod_networks, "taints": taints},
        "status": {
            "addresses": addresses,
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": node_info(),
            "capacity": ROOM.iter().copied().collect::<BTreeMap<_, _>>(),
            "allocatable": ROOM.iter().copied().collect::<BTreeMap<_, _>>(),
        },
    })
}

/// What kubelet would say of the machine: the nodes of a lab share its kernel, and so its boot.
fn node_info() -> Value {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut info = json!({"bootID": boot.trim()});
    for field in [
        "architecture",
        "containerRuntimeVersion",
        "kernelVersion",
        "kubeProxyVersion",
        "kubeletVersion",
        "machineID",
        "operatingSystem",
        "osImage",
        "systemUUID",
    ] {
        info[field] = "".into();
    }
    info
}

fn namespace(name: &str) -> Value {
    let labels = json!({"kubernetes.io/metadata.name": name});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

fn account(namespace: &str) -> Value {
    let metadata = json!({"name": "default", "namespace": namespace});
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
}

fn pod(request: &PodRequest, addresses: &[IpNet]) -> Value {
    let ips: Vec<Value> = addresses.iter().map(|a| json!({"ip": a.addr()})).collect();
    let annotations = request.second.as_ref().map(|second| second.annotations(addresses));
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": request.name, "namespace": request.namespace,
            "labels": request.labels, "annotations": annotations.unwrap_or_else(|| json!({})),
        },
        "spec": {"nodeName": request.node, "containers": [{"name": "main", "image": "lab"}]},
        "status": {
            "phase": "Running", "podIP": addresses.first().map(IpNet::addr), "podIPs": ips,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

fn pod_file(namespace: &str, name: &str) -> String {
    format!("lab-pod-{namespace}_{name}.json")
}

fn put_namespace(store: &Directory, name: &str) -> Result<()> {
    put(store, &format!("lab-namespace-{name}.json"), &namespace(name))
}

fn put(store: &Directory, file: &str, object: &Value) -> Result<()> {
    Ok(store.write_manifest(file, &serde_json::to_string_pretty(object)?)?)
}

//! Pods: a network namespace each, hung on its node as the node's CNI does it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;

use crate::objects::Objects;
use crate::process::Process;
use crate::second::Second;
use crate::state::{Host, HostKind, Paths, PodHost, State};
use crate::topology::{Cni, Node};
use crate::{netns, network, plugins, tool};

/// The first host number given to a pod.
const FIRST_HOST: usize = 10;

/// A pod to be made.
#[derive(Clone, Debug)]
pub struct PodRequest {
    /// The Kubernetes namespace; it is made if it is not there.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The node it runs on.
    pub node: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its place in another network than the cluster's.
    pub second: Option<Second>,
    /// Its first process, with arguments; empty for a pod without. It runs from the moment that the pod's link
    /// is up, before anybody knows the pod.
    pub process: Vec<String>,
    /// Its node's kubelet makes it, of an object that is there.
    pub by_kubelet: bool,
}

/// Makes a pod: its network first, then the object that tells everybody.
///
/// # Errors
/// When the name is taken, the node is unknown or full, or a command fails.
pub fn create(paths: &Paths, state: &mut State, request: &PodRequest) -> Result<()> {
    let wiring = wire(paths, state, request)?;
    Objects::of(paths, state)?.write_pod(request, &wiring.addresses)
}

/// Makes a pod's network, and starts its process.
///
/// # Errors
/// As [`create`].
pub fn wire(paths: &Paths, state: &mut State, request: &PodRequest) -> Result<Wiring> {
    let node = state.topology.node(&request.node)?.clone();
    for name in [&request.namespace, &request.name] {
        ensure!(
            !name.is_empty()
                && name.len() <= 63
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'),
            "pod {}/{}: names have 1 to 63 letters, digits, - and .",
            request.namespace,
            request.name
        );
    }
    if state.pod(&request.namespace, &request.name).is_some() {
        bail!("pod {}/{}: it is there already; `--rm` removes it", request.namespace, request.name);
    }
    // A pod is a host by its own name; by both names if another host has that one.
    let host_name = match state.hosts.contains_key(&request.name) {
        false => request.name.clone(),
        true => format!("{}.{}", request.namespace, request.name),
    };
    let pod_netns = format!("{}-{host_name}", state.name);
    let second_link = format!("second{}", state.next_pod);
    let mut wiring = match node.plugins {
        true => Wiring::default(),
        false => Wiring { link: format!("veth{}", state.next_pod), addresses: free_addresses(state, &node)? },
    };
    state.next_pod += 1;
    let note = |state: &mut State, wiring: &Wiring| {
        let host = Host {
            kind: HostKind::Pod,
            netns: pod_netns.clone(),
            addresses: wiring.addresses.iter().map(IpNet::addr).collect(),
            ports: BTreeMap::new(),
            pod: Some(PodHost {
                namespace: request.namespace.clone(),
                name: request.name.clone(),
                node: node.name.clone(),
                link: wiring.link.clone(),
                by_kubelet: request.by_kubelet,
            }),
        };
        state.hosts.insert(host_name.clone(), host);
        state.write(paths)
    };
    note(state, &wiring)?;

    tool::ip_batch(&[format!("netns add {pod_netns}")])?;
    netns::write_sysctls(&pod_netns, &network::pod_sysctls())?;
    match node.plugins {
        true => {
            wiring = plugins::add(paths, state, &node, &pod_netns)?;
            note(state, &wiring)?;
        }
        false => hang(state, &node, &pod_netns, &wiring)?,
    }
    if let Some(second) = &request.second {
        let node_netns = format!("{}-{}", state.name, node.name);
        second.attach(&node_netns, &pod_netns, &second_link)?;
    }
    if let [program, arguments @ ..] = request.process.as_slice() {
        let log = paths.log("pod", &host_name);
        let process =
            Process::spawn_program("pod", &host_name, &pod_netns, program.as_ref(), arguments, &log)?;
        state.processes.push(process);
        state.write(paths)?;
    }
    Ok(wiring)
}

/// How a pod hangs on its node.
#[derive(Clone, Debug, Default)]
pub struct Wiring {
    /// The node's end of its link.
    pub link: String,
    /// The pod's addresses, with the prefix length that they have in the pod.
    pub addresses: Vec<IpNet>,
}

/// Hangs a pod on its node by the lab's own hand.
fn hang(state: &State, node: &Node, pod_netns: &str, wiring: &Wiring) -> Result<()> {
    let Wiring { link, addresses } = wiring;
    let node_netns = format!("{}-{}", state.name, node.name);
    tool::ip_batch(&[format!(
        "link add eth0 netns {pod_netns} type veth peer name {link} netns {node_netns}"
    )])?;
    tool::ip_batch_in(&node_netns, &node_end(node, link, addresses))?;
    tool::ip_batch_in(pod_netns, &pod_end(node, addresses))
}

/// Removes a pod: the object first, then its network and what runs in it.
///
/// # Errors
/// When there is no such pod, or a command fails.
pub fn remove(paths: &Paths, state: &mut State, namespace: &str, name: &str) -> Result<()> {
    if state.pod(namespace, name).is_none() {
        bail!("pod {namespace}/{name}: no such pod; `egret lab hosts` shows those there are");
    }
    Objects::of(paths, state)?.remove_pod(namespace, name)?;
    unwire(paths, state, namespace, name)
}

/// Removes a pod's network, and what runs in it. A pod that is not there is no error.
///
/// # Errors
/// When a command fails.
pub fn unwire(paths: &Paths, state: &mut State, namespace: &str, name: &str) -> Result<()> {
    let Some((host_name, host)) = state.pod(namespace, name) else { return Ok(()) };
    let (host_name, host) = (host_name.to_owned(), host.clone());
    crate::down::kill_inside([host.netns.clone()]);
    state.processes.retain(|p| !(p.role == "pod" && p.host == host_name));
    if let Some(pod) = &host.pod {
        let node_netns = format!("{}-{}", state.name, pod.node);
        let node = state.topology.node(&pod.node)?;
        if node.plugins && netns::exists(&host.netns) {
            plugins::delete(paths, state, node, &host.netns)?;
        }
        // The link is gone already if the namespace was removed behind our back.
        let _ = tool::ip_batch_in(&node_netns, &[format!("link del {}", pod.link)]);
    }
    if netns::exists(&host.netns) {
        tool::ip_batch(&[format!("netns del {}", host.netns)])?;
    }
    state.hosts.remove(&host_name);
    state.write(paths)
}

fn free_addresses(state: &State, node: &Node) -> Result<Vec<IpNet>> {
    let taken: BTreeSet<IpAddr> = state.hosts.values().flat_map(|h| h.addresses.iter().copied()).collect();
    let mut found = Vec::new();
    for network in &node.pod_networks {
        let free = pod_addresses(network).find(|a| !taken.contains(a));
        let free =
            free.with_context(|| format!("node {}: no free address in {network}; remove pods", node.name))?;
        let length = match node.cni {
            Cni::Ptp => network.max_prefix_len(),
            Cni::Bridge => network.prefix_len(),
        };
        found.push(IpNet::new(free, length)?);
    }
    Ok(found)
}

/// The addresses of a node's part of the pod network that pods may have, in the order in which they are given out.
pub fn pod_addresses(network: &IpNet) -> impl Iterator<Item = IpAddr> + use<> {
    let nobodys = network.network();
    network.hosts().filter(move |address| *address != nobodys).skip(FIRST_HOST - 1)
}

fn node_end(node: &Node, link: &str, addresses: &[IpNet]) -> Vec<String> {
    if node.cni == Cni::Bridge {
        return vec![format!("link set {link} master cni0 up")];
    }
    let mut lines = vec![
        format!("link set {link} up"),
        format!("addr add 169.254.1.1/32 dev {link} scope link"),
        format!("addr add fe80::1/64 dev {link} nodad"),
    ];
    for address in addresses {
        let own = crate::topology::of_family(&node.underlay, address.addr().is_ipv6());
        let source = own.map(|a| format!(" src {}", a.addr())).unwrap_or_default();
        lines.push(format!("route add {address} dev {link}{source}"));
    }
    lines
}

fn pod_end(node: &Node, addresses: &[IpNet]) -> Vec<String> {
    let mut lines = vec!["link set lo up".to_owned(), "link set eth0 up".to_owned()];
    lines.extend(addresses.iter().map(|a| network::address("eth0", a)));
    match node.cni {
        Cni::Ptp => {
            let has = |v6: bool| addresses.iter().any(|a| a.addr().is_ipv6() == v6);
            if has(false) {
                lines.push("route add 169.254.1.1 dev eth0 scope link".to_owned());
                lines.push("route add default via 169.254.1.1 dev eth0".to_owned());
            }
            if has(true) {
                lines.push("route add default via fe80::1 dev eth0".to_owned());
            }
        }
        Cni::Bridge => {
            let routers = node.pod_networks.iter().filter_map(network::bridge_address);
            lines.extend(routers.map(|r| format!("route add default via {} dev eth0", r.addr())));
        }
    }
    lines
}

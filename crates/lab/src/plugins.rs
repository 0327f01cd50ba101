//! Pods' links by the CNI project's own plugins, called as a container runtime calls them: `bridge` or `ptp`, with `host-local`
//! for addresses. What a node's part of the pod network does not hold is masqueraded by the plugin itself.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::pod::{Wiring, pod_addresses};
use crate::state::{Paths, State};
use crate::topology::{Cni, Masquerade, Node};
use crate::{kubernetes, network, tool};

/// The version of the specification, of which the plugins know several.
const VERSION: &str = "1.0.0";

/// Wires a pod, whose network namespace is there.
///
/// # Errors
/// What the plugin says, or that it has not been built. What it left behind is removed.
pub fn add(paths: &Paths, state: &State, node: &Node, pod_netns: &str) -> Result<Wiring> {
    // The part of the plugin loopback.
    tool::ip_batch_in(pod_netns, &["link set lo up".to_owned()])?;
    let told = call(paths, state, node, pod_netns, "ADD").and_then(|text| {
        let result: Value = serde_json::from_str(&text).context("what the plugin printed")?;
        wiring(&result)
    });
    if told.is_err() {
        // The specification wants it after an ADD that failed; what went wrong first is what there is to say.
        let _ = call(paths, state, node, pod_netns, "DEL");
    }
    told
}

/// Takes a pod's link and addresses back.
///
/// # Errors
/// What the plugin says.
pub fn delete(paths: &Paths, state: &State, node: &Node, pod_netns: &str) -> Result<()> {
    call(paths, state, node, pod_netns, "DEL").map(drop)
}

fn call(paths: &Paths, state: &State, node: &Node, pod_netns: &str, command: &str) -> Result<String> {
    let directory = kubernetes::program()?.with_file_name("cni");
    let plugin = directory.join(name(node.cni));
    ensure!(
        plugin.is_file(),
        "node {}: plugins: {} is not built; `make kubernetes` builds it",
        node.name,
        plugin.display()
    );
    let words = [
        "env".to_owned(),
        format!("CNI_COMMAND={command}"),
        format!("CNI_CONTAINERID={pod_netns}"),
        format!("CNI_NETNS=/run/netns/{pod_netns}"),
        "CNI_IFNAME=eth0".to_owned(),
        format!("CNI_PATH={}", directory.display()),
        plugin.display().to_string(),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let node_netns = format!("{}-{}", state.name, node.name);
    tool::run_in(&node_netns, &words, &configuration(paths, state, node).to_string())
        .with_context(|| format!("CNI plugin {} on {}: {command} {pod_netns}", name(node.cni), node.name))
}

fn name(cni: Cni) -> &'static str {
    match cni {
        Cni::Ptp => "ptp",
        Cni::Bridge => "bridge",
    }
}

/// What an administrator writes into `/etc/cni/net.d`.
fn configuration(paths: &Paths, state: &State, node: &Node) -> Value {
    let ranges: Vec<Value> = node
        .pod_networks
        .iter()
        .filter_map(|part| range(state, node, part))
        .map(|range| json!([range]))
        .collect();
    let everywhere = |part: &IpNet| if part.addr().is_ipv6() { "::/0" } else { "0.0.0.0/0" };
    let routes: Vec<Value> = node.pod_networks.iter().map(|part| json!({"dst": everywhere(part)})).collect();
    let mut ipam = json!({"type": "host-local", "dataDir": paths.cni(&node.name), "ranges": ranges});
    if node.cni == Cni::Ptp {
        ipam["routes"] = routes.into();
    }
    let mut plugin = json!({
        "cniVersion": VERSION, "name": "pods", "type": name(node.cni), "ipam": ipam,
        "ipMasq": node.masquerade != Masquerade::None,
    });
    match node.masquerade {
        Masquerade::Nftables => plugin["ipMasqBackend"] = "nftables".into(),
        Masquerade::Iptables => plugin["ipMasqBackend"] = "iptables".into(),
        Masquerade::None => {}
    }
    if node.cni == Cni::Bridge {
        plugin["bridge"] = "cni0".into();
        plugin["isDefaultGateway"] = true.into();
        plugin["hairpinMode"] = true.into();
    }
    plugin
}

/// Where host-local takes addresses of one family from. The plugins spare the subnet when they masquerade: of `ptp` that can be
/// the whole pod network, but pods on a bridge look for all of it on that bridge.
fn range(state: &State, node: &Node, part: &IpNet) -> Option<Value> {
    let whole = state.topology.pod_networks.iter().find(|whole| whole.contains(part))?;
    let subnet = if node.cni == Cni::Ptp { whole } else { part };
    let last = match part.broadcast() {
        IpAddr::V4(last) => IpAddr::V4((last.to_bits() - 1).into()),
        last => last,
    };
    Some(json!({
        "subnet": subnet.trunc(),
        "rangeStart": pod_addresses(part).next()?,
        "rangeEnd": last,
        "gateway": network::bridge_address(part)?.addr(),
    }))
}

/// What a plugin says that it made: the end without a sandbox is the node's, of `bridge` the last of them.
fn wiring(result: &Value) -> Result<Wiring> {
    let list = |field: &str| result[field].as_array().cloned().unwrap_or_default();
    let at_node = |interface: &&Value| interface["sandbox"].as_str().is_none_or(str::is_empty);
    let interfaces = list("interfaces");
    let mut links = interfaces.iter().filter(at_node).filter_map(|interface| interface["name"].as_str());
    let link = links.rfind(|name| name.starts_with("veth"));
    let link = link.with_context(|| format!("no link of the pod in {result}"))?.to_owned();
    let addresses = list("ips");
    let addresses = addresses.iter().filter_map(|ip| ip["address"].as_str()?.parse().ok()).collect();
    Ok(Wiring { link, addresses })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_a_bridge_names_the_pods_link_after_the_bridge() {
        let result = json!({
            "interfaces": [{"name": "cni0"}, {"name": "veth8f2e"}, {"name": "eth0", "sandbox": "/run/netns/x"}],
            "ips": [{"address": "10.244.1.10/24", "interface": 2}, {"address": "fd00::a/64", "interface": 2}],
        });
        let wiring = wiring(&result).unwrap();
        assert_eq!(wiring.link, "veth8f2e");
        assert_eq!(wiring.addresses.len(), 2);
        assert!(super::wiring(&json!({"ips": []})).unwrap_err().to_string().contains("no link"));
    }
}

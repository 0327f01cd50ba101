//! What a lab is made of, as a person writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The default topology, with the comments that document the format.
pub const DEFAULT: &str = include_str!("../topology/default.yaml");

/// Longest name of a host: it becomes part of the name of a port of the switch.
const LONGEST_NAME: usize = 10;

/// A lab's networks and hosts.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Topology {
    /// Everything that is a pod.
    pub pod_networks: Vec<IpNet>,
    /// The cluster's nodes.
    pub nodes: Vec<Node>,
    /// The router between underlay, wire and far network.
    pub router: Router,
    /// Addresses of the API server on the network between the nodes, with prefix length. Only a lab whose store is
    /// Kubernetes needs one.
    #[serde(default)]
    pub control: Vec<IpNet>,
    /// Hosts that are no part of the cluster.
    #[serde(default)]
    pub outside: Vec<Outside>,
    /// More arguments for the controller.
    #[serde(default)]
    pub controller: Vec<String>,
}

/// A node.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// The node's name.
    pub name: String,
    /// The node's part of the pod network, at most one network of each family.
    pub pod_networks: Vec<IpNet>,
    /// Addresses of eth0 on the network between the nodes, with prefix length.
    pub underlay: Vec<IpNet>,
    /// Addresses of eth1 on the network to the outside, with prefix length. Empty: the node has no eth1.
    #[serde(default)]
    pub wire: Vec<IpNet>,
    /// How pods hang on the node.
    #[serde(default)]
    pub cni: Cni,
    /// What happens to packets of pods to the outside when nobody steers them.
    #[serde(default)]
    pub masquerade: Masquerade,
    /// The CNI plugins make `cni` and `masquerade`, not the lab.
    #[serde(default)]
    pub plugins: bool,
    /// The kube-proxy on the node. Only a lab whose store is Kubernetes can have one.
    #[serde(default)]
    pub proxy: Proxy,
    /// Labels of the Node object.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// More arguments for the node's agent.
    #[serde(default)]
    pub agent: Vec<String>,
}

/// How pods hang on a node.
#[derive(Serialize, Deserialize, ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Cni {
    /// A veth per pod with a host route.
    #[default]
    Ptp,
    /// A veth per pod on a bridge.
    Bridge,
}

/// Who masquerades packets of pods to the outside.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Masquerade {
    /// A rule of iptables and ip6tables.
    #[default]
    Iptables,
    /// A rule of nft.
    Nftables,
    /// Nobody.
    None,
}

/// How a node's kube-proxy works, if it has one.
#[derive(Serialize, Deserialize, ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Proxy {
    /// There is none: Services have no addresses.
    #[default]
    None,
    /// By rules of iptables.
    Iptables,
    /// By rules of nft.
    Nftables,
}

impl Proxy {
    /// As `--proxy-mode` has it; `None` without a proxy.
    pub fn mode(self) -> Option<&'static str> {
        match self {
            Proxy::None => None,
            Proxy::Iptables => Some("iptables"),
            Proxy::Nftables => Some("nftables"),
        }
    }
}

/// The router's addresses on the three networks, with prefix length.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Router {
    /// On the network between the nodes.
    pub underlay: Vec<IpNet>,
    /// On the network to the outside.
    pub wire: Vec<IpNet>,
    /// On the far network.
    pub farnet: Vec<IpNet>,
}

/// A host that is no part of the cluster.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outside {
    /// The host's name.
    pub name: String,
    /// The network it is on.
    pub network: Network,
    /// Addresses of eth0, with prefix length.
    pub addresses: Vec<IpNet>,
}

/// A network of the lab: a bridge in the switch's namespace.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Between the nodes.
    Underlay,
    /// From the gateways to the outside.
    Wire,
    /// Behind the router.
    Farnet,
}

impl Network {
    /// The name of the network's bridge.
    pub fn bridge(self) -> &'static str {
        match self {
            Network::Underlay => "underlay",
            Network::Wire => "wire",
            Network::Farnet => "farnet",
        }
    }
}

impl Node {
    /// The node may be a gateway: it has a wire.
    pub fn is_gateway(&self) -> bool {
        !self.wire.is_empty()
    }
}

impl Topology {
    /// Reads a topology and checks it.
    ///
    /// # Errors
    /// What is wrong, where, and what would be right.
    pub fn parse(text: &str) -> Result<Topology> {
        let topology: Topology =
            serde_saphyr::from_str(text).context("not a topology (see `egret lab topology`)")?;
        topology.check()?;
        Ok(topology)
    }

    fn check(&self) -> Result<()> {
        ensure!(!self.nodes.is_empty(), "nodes: empty; a lab needs at least one node");
        let mut names: BTreeSet<&str> = ["control", "router", "switch"].into();
        let hosts = self.nodes.iter().map(|n| &n.name).chain(self.outside.iter().map(|o| &o.name));
        for name in hosts {
            ensure!(
                !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(is_name_byte),
                "host {name:?}: a name has 1 to {LONGEST_NAME} of a-z, 0-9 and -"
            );
            ensure!(names.insert(name), "host {name}: the name is taken; give each host its own");
        }
        let mut taken: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for (host, address) in self.addresses() {
            if let Some(other) = taken.insert(address.addr(), host) {
                bail!("host {host}: {} is {other}'s address as well; give each host its own", address.addr());
            }
        }
        for node in &self.nodes {
            ensure!(!node.underlay.is_empty(), "node {}: underlay is empty; give eth0 an address", node.name);
            for network in &node.pod_networks {
                ensure!(
                    self.pod_networks.iter().any(|whole| whole.contains(network)),
                    "node {}: podNetworks: {network} is in none of the lab's podNetworks; add it there",
                    node.name
                );
            }
        }
        for outside in &self.outside {
            ensure!(
                outside.network != Network::Underlay,
                "host {}: network: an outside host is on wire or farnet",
                outside.name
            );
        }
        Ok(())
    }

    fn addresses(&self) -> impl Iterator<Item = (&str, &IpNet)> {
        let nodes =
            self.nodes.iter().flat_map(|n| n.underlay.iter().chain(&n.wire).map(|a| (n.name.as_str(), a)));
        let router = &self.router;
        let router = router.underlay.iter().chain(&router.wire).chain(&router.farnet).map(|a| ("router", a));
        let outside = self.outside.iter().flat_map(|o| o.addresses.iter().map(|a| (o.name.as_str(), a)));
        nodes.chain(router).chain(outside).chain(self.control.iter().map(|a| ("control", a)))
    }

    /// A node has a kube-proxy.
    pub fn has_proxies(&self) -> bool {
        self.nodes.iter().any(|node| node.proxy != Proxy::None)
    }

    /// The node of that name.
    ///
    /// # Errors
    /// When there is none; the error names those that there are.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.iter().find(|n| n.name == name).with_context(|| {
            let known: Vec<&str> = self.nodes.iter().map(|n| n.name.as_str()).collect();
            format!("node {name:?}: no such node; the lab has {}", known.join(", "))
        })
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

/// The address of `family_of`'s family among these.
pub fn of_family(addresses: &[IpNet], v6: bool) -> Option<&IpNet> {
    addresses.iter().find(|a| a.addr().is_ipv6() == v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_a_topology() {
        let topology = Topology::parse(DEFAULT).unwrap();
        assert_eq!(topology.nodes.len(), 6);
        assert_eq!(topology.nodes.iter().filter(|n| n.is_gateway()).count(), 3);
        assert_eq!(topology.node("node-4").unwrap().wire[0].to_string(), "10.10.0.104/24");
    }

    #[test]
    fn errors_name_host_and_cure() {
        let wrong =
            |from: &str, to: &str| Topology::parse(&DEFAULT.replacen(from, to, 1)).unwrap_err().to_string();
        assert_eq!(
            wrong("name: node-2", "name: node-1"),
            "host node-1: the name is taken; give each host its own"
        );
        assert_eq!(
            wrong("10.0.0.2/24", "10.0.0.1/24"),
            "host node-2: 10.0.0.1 is node-1's address as well; give each host its own"
        );
        assert!(wrong("10.244.3.0/24", "10.99.3.0/24").contains("node node-3: podNetworks: 10.99.3.0/24"));
        assert!(wrong("name: node-2", "name: a-name-too-long").contains("1 to 10 of"));
        assert!(wrong("cni: bridge", "cni: brigde").contains("not a topology"));
    }
}

//! A pod's place in another network than the cluster's, as Multus makes it with the bridge plugin: a veth on a bridge of the
//! node that leads nowhere else. Or with the macvlan plugin: an interface made of one of the node's, in that one's network.

use std::net::IpAddr;

use anyhow::Result;
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::{netns, tool};

/// The bridge on the node.
const BRIDGE: &str = "second0";
/// The pod's interface.
const INTERFACE: &str = "net1";

/// A pod's place in the other network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Second {
    /// Its address, with prefix length.
    pub address: IpNet,
    /// Whom it takes for its router, to everywhere; nobody there if absent.
    pub router: Option<IpAddr>,
    /// The node's interface that the pod's is a macvlan of; a bridge and a veth if absent.
    pub parent: Option<String>,
}

impl Second {
    /// Makes the pod's interface; `link` is the name of the node's end, if it has one.
    ///
    /// # Errors
    /// When a command fails.
    pub fn attach(&self, node: &str, pod: &str, link: &str) -> Result<()> {
        let mut at_pod =
            vec![format!("addr add {} dev {INTERFACE}", self.address), format!("link set {INTERFACE} up")];
        at_pod
            .extend(self.router.map(|router| format!("route replace default via {router} dev {INTERFACE}")));
        match &self.parent {
            Some(parent) => {
                let made = format!("link add link {parent} {INTERFACE} netns {pod} type macvlan mode bridge");
                tool::ip_batch_in(node, &[made])?;
            }
            None => hang(node, pod, link)?,
        }
        tool::ip_batch_in(pod, &at_pod)
    }

    /// The annotation by which Multus tells of it, beside the cluster's own network.
    pub fn annotations(&self, own: &[IpNet]) -> Value {
        let own: Vec<IpAddr> = own.iter().map(IpNet::addr).collect();
        let status = json!([
            {"name": "lab", "interface": "eth0", "ips": own, "default": true, "dns": {}},
            {"name": "default/second", "interface": INTERFACE, "ips": [self.address.addr()], "dns": {}},
        ]);
        json!({"k8s.v1.cni.cncf.io/network-status": status.to_string()})
    }
}

/// A veth between the pod and a bridge of its node.
fn hang(node: &str, pod: &str, link: &str) -> Result<()> {
    let is_there = netns::run_in(node, || Ok(nix::net::if_::if_nametoindex(BRIDGE).is_ok()))?;
    let mut at_node = vec![format!("link set {link} master {BRIDGE} up")];
    if !is_there {
        let make = format!("link add {BRIDGE} type bridge forward_delay 0 stp_state 0 mcast_snooping 0");
        at_node.splice(0..0, [make, format!("link set {BRIDGE} up")]);
    }
    tool::ip_batch(&[format!("link add {INTERFACE} netns {pod} type veth peer name {link} netns {node}")])?;
    tool::ip_batch_in(node, &at_node)
}

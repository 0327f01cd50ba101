//! The tunnel that all peers get here, whatever theirs is (Geneve, FoU, VXLAN): spidernet's.

use crate::cluster::{self, Cluster, PODS};
use crate::namespace::run;
use anyhow::Result;
use std::process::Command;

/// The tunnel's device on both nodes.
pub const DEVICE: &str = "egress.vxlan";
/// n1 in the tunnel.
pub const NODE: &str = "172.31.0.1";
/// g1 in the tunnel.
pub const GATEWAY: &str = "172.31.0.11";

/// Builds it between the node and the gateway.
pub fn build(cluster: &Cluster) -> Result<()> {
    let node = (NODE, cluster::NODE.to_string(), "02:00:00:00:31:01");
    let gateway = (GATEWAY, cluster::GATEWAY.to_string(), "02:00:00:00:31:11");
    for (namespace, me, peer) in [(&cluster.node, &node, &gateway), (&cluster.gateway, &gateway, &node)] {
        namespace.ip(&format!(
            "link add {DEVICE} address {} type vxlan id 100 dev eth0 local {} dstport 7789 nolearning\n\
             addr add {}/16 dev {DEVICE}\nlink set {DEVICE} up\n\
             neigh replace {} lladdr {} dev {DEVICE} nud permanent\n",
            me.2, me.1, me.0, peer.0, peer.2
        ))?;
        let entry = ["fdb", "replace", peer.2, "dev", DEVICE, "dst", &peer.1, "self", "permanent"];
        run(Command::new("bridge").args(["-n", &namespace.name]).args(entry), None)?;
    }
    Ok(())
}

/// Sends what pods send through the tunnel: stands for a flow table that knows pods by hash, whatever their number.
pub fn steer_pods(cluster: &Cluster) -> Result<()> {
    cluster.node.ip(&format!(
        "rule add priority 99 from {PODS} iif p1 table 3000\nroute add default via {GATEWAY} dev {DEVICE} table 3000\n"
    ))
}

//! What the others are measured against.

use super::tunnel;
use crate::cluster::{Cluster, NODE, PODS};
use anyhow::Result;

/// The routes that every cluster has.
pub fn routing(_: &Cluster, _: usize) -> Result<()> {
    Ok(())
}

/// The same, with the gateway's address as the source.
pub fn masquerade(cluster: &Cluster, _: usize) -> Result<()> {
    let rules = format!("*nat\n-A POSTROUTING -s {PODS} -o eth1 -j MASQUERADE\nCOMMIT\n");
    cluster.gateway.feed(&["iptables-restore", "-n"], &rules)
}

/// Forwarding through a tunnel both ways, without any rule.
pub fn vxlan(cluster: &Cluster, _: usize) -> Result<()> {
    tunnel::build(cluster)?;
    cluster.node.ip(&format!("route replace default via {} dev {}\n", tunnel::GATEWAY, tunnel::DEVICE))?;
    cluster.gateway.ip(&format!(
        "route del {PODS} via {NODE}\nroute add {PODS} via {} dev {}\n",
        tunnel::NODE,
        tunnel::DEVICE
    ))
}

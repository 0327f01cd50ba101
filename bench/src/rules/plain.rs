//! What the others are measured against.

use super::tunnel;
use crate::cluster::{Cluster, NODE, OUTSIDE, POD, PODS};
use anyhow::Result;

/// The pod and the outside host on one link; the nodes are left out.
pub fn direct(cluster: &Cluster, _: usize) -> Result<()> {
    cluster.pod.ip("link del eth0\n")?;
    cluster.outside.ip("link del eth0\n")?;
    let outside = &cluster.outside.name;
    cluster.pod.ip(&format!("link add eth0 mtu 1450 type veth peer name eth0 mtu 1450 netns {outside}\n"))?;
    cluster
        .outside
        .ip(&format!("addr add {OUTSIDE}/32 dev eth0\nlink set eth0 up\nroute add {POD} dev eth0\n"))?;
    cluster.pod.ip(&format!("addr add {POD}/32 dev eth0\nlink set eth0 up\nroute add {OUTSIDE} dev eth0\n"))
}

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

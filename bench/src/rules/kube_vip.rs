//! kube-vip, nft mode: one nat chain per Service on the pod's own node, which holds the address (pkg/nftables). There
//! is no gateway: g1 only routes.

use crate::cluster::{Cluster, GATEWAY_WIRE, NODE, egress, order, pod};
use anyhow::Result;
use std::fmt::Write;

/// Writes the rules.
pub fn apply(cluster: &Cluster, policies: usize) -> Result<()> {
    let (mut chains, mut addresses) = (String::from("table ip kube_vip_v4 {\n"), String::new());
    for index in order(policies) {
        let (pod, address) = (pod(index), egress(index));
        writeln!(addresses, "addr add {address}/32 dev eth0")?;
        writeln!(
            chains,
            "chain kube_vip_snat_{index} {{ type nat hook postrouting priority srcnat; policy accept;\n\
             ip saddr {{ {pod} }} ip daddr != 10.244.0.0-10.244.255.255 ip daddr != 10.96.0.0-10.111.255.255 snat to {address}; }}"
        )?;
    }
    chains.push_str("}\n");
    cluster.node.ip(&addresses)?;
    cluster.node.feed(&["nft", "-f", "-"], &chains)?;
    cluster.gateway.ip(&format!("route add 10.10.8.0/22 via {NODE}\n"))?;
    cluster.outside.ip(&format!("route add 10.10.8.0/22 via {GATEWAY_WIRE}\n"))
}

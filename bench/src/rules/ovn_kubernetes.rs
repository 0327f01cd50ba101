//! OVN-Kubernetes EgressIP on a secondary NIC: a route rule and an SNAT rule per pod on the gateway, and its leak
//! guard (docs egress-ip.md). OVN's own way to the gateway stands here as one route rule for all pods.

use super::tunnel;
use crate::cluster::{Cluster, OUTSIDE, PODS, egress, order, pod};
use anyhow::Result;
use std::fmt::Write;

/// Writes the rules.
pub fn apply(cluster: &Cluster, policies: usize) -> Result<()> {
    tunnel::build(cluster)?;
    tunnel::steer_pods(cluster)?;
    let mut routes = format!(
        "route add default via {OUTSIDE} dev eth1 table 1111\nroute add 10.10.0.0/16 dev eth1 table 1111\n"
    );
    let mut snat = String::new();
    for index in order(policies) {
        let (pod, address) = (pod(index), egress(index));
        writeln!(routes, "rule add priority 6000 from {pod} lookup 1111\naddr add {address}/32 dev eth1")?;
        writeln!(snat, "-A OVN-KUBE-EGRESS-IP-MULTI-NIC -s {pod}/32 -o eth1 -j SNAT --to-source {address}")?;
    }
    cluster.gateway.ip(&routes)?;
    cluster.gateway.feed(
        &["iptables-restore", "-n"],
        &format!(
            "*nat\n:OVN-KUBE-EGRESS-IP-MULTI-NIC - [0:0]\n-A POSTROUTING -j OVN-KUBE-EGRESS-IP-MULTI-NIC\n{snat}COMMIT\n"
        ),
    )?;
    cluster.gateway.feed(
        &["nft", "-f", "-"],
        &format!(
            "table inet ovn-kubernetes {{\n\
             chain egress-ip-sec-filter {{ type filter hook postrouting priority srcnat + 1;\n\
             ip saddr {PODS} meta mark 0x3f1 drop; }}\n}}\n"
        ),
    )
}

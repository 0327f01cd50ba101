//! coil: the pod's way out is inside its own namespace, the gateway masquerades and sends replies back through the
//! tunnel, one route per pod (docs/design.md, v2/pkg/nat). Its FoU tunnel is VXLAN here.

use super::tunnel;
use crate::cluster::{Cluster, GATEWAY_WIRE, OUTSIDE, pod};
use anyhow::Result;
use std::fmt::Write;

/// Writes the rules.
pub fn apply(cluster: &Cluster, policies: usize) -> Result<()> {
    tunnel::build(cluster)?;
    cluster.node.ip(&format!(
        "rule add pref 1900 table 117\nroute add {OUTSIDE}/32 via {} dev {} table 117\n",
        tunnel::GATEWAY,
        tunnel::DEVICE
    ))?;
    let mut routes = String::from("rule add iif eth1 pref 2000 table 118\n");
    for index in 0..policies {
        let (to, device) = (tunnel::NODE, tunnel::DEVICE);
        writeln!(routes, "route add {}/32 via {to} dev {device} table 118 proto 30", pod(index))?;
    }
    cluster.gateway.ip(&routes)?;
    cluster.gateway.feed(
        &["iptables-restore", "-n"],
        &format!(
            "*nat\n-A POSTROUTING ! -s {GATEWAY_WIRE}/32 -o eth1 -j MASQUERADE\nCOMMIT\n\
             *filter\n-A FORWARD -o eth1 -m state --state INVALID -j DROP\nCOMMIT\n"
        ),
    )
}

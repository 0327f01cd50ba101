//! Egret's idea with nothing but kernel rules: NAT on the pod's node from a leased block, an untracked gateway that
//! steers returns by block and answers ARP for an address it does not own.

use super::tunnel;
use crate::cluster::{Cluster, EGRESS, POD};
use anyhow::Result;

const LEASE: &str = "32768-34815";

/// Writes the rules.
pub fn apply(cluster: &Cluster, _: usize) -> Result<()> {
    tunnel::build(cluster)?;
    let device = tunnel::DEVICE;
    cluster.node.ip(&format!("route replace default via {} dev {device}\n", tunnel::GATEWAY))?;
    cluster.node.feed(
        &["nft", "-f", "-"],
        &format!(
            "table ip e {{ chain post {{ type nat hook postrouting priority srcnat;\n\
             oifname \"{device}\" ip saddr {POD} meta l4proto tcp snat to {EGRESS}:{LEASE} fully-random;\n\
             oifname \"{device}\" ip saddr {POD} meta l4proto udp snat to {EGRESS}:{LEASE} fully-random;\n}}\n}}\n"
        ),
    )?;
    cluster.gateway.feed(
        &["nft", "-f", "-"],
        &format!(
            "table ip e {{\n\
             chain pre {{ type filter hook prerouting priority raw;\n\
             ip daddr {EGRESS} notrack; ip saddr {EGRESS} notrack; }}\n\
             chain m {{ type filter hook prerouting priority mangle;\n\
             ip daddr {EGRESS} meta l4proto {{ tcp, udp }} th dport {LEASE} meta mark set 1; }}\n\
             chain fw {{ type filter hook forward priority mangle; meta mark 1 meta mark set 0; }}\n\
             }}\n"
        ),
    )?;
    cluster.gateway.ip(&format!(
        "rule add priority 99 fwmark 1 table 100\n\
         route add default via {node} dev {device} table 100\n\
         route add {EGRESS}/32 via {node} dev {device}\n\
         neigh add proxy {EGRESS} dev eth1\n",
        node = tunnel::NODE
    ))?;
    cluster
        .gateway
        .shell("cd /proc/sys/net/ipv4; echo 0 > neigh/eth1/proxy_delay; echo 1 > conf/eth1/proxy_arp")
}

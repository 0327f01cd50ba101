//! Antrea: OVS steers and marks by pod (here a route rule for all pods, and a mark rule or, for several policies, a
//! map of marks), one SNAT rule per egress address on the gateway (pkg/agent/route/route_linux.go). The mark has 8
//! bits, so a gateway has at most 255 addresses: more policies share them.

use super::tunnel;
use crate::cluster::{Cluster, egress, order, pod};
use anyhow::Result;
use std::fmt::Write;

const ADDRESSES: usize = 255;

/// Writes the rules.
pub fn apply(cluster: &Cluster, policies: usize) -> Result<()> {
    tunnel::build(cluster)?;
    tunnel::steer_pods(cluster)?;
    let count = policies.min(ADDRESSES);
    let (mut snat, mut addresses, mut marks) = (String::new(), String::new(), String::new());
    for index in order(count) {
        let (mark, address) = (index + 1, egress(index));
        writeln!(
            snat,
            "-A ANTREA-POSTROUTING ! -o {} -m mark --mark {mark:#x}/0xff -j SNAT --to-source {address}",
            tunnel::DEVICE
        )?;
        writeln!(addresses, "addr add {address}/32 dev eth1")?;
    }
    for index in 0..policies {
        write!(marks, "{} : {:#x}, ", pod(index), index % ADDRESSES + 1)?;
    }
    let mangle = match policies {
        1 => format!(
            "*mangle\n-A PREROUTING -i {} -m conntrack --ctstate NEW -j MARK --set-xmark 0x1/0xff\nCOMMIT\n",
            tunnel::DEVICE
        ),
        _ => String::new(),
    };
    cluster.gateway.ip(&addresses)?;
    cluster.gateway.feed(
        &["iptables-restore", "-n"],
        &format!(
            "{mangle}*nat\n:ANTREA-POSTROUTING - [0:0]\n-A POSTROUTING -j ANTREA-POSTROUTING\n{snat}COMMIT\n"
        ),
    )?;
    if policies > 1 {
        cluster.gateway.feed(
            &["nft", "-f", "-"],
            &format!(
                "table ip ovs {{\n\
                 map marks {{ type ipv4_addr : mark; elements = {{ {marks} }}; }}\n\
                 chain pre {{ type filter hook prerouting priority mangle;\n\
                 iifname \"{}\" ct state new meta mark set ip saddr map @marks; }}\n}}\n",
                tunnel::DEVICE
            ),
        )?;
    }
    Ok(())
}

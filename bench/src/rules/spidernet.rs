//! spidernet egressgateway: per policy two ipsets, a mark rule on the pod's node and an SNAT rule on the gateway
//! (pkg/agent/police.go, vxlan.go, route.go). Replies take the CNI's route, not the tunnel.

use super::tunnel;
use crate::cluster::{Cluster, OUTSIDE, egress, order, pod};
use anyhow::Result;
use std::fmt::Write;

const MARK: &str = "0x26d9b723";

/// Writes the rules.
pub fn apply(cluster: &Cluster, policies: usize) -> Result<()> {
    tunnel::build(cluster)?;
    let (mut sets, mut mark, mut snat, mut addresses) =
        (String::new(), String::new(), String::new(), String::new());
    for index in order(policies) {
        let (src, dst) = (format!("egress-src-v4-{index}"), format!("egress-dst-v4-{index}"));
        writeln!(
            sets,
            "create {src} hash:net\nadd {src} {}\ncreate {dst} hash:net\nadd {dst} {OUTSIDE}",
            pod(index)
        )?;
        let matches = format!(
            "-m set --match-set {src} src -m set --match-set {dst} dst -m conntrack --ctdir ORIGINAL"
        );
        writeln!(mark, "-A EGRESSGATEWAY-MARK-REQUEST {matches} -j MARK --set-xmark {MARK}/0xffffffff")?;
        let address = egress(index);
        writeln!(snat, "-A EGRESSGATEWAY-SNAT-EIP {matches} -j SNAT --to-source {address}")?;
        writeln!(addresses, "addr add {address}/32 dev eth1")?;
    }
    for namespace in [&cluster.node, &cluster.gateway] {
        namespace.feed(&["ipset", "restore"], &sets)?;
    }
    cluster.node.feed(&["iptables-restore", "-n"], &tables(&mark, ""))?;
    cluster.node.ip(&format!(
        "rule add priority 99 fwmark {MARK} table 3000\n\
         route add default via {} dev {} table 3000\n",
        tunnel::GATEWAY,
        tunnel::DEVICE
    ))?;
    cluster.gateway.ip(&addresses)?;
    cluster.gateway.feed(&["iptables-restore", "-n"], &tables("", &snat))
}

fn tables(mark: &str, snat: &str) -> String {
    format!(
        "*mangle\n\
         :EGRESSGATEWAY-MARK-REQUEST - [0:0]\n\
         :EGRESSGATEWAY-REPLY-ROUTING - [0:0]\n\
         -A PREROUTING -j EGRESSGATEWAY-MARK-REQUEST\n\
         -A PREROUTING -m mark --mark 0x26000000/0xff000000 -j ACCEPT\n\
         -A FORWARD -m mark --mark 0x26000000/0xff000000 -j MARK --set-xmark 0x26000000/0xffffffff\n\
         -A POSTROUTING -m mark --mark 0x26000000 -j ACCEPT\n\
         {mark}\
         COMMIT\n\
         *filter\n\
         -A FORWARD -m mark --mark 0x26000000 -j ACCEPT\n\
         -A OUTPUT -m mark --mark 0x26000000 -j ACCEPT\n\
         COMMIT\n\
         *nat\n\
         :EGRESSGATEWAY-SNAT-EIP - [0:0]\n\
         -A PREROUTING -m mark --mark 0x26000000/0xff000000 -j ACCEPT\n\
         -A POSTROUTING -j EGRESSGATEWAY-SNAT-EIP\n\
         -A POSTROUTING -m mark --mark 0x26000000 -j ACCEPT\n\
         {snat}\
         COMMIT\n"
    )
}

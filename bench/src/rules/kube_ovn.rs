//! Kube-OVN VpcEgressGateway (dist/images/init-vpc-egress-gateway.sh): the gateway masquerades whatever reaches it,
//! so its rules do not grow with pods. OVN's policy routes stand here as one route rule for all pods.

use super::tunnel;
use crate::cluster::Cluster;
use anyhow::Result;

/// Writes the rules.
pub fn apply(cluster: &Cluster, _: usize) -> Result<()> {
    tunnel::build(cluster)?;
    cluster.node.shell("echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy")?;
    tunnel::steer_pods(cluster)?;
    cluster.gateway.feed(
        &["iptables-restore", "-n"],
        &format!(
            "*nat\n\
             :VEG-MASQUERADE - [0:0]\n\
             -A PREROUTING -i {} -j MARK --set-xmark 0x4000/0x4000\n\
             -A POSTROUTING -j VEG-MASQUERADE\n\
             -A VEG-MASQUERADE -j MARK --set-xmark 0x0/0xffffffff\n\
             -A VEG-MASQUERADE -j MASQUERADE --random-fully\n\
             COMMIT\n",
            tunnel::DEVICE
        ),
    )
}

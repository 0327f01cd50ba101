//! Which CPU does whose work. Receive packet steering moves what a host does with a packet to a CPU of our choice.

use crate::cluster::Cluster;
use anyhow::Result;

/// The CPU of the pod's load, and of the ends when forwarding is measured alone.
pub const FIRST: usize = 0;
/// The CPU of the outside host's load, or of what is measured alone. Agents run here, too.
pub const SECOND: usize = 1;

/// Whose work is on the second CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// Nothing is steered: each packet is carried on by the CPU that sent it.
    Off,
    /// The gateway's work is on the second CPU, all the rest on the first.
    Gateway,
    /// The work of both nodes is on the second CPU, that of the pod and the outside host on the first.
    Nodes,
}

impl Steering {
    /// Sets it in a cluster.
    pub fn set(self, cluster: &Cluster) -> Result<()> {
        let (first, second) = (1 << FIRST, 1 << SECOND);
        let (ends, node, gateway) = match self {
            Self::Off => (0, 0, 0),
            Self::Gateway => (first, first, second),
            Self::Nodes => (first, second, second),
        };
        let masks = [
            (&cluster.pod, ends),
            (&cluster.node, node),
            (&cluster.gateway, gateway),
            (&cluster.outside, ends),
        ];
        for (namespace, mask) in masks {
            namespace.shell(&format!(
                "for f in /sys/class/net/eth*/queues/rx-*/rps_cpus /sys/class/net/p1/queues/rx-*/rps_cpus; do\n\
                 if [ -e $f ]; then echo {mask:x} > $f; fi; done\n"
            ))?;
        }
        Ok(())
    }
}

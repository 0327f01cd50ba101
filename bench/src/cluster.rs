//! One topology: pod - n1 - g1 - ext, each a network namespace, joined by veth pairs.

use crate::cleanup;
use crate::namespace::{Namespace, PREFIX};
use anyhow::Result;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// The measured pod; the others of a scale follow it.
pub const POD: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 2);
/// All pods of n1.
pub const PODS: &str = "10.244.0.0/18";
/// n1 on the link between the nodes.
pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// g1 on the link between the nodes.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
/// g1 on its wire.
pub const GATEWAY_WIRE: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);
/// The outside host.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 100);
/// The egress address of the first policy; those of the others follow it.
pub const EGRESS: Ipv4Addr = Ipv4Addr::new(10, 10, 8, 1);

const POD_MAC: &str = "02:00:00:00:00:02";

/// The `index`-th pod. Index 0 is the measured one.
pub fn pod(index: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(POD) + index as u32)
}

/// The egress address of the `index`-th policy.
pub fn egress(index: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(EGRESS) + index as u32)
}

/// The order in which `policies` rules stand in a list: the measured pod's is in the middle, where a pod's rule is
/// on average.
pub fn order(policies: usize) -> Vec<usize> {
    let half = policies / 2;
    (1..=half).chain([0]).chain(half + 1..policies).collect()
}

/// The four namespaces of one configuration.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The pod's namespace.
    pub pod: Namespace,
    /// The pod's node: `p1` towards the pod, `eth0` towards g1.
    pub node: Namespace,
    /// The gateway: `eth0` towards n1, `eth1` is its wire.
    pub gateway: Namespace,
    /// The outside host.
    pub outside: Namespace,
}

impl Cluster {
    /// Builds one, with routes but no rules of anybody, for `pods` pod addresses behind the one link.
    pub fn build(configuration: &str, pods: usize) -> Result<Self> {
        let make =
            |host: &str| Namespace::create(format!("{PREFIX}{}-{configuration}-{host}", std::process::id()));
        let cluster =
            Self { pod: make("pod")?, node: make("n1")?, gateway: make("g1")?, outside: make("ext")? };
        cluster.wire_up()?;
        cluster.address(pods)?;
        Ok(cluster)
    }

    /// All four.
    pub fn namespaces(&self) -> [&Namespace; 4] {
        [&self.pod, &self.node, &self.gateway, &self.outside]
    }

    /// Removes it with everything that runs in it.
    pub fn remove(&self) {
        cleanup::remove_namespaces(&self.namespaces().map(|namespace| namespace.name.clone()));
    }

    fn wire_up(&self) -> Result<()> {
        self.pod.ip(&format!(
            "link add eth0 address {POD_MAC} type veth peer name p1 netns {}",
            self.node.name
        ))?;
        self.node.ip(&format!("link add eth0 type veth peer name eth0 netns {}", self.gateway.name))?;
        self.gateway.ip(&format!("link add eth1 type veth peer name eth0 netns {}", self.outside.name))?;
        for namespace in [&self.node, &self.gateway] {
            namespace.shell(
                "cd /proc/sys/net/ipv4; echo 1 > ip_forward; for f in conf/*/rp_filter; do echo 0 > $f; done",
            )?;
        }
        Ok(())
    }

    /// The pod's MTU leaves room for a tunnel in every configuration, so that all of them carry the same packets.
    fn address(&self, pods: usize) -> Result<()> {
        let mut pod_lines = format!(
            "link set eth0 mtu 1450 up\naddr add {POD}/32 dev eth0\nroute add 169.254.1.1 dev eth0\n\
             route add default via 169.254.1.1 dev eth0\n"
        );
        let mut node_lines = format!(
            "link set p1 mtu 1450 up\naddr add 169.254.1.1/32 dev p1\nlink set eth0 up\naddr add {NODE}/24 dev eth0\n\
             route add default via {GATEWAY}\n"
        );
        for index in 0..pods {
            let address = pod(index);
            writeln!(node_lines, "route add {address}/32 dev p1")?;
            writeln!(node_lines, "neigh replace {address} lladdr {POD_MAC} dev p1 nud permanent")?;
            if index > 0 {
                writeln!(pod_lines, "route add local {address}/32 dev eth0")?;
            }
        }
        self.pod.ip(&pod_lines)?;
        self.node.ip(&node_lines)?;
        self.gateway.ip(&format!(
            "link set eth0 up\naddr add {GATEWAY}/24 dev eth0\nlink set eth1 up\naddr add {GATEWAY_WIRE}/16 dev eth1\n\
             route add {PODS} via {NODE}\n"
        ))?;
        self.outside.ip(&format!(
            "link set eth0 up\naddr add {OUTSIDE}/16 dev eth0\nroute add {PODS} via {GATEWAY_WIRE}\n"
        ))
    }
}

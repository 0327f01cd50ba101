//! One namespace whose pods leave by an IPv4 and by an IPv6 address, and the same far ends in both families.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::harness::{DEADLINE, Host, Lab, SMALL};

/// Pools `four` and `six` for the namespace `nat`, with these settings in both (a flow mapping's inside).
pub fn pools(settings: &str) -> String {
    [("four", FOUR), ("six", SIX)].map(|(name, address)| pool(name, "nat", address, settings)).concat()
}

/// A pool of one address for the pods of a namespace.
pub fn pool(name: &str, namespace: &str, address: &str, settings: &str) -> String {
    format!(
        "
---
apiVersion: egret.dev/v1alpha1
kind: EgressPool
metadata: {{ name: {name} }}
spec: {{ ranges: [{{ start: \"{address}\", end: \"{address}\" }}], {settings} }}
---
apiVersion: egret.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {{ name: {name} }}
spec: {{ namespaceSelector: {{ matchLabels: {{ kubernetes.io/metadata.name: {namespace} }} }}, pool: {name} }}
"
    )
}

/// The egress address of pool `four`.
pub const FOUR: &str = "10.10.0.97";
/// The egress address of pool `six`.
pub const SIX: &str = "fd00:10:10::1000";

/// `outside-2`, behind the router, in both families.
pub const FAR: [&str; 2] = ["198.51.100.10", "fd00:198:51:100::10"];
/// `outside-1`, on the wire, in both families.
pub const NEAR: [&str; 2] = ["10.10.0.200", "fd00:10:10::200"];

/// The address and port.
pub fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// The egress address that the outside sees in the family of this one.
pub fn egress(remote: IpAddr) -> &'static str {
    if remote.is_ipv4() { FOUR } else { SIX }
}

/// The steering of every agent of the lab.
pub fn steered(way: &str) -> String {
    SMALL.replace("    cni:", &format!("    agent: [--steering, {way}]\n    cni:"))
}

impl Host {
    /// Its address in the family of `like`, without prefix length.
    pub fn address(&self, like: IpAddr) -> IpAddr {
        let own = self.addresses.iter().map(|a| a.split('/').next().unwrap().parse::<IpAddr>().unwrap());
        own.clone()
            .find(|a| a.is_ipv4() == like.is_ipv4())
            .unwrap_or_else(|| panic!("no address like {like} in {:?}", self.addresses))
    }

    /// Writes sysctls of the host's network namespace: names as below `/proc/sys/net`.
    #[track_caller]
    pub fn sysctls(&self, values: &'static [(&'static str, &'static str)]) {
        self.wait(move || {
            for (name, value) in values {
                std::fs::write(format!("/proc/sys/net/{name}"), value)
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        });
    }
}

impl Lab {
    /// Waits until packets of this pod need no tunnel on the way out and back. `outside-2` serves sources.
    #[track_caller]
    pub fn until_no_tunnel(&self, pod: &Host, node: &str) {
        let begun = Instant::now();
        let tunnelled = || -> u64 {
            let of = |node: &str, reason: &str| self.counters(node).get(reason).copied().unwrap_or(0);
            of(node, "SENT_OVERLAY") + of("node-4", "SENT_NODE") + of("node-5", "SENT_NODE")
        };
        loop {
            let before = tunnelled();
            for end in FAR {
                pod.udp_source(at(end, 7000)).unwrap();
            }
            if tunnelled() == before {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "still by tunnel: {:?}", self.counters(node));
        }
    }

    /// Runs a program in a host; it must succeed. Returns what it printed.
    #[track_caller]
    pub fn told(&self, host: &Host, program: &str, arguments: &[&str]) -> String {
        let output = host.command(program, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }
}

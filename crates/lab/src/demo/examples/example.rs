//! The examples.

use std::net::Ipv4Addr;

use crate::demo::Examples;
use crate::demo::cluster::ANTREA;
use crate::state::Host;

/// One system's example.
pub(super) struct Example {
    /// The system.
    pub name: &'static str,
    /// Which example it is.
    pub title: &'static str,
    /// Its manifests, and the name under which they are put into the store.
    pub manifests: &'static str,
    pub file: &'static str,
    /// The address that its pods leave by.
    pub address: Ipv4Addr,
    /// The pods: namespace and label `app`.
    pub namespace: &'static str,
    pub app: &'static str,
    /// The port that they speak to.
    pub port: u16,
    /// The example is about UDP alone.
    pub datagrams_only: bool,
    /// It names its pods by their addresses: these.
    pub listed: &'static [Ipv4Addr],
}

/// The addresses that LoxiLB's example lists.
const LOXILB: [Ipv4Addr; 2] = [Ipv4Addr::new(123, 123, 123, 17), Ipv4Addr::new(123, 123, 123, 18)];

/// The pods of an example that names addresses: the first pod of node-1 has the tenth address.
const LISTED: usize = 10;

impl Example {
    /// Pods to be made, and the node of each.
    pub fn pods(&self) -> Vec<(String, &'static str)> {
        let named = |n: usize, node| (format!("{}-{n}", self.name), node);
        match self.listed.is_empty() {
            true => vec![named(1, "node-1"), named(2, "node-2")],
            // Enough for the addresses that the example lists to be among theirs.
            false => (1..=LISTED).map(|n| named(n, "node-1")).collect(),
        }
    }

    /// The host is a pod that the example selects.
    pub fn selects(&self, host: &Host) -> bool {
        let own = host.pod.as_ref().is_some_and(|p| {
            p.namespace == self.namespace
                && p.name.strip_prefix(self.name).is_some_and(|rest| rest.starts_with('-'))
        });
        own && (self.listed.is_empty()
            || self.listed.iter().any(|listed| host.addresses.contains(&(*listed).into())))
    }
}

/// The examples that are asked for.
pub(super) fn of(dialect: Examples) -> Vec<Example> {
    let antrea = || Example {
        name: "antrea",
        title: "the high-availability example of its documentation, as it stands",
        manifests: ANTREA,
        file: "antrea-ha.yaml",
        address: Ipv4Addr::new(10, 10, 0, 11),
        namespace: "prod",
        app: "web",
        port: 7001,
        datagrams_only: false,
        listed: &[],
    };
    let deckhouse = || Example {
        name: "deckhouse",
        title: "the example of its documentation with a virtual address, as it stands",
        manifests: include_str!("../../../demo/deckhouse.yaml"),
        file: "deckhouse.yaml",
        address: Ipv4Addr::new(172, 18, 18, 242),
        namespace: "default",
        app: "backend",
        port: 7002,
        ..antrea()
    };
    let loxilb = || Example {
        name: "loxilb",
        title: "the example of its documentation, as it stands, and a pool that grants its address",
        manifests: include_str!("../../../demo/loxilb.yaml"),
        file: "loxilb.yaml",
        address: Ipv4Addr::new(123, 123, 123, 200),
        namespace: "default",
        app: "pod",
        port: 7003,
        listed: &LOXILB,
        ..antrea()
    };
    let kube_vip = || Example {
        name: "kube-vip",
        title: "a Service with the annotations of its documentation, and a pool that grants its address",
        manifests: include_str!("../../../demo/kube-vip.yaml"),
        file: "kube-vip.yaml",
        address: Ipv4Addr::new(192, 168, 0, 245),
        namespace: "telephony",
        app: "sip",
        port: 5060,
        datagrams_only: true,
        ..antrea()
    };
    match dialect {
        Examples::Antrea => vec![antrea()],
        Examples::Deckhouse => vec![deckhouse()],
        Examples::Loxilb => vec![loxilb()],
        Examples::KubeVip => vec![kube_vip()],
        Examples::All => vec![antrea(), deckhouse(), loxilb(), kube_vip()],
    }
}

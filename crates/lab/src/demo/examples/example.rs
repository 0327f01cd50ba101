//! The examples.

use std::net::Ipv4Addr;

use ipnet::IpNet;

use crate::demo::Examples;
use crate::demo::cluster::ANTREA;
use crate::second::Second;
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
    /// It names its pods by their addresses in another network than the cluster's, where they have the egress address for
    /// their router: these.
    pub listed: &'static [Ipv4Addr],
}

/// The addresses that LoxiLB's example lists.
const LOXILB: [Ipv4Addr; 2] = [Ipv4Addr::new(123, 123, 123, 17), Ipv4Addr::new(123, 123, 123, 18)];

impl Example {
    /// Pods to be made, the node of each, and its place in another network.
    pub fn pods(&self) -> Vec<(String, &'static str, Option<Second>)> {
        let pod = |n: usize, node| {
            let second = self.listed.get(n).map(|address| Second {
                address: IpNet::new_assert((*address).into(), 24),
                router: Some(self.address.into()),
                parent: None,
            });
            (format!("{}-{}", self.name, n + 1), node, second)
        };
        vec![pod(0, "node-1"), pod(1, "node-2")]
    }

    /// The host is a pod that the example selects.
    pub fn selects(&self, host: &Host) -> bool {
        host.pod.as_ref().is_some_and(|p| {
            p.namespace == self.namespace
                && p.name.strip_prefix(self.name).is_some_and(|rest| rest.starts_with('-'))
        })
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

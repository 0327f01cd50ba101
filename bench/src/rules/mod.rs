//! What is compared. A peer's rule set is what the peer's own source writes into the kernel, over one VXLAN for all
//! of them; it is not the peer: programs of theirs that add work of their own do not run.

mod antrea;
mod coil;
mod distributed;
mod kube_ovn;
mod kube_vip;
mod ovn_kubernetes;
mod plain;
mod spidernet;
mod tunnel;

use crate::cluster::{Cluster, EGRESS, GATEWAY_WIRE, POD};
use anyhow::Result;
use std::net::Ipv4Addr;

/// Who a configuration belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No egress gateway: what the others are measured against.
    Baseline,
    /// The rules of another system.
    Peer,
    /// Our idea in kernel rules alone.
    Reference,
    /// The real programs.
    Egret,
}

/// Which source the outside host must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The pod's own address.
    Pod,
    /// The gateway's address on its wire.
    Gateway,
    /// The egress address of the policy.
    Egress,
}

impl Source {
    /// The address.
    pub fn address(self) -> Ipv4Addr {
        match self {
            Self::Pod => POD,
            Self::Gateway => GATEWAY_WIRE,
            Self::Egress => EGRESS,
        }
    }
}

/// One of the things compared.
#[derive(Clone, Copy)]
pub struct Configuration {
    /// Its name in rows and on the command line.
    pub name: &'static str,
    /// What it is, for people.
    pub label: &'static str,
    /// Who it belongs to.
    pub kind: Kind,
    /// The source that the outside must see.
    pub source: Source,
    /// How many policies it is measured with beyond one; its rules grow with them, or ought not to.
    pub scales: bool,
    /// Writes its rules for a number of policies.
    pub apply: fn(&Cluster, usize) -> Result<()>,
}

/// No node between the pod and the outside host: what is left is the ends' own.
pub const DIRECT: &str = "direct";

/// All configurations, in the order in which a round runs them.
pub const ALL: [Configuration; 13] = [
    Configuration {
        name: DIRECT,
        label: "one direct link, no node between",
        kind: Kind::Baseline,
        source: Source::Pod,
        scales: false,
        apply: plain::direct,
    },
    Configuration {
        name: "plain",
        label: "plain routing, two hops",
        kind: Kind::Baseline,
        source: Source::Pod,
        scales: true,
        apply: plain::routing,
    },
    Configuration {
        name: "masquerade",
        label: "masquerade on the gateway",
        kind: Kind::Baseline,
        source: Source::Gateway,
        scales: false,
        apply: plain::masquerade,
    },
    Configuration {
        name: "vxlan",
        label: "VXLAN only, no NAT",
        kind: Kind::Baseline,
        source: Source::Pod,
        scales: false,
        apply: plain::vxlan,
    },
    Configuration {
        name: "egret",
        label: "Egret, gateway on the same link",
        kind: Kind::Egret,
        source: Source::Egress,
        scales: true,
        apply: nothing,
    },
    Configuration {
        name: "egret-overlay",
        label: "Egret, over its overlay",
        kind: Kind::Egret,
        source: Source::Egress,
        scales: true,
        apply: nothing,
    },
    Configuration {
        name: "spidernet",
        label: "rules of spidernet over VXLAN",
        kind: Kind::Peer,
        source: Source::Egress,
        scales: true,
        apply: spidernet::apply,
    },
    Configuration {
        name: "antrea",
        label: "rules of Antrea over VXLAN",
        kind: Kind::Peer,
        source: Source::Egress,
        scales: true,
        apply: antrea::apply,
    },
    Configuration {
        name: "ovn-kubernetes",
        label: "rules of OVN-Kubernetes over VXLAN",
        kind: Kind::Peer,
        source: Source::Egress,
        scales: true,
        apply: ovn_kubernetes::apply,
    },
    Configuration {
        name: "kube-ovn",
        label: "rules of Kube-OVN over VXLAN",
        kind: Kind::Peer,
        source: Source::Gateway,
        scales: true,
        apply: kube_ovn::apply,
    },
    Configuration {
        name: "coil",
        label: "rules of coil over VXLAN",
        kind: Kind::Peer,
        source: Source::Gateway,
        scales: true,
        apply: coil::apply,
    },
    Configuration {
        name: "kube-vip",
        label: "rules of kube-vip, no gateway",
        kind: Kind::Peer,
        source: Source::Egress,
        scales: true,
        apply: kube_vip::apply,
    },
    Configuration {
        name: "distributed-nft",
        label: "Egret's idea in nft rules over VXLAN",
        kind: Kind::Reference,
        source: Source::Egress,
        scales: false,
        apply: distributed::apply,
    },
];

/// Egret's rules are written by its own programs.
fn nothing(_: &Cluster, _: usize) -> Result<()> {
    Ok(())
}

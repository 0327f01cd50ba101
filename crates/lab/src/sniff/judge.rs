//! Which packets towards the outside are wrong. Pure: all it knows is asked of [`Witness`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::packet::{Flow, Packet};
use crate::topology::Topology;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Its source is a pod's own address.
    PodSource,
    /// Its source belongs neither to a node nor to a pool.
    UnknownSource,
    /// Its source is a node, but the connection is of a pod that a policy selects.
    SelectedPod {
        /// The pod.
        pod: IpAddr,
        /// The egress address it should have; `None`: it should be dropped.
        egress: Option<IpAddr>,
    },
    /// Its source is an egress address, but the port is leased to nobody.
    PortNotLeased,
}

impl Wrong {
    /// The reason's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Wrong::PodSource => "PodSource",
            Wrong::UnknownSource => "UnknownSource",
            Wrong::SelectedPod { .. } => "SelectedPod",
            Wrong::PortNotLeased => "PortNotLeased",
        }
    }

    /// The reason in words.
    pub fn words(self) -> String {
        match self {
            Wrong::PodSource => "the source is a pod's own address".to_owned(),
            Wrong::UnknownSource => "the source belongs neither to a node nor to a pool".to_owned(),
            Wrong::SelectedPod { pod, egress: Some(egress) } => {
                format!("the source is a node's, but pod {pod} must leave by {egress} to there")
            }
            Wrong::SelectedPod { pod, egress: None } => {
                format!(
                    "the source is a node's, but pod {pod} must not leave to there: its policy has no address"
                )
            }
            Wrong::PortNotLeased => "the source port lies in no lease of the egress address".to_owned(),
        }
    }
}

/// A verdict on a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be; so is the rest of its flow.
    Right,
    /// Nothing against it now; the next packet of the flow is asked about again.
    Unproven,
    /// It should not be there.
    Wrong(Wrong),
}

/// A connection before its source was translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who opened it.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The port there, in host byte order; 0 for protocols without ports.
    pub destination_port: u16,
}

/// What a policy says about a connection of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The address is no pod's that anybody knows.
    UnknownPod,
    /// It goes the ordinary way.
    Ordinary,
    /// It leaves by this egress address, or, while the policy has none, not at all.
    Egress(Option<IpAddr>),
}

/// What must be looked up for a verdict.
pub trait Witness {
    /// The connection that a node translated into this flow, if it did.
    fn origin(&mut self, node: &str, flow: &Flow) -> Option<Origin>;
    /// What policies say about a connection that a pod opens at a node.
    fn expectation(&mut self, node: &str, origin: &Origin, protocol: u8) -> Expectation;
    /// Whether a port of an egress address is leased; `None`: there is no such egress address.
    fn leased(&mut self, address: IpAddr, port: Option<u16>) -> Option<bool>;
}

/// Who is who in the lab.
#[derive(Clone, Debug)]
pub struct Judge {
    pod_networks: Vec<IpNet>,
    nodes: BTreeMap<IpAddr, String>,
    inside: BTreeSet<IpNet>,
}

impl Judge {
    /// A judge for a lab.
    pub fn new(topology: &Topology) -> Judge {
        let addresses = |n: &crate::topology::Node| {
            let name = n.name.clone();
            n.underlay.iter().chain(&n.wire).map(move |a| (a.addr(), name.clone())).collect::<Vec<_>>()
        };
        let nodes: BTreeMap<IpAddr, String> = topology.nodes.iter().flat_map(addresses).collect();
        let inside =
            topology.pod_networks.iter().copied().chain(nodes.keys().map(|a| IpNet::from(*a))).collect();
        Judge { pod_networks: topology.pod_networks.clone(), nodes, inside }
    }

    /// Judges a packet that comes from a node.
    pub fn judge(&self, packet: &Packet, witness: &mut impl Witness) -> Verdict {
        let Flow { source, destination, protocol, ports } = packet.flow;
        if !self.is_outside(destination) || packet.is_discovery() || stays_on_link(source) {
            return Verdict::Right;
        }
        if self.pod_networks.iter().any(|n| n.contains(&source)) {
            return Verdict::Wrong(Wrong::PodSource);
        }
        let Some(node) = self.nodes.get(&source) else {
            return match witness.leased(source, ports.map(|(own, _)| own)) {
                Some(true) => Verdict::Right,
                Some(false) if packet.is_error() => Verdict::Right,
                Some(false) => Verdict::Wrong(Wrong::PortNotLeased),
                None => Verdict::Wrong(Wrong::UnknownSource),
            };
        };
        let Some(origin) = witness.origin(node, &packet.flow) else { return Verdict::Right };
        if !self.pod_networks.iter().any(|n| n.contains(&origin.source)) {
            return Verdict::Right;
        }
        match witness.expectation(node, &origin, protocol) {
            Expectation::Ordinary => Verdict::Right,
            Expectation::UnknownPod => Verdict::Unproven,
            Expectation::Egress(egress) => Verdict::Wrong(Wrong::SelectedPod { pod: origin.source, egress }),
        }
    }

    fn is_outside(&self, address: IpAddr) -> bool {
        !stays_on_link(address) && !self.inside.iter().any(|n| n.contains(&address))
    }
}

fn stays_on_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            a.is_unspecified() || a.is_loopback() || a.is_link_local() || a.is_multicast() || a.is_broadcast()
        }
        IpAddr::V6(a) => {
            a.is_unspecified() || a.is_loopback() || a.is_unicast_link_local() || a.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sniff::packet::tests::udp4;
    use crate::topology::DEFAULT;

    struct Fixed {
        origin: Option<Origin>,
        expectation: Expectation,
        leased: Option<bool>,
    }

    impl Witness for Fixed {
        fn origin(&mut self, node: &str, _: &Flow) -> Option<Origin> {
            assert_eq!(node, "node-1");
            self.origin
        }
        fn expectation(&mut self, _: &str, _: &Origin, _: u8) -> Expectation {
            self.expectation
        }
        fn leased(&mut self, _: IpAddr, _: Option<u16>) -> Option<bool> {
            self.leased
        }
    }

    fn verdict(
        source: &str,
        destination: &str,
        origin: Option<&str>,
        expectation: Expectation,
        leased: Option<bool>,
    ) -> Verdict {
        let judge = Judge::new(&Topology::parse(DEFAULT).unwrap());
        let packet = Packet::parse(&udp4(source, destination, (1025, 53))).unwrap();
        let origin = origin.map(|source| Origin {
            source: source.parse().unwrap(),
            destination: packet.flow.destination,
            destination_port: 53,
        });
        judge.judge(&packet, &mut Fixed { origin, expectation, leased })
    }

    #[test]
    fn a_pods_own_source_is_wrong_outside_and_right_inside() {
        let to = |destination| verdict("10.244.1.10", destination, None, Expectation::Ordinary, None);
        assert_eq!(to("198.51.100.10"), Verdict::Wrong(Wrong::PodSource));
        assert_eq!(to("10.244.2.10"), Verdict::Right);
        assert_eq!(to("10.0.0.2"), Verdict::Right);
    }

    #[test]
    fn a_nodes_source_is_right_for_itself_and_for_whom_no_policy_selects() {
        let of = |origin, expectation| verdict("10.0.0.1", "198.51.100.10", origin, expectation, None);
        let egress = Some("10.10.0.11".parse().unwrap());
        assert_eq!(of(None, Expectation::Egress(egress)), Verdict::Right);
        assert_eq!(of(Some("10.0.0.1"), Expectation::Egress(egress)), Verdict::Right);
        assert_eq!(of(Some("10.244.1.10"), Expectation::Ordinary), Verdict::Right);
        assert_eq!(of(Some("10.244.1.10"), Expectation::UnknownPod), Verdict::Unproven);
        let pod = "10.244.1.10".parse().unwrap();
        let wrong = Verdict::Wrong(Wrong::SelectedPod { pod, egress });
        assert_eq!(of(Some("10.244.1.10"), Expectation::Egress(egress)), wrong);
    }

    #[test]
    fn an_egress_address_needs_a_record_and_a_lease() {
        let with = |leased| verdict("10.10.0.11", "198.51.100.10", None, Expectation::Ordinary, leased);
        assert_eq!(with(Some(true)), Verdict::Right);
        assert_eq!(with(Some(false)), Verdict::Wrong(Wrong::PortNotLeased));
        assert_eq!(with(None), Verdict::Wrong(Wrong::UnknownSource));
    }
}

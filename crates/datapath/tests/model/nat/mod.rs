//! The NAT as the RFCs describe it, written the slow and obvious way: plain tables, searched from end to end. It
//! decides everything but what the kernel may choose at random; such a choice is checked and then taken over.

mod fragments;
mod gateway;
mod outbound;
mod ports;
mod returning;
mod sweep;
mod tcp;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_datapath::layout::Timers;

use crate::packet::{End, Packet, Protocol};
use crate::world::World;

pub use fragments::{Kept, PieceId};
pub use outbound::LINK_MTU;
pub use tcp::Connection;

/// A conversation of a pod's port with one remote end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowId {
    pub protocol: Protocol,
    pub pod: End,
    pub remote: End,
}

#[derive(Clone, Debug)]
pub struct Flow {
    /// As whom the pod is seen outside.
    pub outside: End,
    /// By which the pod is reached: another pod may get the same address later, but not the same link.
    pub link: u32,
    /// When each side was seen last.
    pub pod_seen: u32,
    pub remote_seen: u32,
    pub tcp: Connection,
}

/// UDP and ICMP echo: whose port, and of which egress address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MappingId {
    pub protocol: Protocol,
    pub pod: End,
    pub egress: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub port: u16,
    /// It had no flow at the last sweep.
    pub idle: bool,
}

/// What the kernel did, where it may choose.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub verdict: &'static str,
    /// As whom the flow leaves, if there is one now.
    pub flow: Option<End>,
    /// The port of the mapping, if there is one now.
    pub mapping: Option<u16>,
    /// The number of the datagram that left.
    pub id: Option<u32>,
}

/// By where a packet goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    Wire,
    /// Out of the wire, to whomever the kernel finds there.
    Neighbour,
    Hairpin,
    /// By the overlay to a node, and in which direction.
    Overlay(IpAddr, u32),
    /// Without tunnel to a node on the same link.
    Link(IpAddr),
    /// Onto the link of a pod.
    Pod(IpAddr),
    /// Back to who sent the frame.
    Back,
}

/// What must come of a packet.
#[derive(Clone, Debug)]
pub struct Answer {
    pub verdict: &'static str,
    pub sent: Option<(Way, Packet)>,
}

impl Answer {
    pub fn only(verdict: &'static str) -> Self {
        Answer { verdict, sent: None }
    }

    pub fn sent(verdict: &'static str, way: Way, packet: Packet) -> Self {
        Answer { verdict, sent: Some((way, packet)) }
    }
}

/// Both tables of flows, and both of mappings, hold no more.
pub use crate::kernel::MOST_FLOWS;

pub struct Nat {
    /// What is programmed.
    pub world: World,
    pub now: u32,
    pub timers: Timers,
    pub flows: BTreeMap<FlowId, Flow>,
    pub mappings: BTreeMap<MappingId, Mapping>,
    pub pieces: BTreeMap<PieceId, Kept>,
    /// Who outside spoke to a pod first.
    pub inbound: BTreeSet<FlowId>,
    /// Egress addresses that are gone for a while.
    pub away: BTreeMap<IpAddr, egret_datapath::layout::Egress>,
    /// Datagrams that by chance were given the number that they had.
    same_numbers: u32,
    /// The one port that a pod may use of each group, as far as it is known.
    pub shares: BTreeMap<(IpAddr, u16), u16>,
}

impl Nat {
    pub fn new(world: World, timers: Timers, now: u32) -> Self {
        Nat {
            world,
            now,
            timers,
            flows: BTreeMap::new(),
            mappings: BTreeMap::new(),
            pieces: BTreeMap::new(),
            inbound: BTreeSet::new(),
            away: BTreeMap::new(),
            same_numbers: 0,
            shares: BTreeMap::new(),
        }
    }

    pub fn inside(&self, ip: IpAddr) -> bool {
        self.world.inside.iter().any(|net| net.contains(&ip))
    }

    /// The egress address that the pod's rules choose: the longest prefix, and there the first rule that matches.
    pub fn rule(&self, p: &Packet, set: u64) -> Option<IpAddr> {
        let nets = self.world.rules.iter().filter(|((of, net), _)| *of == set && net.contains(&p.dst.ip()));
        let (_, ports) = nets.max_by_key(|((_, net), _)| net.prefix_len())?;
        let rest = matches!(p.body, crate::packet::Body::Rest(_));
        let found = ports.iter().find(|(protocol, first, last, egress)| match (*protocol, rest) {
            (0, _) => true,
            // The port is unknown: no packet that may be selected goes the ordinary way.
            (protocol, true) => egress.is_some() && protocol == p.number(),
            (protocol, false) => protocol == p.number() && (*first..=*last).contains(&p.dst.port()),
        })?;
        found.3
    }

    fn is_served(&self, ip: IpAddr) -> bool {
        self.world.served.contains_key(&ip)
    }

    pub fn flows_of(&self, id: &MappingId) -> usize {
        let of = |(flow, value): &(&FlowId, &Flow)| {
            flow.protocol == id.protocol && flow.pod == id.pod && value.outside.ip() == id.egress
        };
        self.flows.iter().filter(of).count()
    }
}

//! What can happen: packets, time, and changes of what is programmed.

use std::fmt;
use std::net::IpAddr;

use crate::packet::Packet;

/// Where a packet is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By the link of a pod: its first or its second.
    FromPod(bool),
    /// By the ordinary way to the pod.
    ToPod,
    /// From a node, in a direction.
    Overlay(IpAddr, u32),
    /// From the neighbour of this name, without tunnel.
    Underlay(&'static str),
    Wire,
}

#[derive(Clone, Debug)]
pub enum Step {
    Packet(Place, Packet),
    /// So many seconds pass.
    Wait(u32),
    Sweep,
    PodGone(IpAddr),
    /// A pod gets this address, by the first or by the second link.
    PodBack(IpAddr, bool),
    /// An egress address takes the next of its ways.
    OtherWay(IpAddr),
    EgressGone(IpAddr),
    EgressBack(IpAddr),
    /// New flows may use these blocks, by their numbers.
    Blocks(IpAddr, Vec<u16>),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Packet(place, packet) => write!(f, "{place:?}: {packet}"),
            other => write!(f, "{other:?}"),
        }
    }
}

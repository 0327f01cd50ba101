//! What the kernel of one node must hold, as values: the exact content of the datapath's maps and of the guard.
//!
//! The planner makes these, `diff` compares them, and the datapath writes and reads them; nothing else
//! crosses between the pure core and the kernel. Identities are addresses, not numbers that somebody has to
//! allocate: a node is its underlay address, a rule set is the hash of its content. Ports and MTUs are in
//! host byte order here; the datapath turns them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use egret_api::Timeouts;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A link-layer address.
pub type Mac = [u8; 6];
/// An interface index.
pub type LinkIndex = u32;
/// The hash of a rule set's content; 0 is "no rule set": the pod is known and not selected.
pub type RuleSetId = u64;

/// Everything that the kernel of one node must hold.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Settings that hold for every packet.
    pub settings: Settings,
    /// Networks inside the cluster: never translated, never held back.
    pub inside: BTreeSet<IpNet>,
    /// Nodes by underlay address: who may send on the overlay.
    pub nodes: BTreeMap<IpAddr, NodeEntry>,
    /// Pods of this node by address.
    pub pods: BTreeMap<IpAddr, PodEntry>,
    /// Rules by rule set and destination: the longest prefix decides, and holds all that can apply to it.
    pub rules: BTreeMap<(RuleSetId, IpNet), Vec<PortRule>>,
    /// Egress addresses that pods of this node use, and the way there.
    pub egress: BTreeMap<IpAddr, EgressEntry>,
    /// Egress addresses that this node can serve as a gateway.
    pub served: BTreeMap<IpAddr, ServedEntry>,
    /// At gateways: whose a block of ports is, by egress address and first port: the underlay address of the
    /// source node.
    pub leases: BTreeMap<(IpAddr, u16), IpAddr>,
    /// The guard in the kernel's forward path.
    pub guard: Guard,
}

/// Settings that hold for every packet.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What happens to packets to the outside from a pod that this node does not know.
    pub unknown_pods: UnknownPods,
    /// Largest inner packet that the overlay carries whole, in bytes; the MSS is clamped to it.
    pub overlay_mtu: u16,
    /// The source of ICMP errors that this node sends.
    pub hops: Hops,
}

impl Default for Settings {
    fn default() -> Self {
        Self { unknown_pods: UnknownPods::Hold, overlay_mtu: 1450, hops: Hops::default() }
    }
}

/// This node's own addresses as a hop, one of each family that it has.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hops {
    /// IPv4. `None`: no ICMP error is sent about IPv4 packets.
    pub v4: Option<Ipv4Addr>,
    /// IPv6. `None`: no ICMP error is sent about IPv6 packets.
    pub v6: Option<Ipv6Addr>,
}

/// What happens to packets to the outside from a pod that this node does not know.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownPods {
    /// They are dropped and counted until the pod is known.
    #[default]
    Hold,
    /// They go the ordinary way.
    Pass,
}

/// A node of the cluster.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeEntry {
    /// Its link-layer address on the underlay, if it is on the same link as this node.
    pub mac: Option<Mac>,
    /// What comes back from the outside for its pods goes there without tunnel. Only with `mac`.
    pub direct: bool,
}

/// A pod of this node.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodEntry {
    /// The host's end of the pod's link.
    pub link: LinkIndex,
    /// The pod's link-layer address.
    pub mac: Mac,
    /// What the host's end calls itself: the source of frames to the pod.
    pub host_mac: Mac,
    /// The pod's rules; 0 if no policy selects it.
    pub rules: RuleSetId,
    /// The link is the parent of the pod's macvlan, so the pod is known by its link-layer address as well.
    pub shared: bool,
}

/// What happens to packets to one destination network, on some ports.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRule {
    /// Which packets.
    pub ports: PortMatch,
    /// The egress address they leave by. `None`: the ordinary way.
    pub egress: Option<IpAddr>,
}

/// Packets of one destination network that a rule is for. The first rule of a list that matches decides.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortMatch {
    /// All of them.
    Any,
    /// TCP to a port from the first to the last, both included.
    Tcp(u16, u16),
    /// UDP to a port from the first to the last, both included.
    Udp(u16, u16),
}

/// Most rules for one destination network that the datapath holds.
pub const MAX_PORT_RULES: usize = 16;
/// Most blocks of one egress address that one node can hold.
pub const MAX_BLOCKS: usize = 64;

/// An egress address that pods of this node use.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct EgressEntry {
    /// The way to the outside now.
    pub path: Path,
    /// Ports in one block, a power of two.
    pub block_size: u16,
    /// First ports of the blocks from which new flows take a port, sorted; at most [`MAX_BLOCKS`].
    pub blocks: Vec<u16>,
    /// Towards one remote end, one pod may use one in so many of the blocks' ports; 1, 2, 4 or 8.
    pub pod_share: u8,
    /// How long its flows may be idle.
    pub timers: Timers,
    /// It is its gateway's own: without the gateway its connections have no end to hope for, and are reset.
    pub node_address: bool,
}

/// How long flows may be idle, in seconds.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// TCP after both sides have spoken.
    pub tcp_established: u32,
    /// TCP while it opens.
    pub tcp_transitory: u32,
    /// TCP after a FIN of both sides, or a RST.
    pub tcp_closed: u32,
    /// UDP.
    pub udp: u32,
    /// ICMP echo.
    pub icmp: u32,
}

impl From<Timeouts> for Timers {
    fn from(timeouts: Timeouts) -> Self {
        let Timeouts { tcp_established, tcp_transitory, tcp_closed, udp, icmp } = timeouts;
        Self { tcp_established, tcp_transitory, tcp_closed, udp, icmp }
    }
}

/// Those of a pool that says nothing of them.
impl Default for Timers {
    fn default() -> Self {
        Timeouts::default().into()
    }
}

/// The way to the outside.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// No gateway is alive: drop.
    None,
    /// This node is the gateway: straight out of this wire.
    Wire(LinkIndex),
    /// To the gateway with this underlay address, by the overlay.
    Overlay(IpAddr),
    /// To the gateway with this underlay address, which is on the same link: no tunnel, by this interface.
    Link(IpAddr, LinkIndex),
}

/// An egress address that this node can serve.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedEntry {
    /// The wire it leaves by.
    pub wire: LinkIndex,
    /// The wire's link-layer address: what a holder answers.
    pub mac: Mac,
    /// This node answers ARP and NDP for it now.
    pub holder: bool,
    /// Ports in one block, a power of two.
    pub block_size: u16,
    /// It is this node's own: only answers to what left by it are Egret's, the rest is the kernel's.
    pub node_address: bool,
}

/// What the guard in the forward path must know. It drops, in this order of questions: is the source a pod
/// of this node, the destination outside, the packet no reply: then pods in `free` pass; packets of `captured`
/// are dropped; pods in `selected` pass; all others are unknown and dropped if `hold`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Networks of this node's pods.
    pub pod_networks: BTreeSet<IpNet>,
    /// Known pods that no policy selects.
    pub free: BTreeSet<IpAddr>,
    /// Known pods that a policy selects, with the rule set each obeys.
    pub selected: BTreeMap<IpAddr, RuleSetId>,
    /// For each rule set: what it captures, as ranges that do not overlap.
    pub captured: BTreeMap<RuleSetId, BTreeSet<Captured>>,
}

/// A range of destinations that only the datapath may carry.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Captured {
    /// First address.
    pub first: IpAddr,
    /// Last address, of the same family.
    pub last: IpAddr,
    /// Which packets to these addresses.
    pub ports: PortMatch,
}

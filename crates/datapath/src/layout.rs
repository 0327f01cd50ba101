//! The kernel's types, byte for byte: the mirror of bpf/lib/types.h. A test holds both against the object's BTF.

use aya::Pod;

/// An IPv6 address, or an IPv4 address as `::ffff:a.b.c.d`; network byte order.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addr {
    /// The address.
    pub bytes: [u8; 16],
}

/// Settings that hold for every packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Index of the overlay device.
    pub overlay_link: u32,
    /// Index of the interface between nodes.
    pub underlay_link: u32,
    /// Largest inner packet, bytes.
    pub overlay_mtu: u16,
    /// 1: drop what an unknown pod sends outside.
    pub hold_unknown: u8,
    /// 1: answer probes as a gateway that can carry packets.
    pub ready: u8,
    /// Link-layer address of every node's overlay device.
    pub overlay_mac: [u8; 6],
    /// Link-layer address of the underlay interface.
    pub underlay_mac: [u8; 6],
    /// Most flows of one pod; 0: no limit.
    pub pod_flows: u32,
    /// UDP port of the overlay, network byte order.
    pub overlay_port: u16,
    /// 1: what becomes of flows is told.
    pub tell_flows: u8,
    /// Zero.
    pub pad: u8,
    /// This node's own underlay address.
    pub underlay: Addr,
    /// Source of this node's ICMP errors, IPv4; all zero: none.
    pub hop4: Addr,
    /// Source of this node's ICMP errors, IPv6; all zero: none.
    pub hop6: Addr,
}

/// What an LPM trie looks up, without the prefix length that aya puts in front.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkData {
    /// The address.
    pub addr: [u8; 16],
}

/// A node of the cluster.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Link-layer address, if `on_link`.
    pub mac: [u8; 6],
    /// 1: on the same link as this node.
    pub on_link: u8,
    /// 1: packets to its pods go there without tunnel.
    pub direct: u8,
}

/// A pod of this node.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodValue {
    /// Rule set; 0: known, and no policy selects it.
    pub rules: u64,
    /// The host's end of the pod's link.
    pub link: u32,
    /// The pod's link-layer address.
    pub mac: [u8; 6],
    /// The source of frames to the pod.
    pub host_mac: [u8; 6],
    /// 1: the link is the parent of the pod's macvlan, and of others.
    pub shared: u8,
    /// Zero.
    pub pad: [u8; 7],
}

/// Rule set and destination, without the prefix length.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleData {
    /// Rule set, big endian.
    pub set: [u8; 8],
    /// Destination.
    pub addr: [u8; 16],
}

/// What happens to packets of a rule's destination on some ports.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRule {
    /// Egress address, if `action` is [`RULE_EGRESS`].
    pub egress: Addr,
    /// First port, host order.
    pub first: u16,
    /// Last port, host order.
    pub last: u16,
    /// IP protocol; 0: any packet, ports do not matter.
    pub protocol: u8,
    /// [`RULE_ORDINARY`] or [`RULE_EGRESS`].
    pub action: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// Leave the packet to the kernel.
pub const RULE_ORDINARY: u8 = 0;
/// Send the packet from the rule's egress address.
pub const RULE_EGRESS: u8 = 1;
/// Most port rules of one destination.
pub const PORT_RULES: usize = 16;
/// Most blocks of one egress address.
pub const BLOCKS: usize = 64;

/// The rules of one destination; the first that matches decides.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How many of `ports` are used.
    pub count: u32,
    /// Not read by the programs: [`RULE_SHADOW`] marks entries that no plan asked for.
    pub pad: u32,
    /// The rules.
    pub ports: [PortRule; PORT_RULES],
}

/// In [`Rule::pad`]: the entry only keeps an IPv6 prefix from covering the IPv4 addresses mapped below it.
pub const RULE_SHADOW: u32 = 1;

/// No gateway.
pub const PATH_NONE: u8 = 0;
/// Out of this node's wire.
pub const PATH_WIRE: u8 = 1;
/// By the overlay.
pub const PATH_OVERLAY: u8 = 2;
/// To a gateway on the same link.
pub const PATH_LINK: u8 = 3;

/// Idle times, in seconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// TCP, both sides have spoken.
    pub tcp_established: u32,
    /// TCP, opening.
    pub tcp_transitory: u32,
    /// TCP, both sides have sent FIN, or one RST.
    pub tcp_closed: u32,
    /// UDP.
    pub udp: u32,
    /// ICMP echo.
    pub icmp: u32,
}

/// An egress address that pods of this node use.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Underlay address of the gateway.
    pub gateway: Addr,
    /// For [`PATH_WIRE`] and [`PATH_LINK`].
    pub link: u32,
    /// One of the paths.
    pub path: u8,
    /// log2 of the ports in a block.
    pub shift: u8,
    /// How many of `blocks` are used.
    pub block_count: u16,
    /// First ports, host order.
    pub blocks: [u16; BLOCKS],
    /// Idle times of its flows.
    pub timers: Timers,
    /// Flows opened since this entry was last written from here.
    pub opened: u32,
    /// log2: towards one remote end a pod may use one port of so many.
    pub share: u8,
    /// 1: it is the gateway's own.
    pub node_address: u8,
    /// Zero.
    pub pad: [u8; 6],
}

impl Default for Egress {
    fn default() -> Self {
        Egress {
            gateway: Addr::default(),
            link: 0,
            path: PATH_NONE,
            shift: 0,
            block_count: 0,
            blocks: [0; BLOCKS],
            timers: Timers::default(),
            opened: 0,
            share: 0,
            node_address: 0,
            pad: [0; 6],
        }
    }
}

/// An egress address that this node can serve.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// The wire it leaves by.
    pub wire: u32,
    /// The wire's link-layer address: what a holder answers.
    pub mac: [u8; 6],
    /// 1: this node answers ARP and NDP for it.
    pub holder: u8,
    /// log2 of the ports in a block.
    pub shift: u8,
    /// 1: it is this node's own, and what is no answer to what left by it is the kernel's.
    pub node_address: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// What left by a gateway's own address, by the [`ReturnKey`] of what comes back.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Underlay address of the node that sent it.
    pub node: Addr,
    /// Seconds since boot.
    pub seen: u32,
    /// TCP flags of what left.
    pub sent: u8,
    /// TCP flags of what came back.
    pub received: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// A block of ports of an egress address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseKey {
    /// Egress address.
    pub egress: Addr,
    /// Port >> shift, host order.
    pub block: u16,
    /// Zero.
    pub pad: [u16; 3],
}

/// A flow, as the pod sees it. Ports in network byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    /// The pod.
    pub pod: Addr,
    /// The remote end.
    pub remote: Addr,
    /// Port, or ICMP echo id.
    pub pod_port: u16,
    /// Port; 0 for ICMP.
    pub remote_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// In [`Flow::flags`]: the other end has sent a FIN or RST.
pub const FLOW_CLOSING: u8 = 0x40;
/// In [`Flow::flags`]: the other end has sent a SYN.
pub const FLOW_ANSWERED: u8 = 0x80;

/// What a flow was given.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Egress address.
    pub egress: Addr,
    /// Egress port, network byte order.
    pub egress_port: u16,
    /// TCP flags that the pod has sent, and [`FLOW_ANSWERED`] and [`FLOW_CLOSING`].
    pub flags: u8,
    /// TCP: log2 of the unit of the pod's window.
    pub scale: u8,
    /// Seconds since boot.
    pub seen: u32,
    /// TCP, host order: the acknowledgment that would answer the pod's SYN; from its first ACK on, the next byte
    /// that it expects.
    pub expects: u32,
    /// The pod's link: another pod may get its address later.
    pub link: u32,
}

/// A flow, as the remote end sees it. Ports in network byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReturnKey {
    /// Egress address.
    pub egress: Addr,
    /// The remote end.
    pub remote: Addr,
    /// Port, or ICMP echo id.
    pub egress_port: u16,
    /// Port; 0 for ICMP.
    pub remote_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// Whose a flow is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReturnFlow {
    /// The pod.
    pub pod: Addr,
    /// The pod's link.
    pub link: u32,
    /// Seconds since boot.
    pub seen: u32,
    /// The pod's port, network byte order.
    pub pod_port: u16,
    /// TCP flags that the remote end has sent.
    pub flags: u8,
    /// Zero.
    pub pad: u8,
    /// Seconds since boot; 0 if it was opened by a version that did not note it.
    pub opened: u32,
}

/// A pod's port of UDP or ICMP echo. Ports in network byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MappingKey {
    /// The pod.
    pub pod: Addr,
    /// Egress address.
    pub egress: Addr,
    /// Port, or ICMP echo id.
    pub pod_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 5],
}

/// The one egress port that it has towards everybody.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Egress port, network byte order.
    pub egress_port: u16,
    /// 1: no flow at the last sweep.
    pub idle: u8,
    /// Zero.
    pub pad: u8,
    /// Flows that use it.
    pub flows: u32,
}

/// An egress port that one mapping has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnerKey {
    /// Egress address.
    pub egress: Addr,
    /// Egress port, network byte order.
    pub egress_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 5],
}

/// A pod's packet, on its way out.
pub const FRAGMENT_OF_POD: u8 = 0;
/// A source node's packet, on its way out.
pub const FRAGMENT_TO_WIRE: u8 = 1;
/// A packet from the outside, at the gateway.
pub const FRAGMENT_OF_WIRE: u8 = 2;
/// A packet from the outside, at the pod's node.
pub const FRAGMENT_TO_POD: u8 = 3;

/// A datagram in pieces.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FragmentKey {
    /// Source.
    pub src: Addr,
    /// Destination.
    pub dst: Addr,
    /// Identification, network byte order, of IPv4 in the first two bytes.
    pub id: u32,
    /// IP protocol; 0 for IPv6.
    pub protocol: u8,
    /// One of the places above.
    pub place: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// What was decided about its first fragment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Egress address, node or pod, as the place needs.
    pub to: Addr,
    /// Identification as it leaves.
    pub id: u32,
    /// Seconds since boot.
    pub seen: u32,
    /// The verdict, if it was passed to the kernel; else 0.
    pub passed: u32,
    /// Zero.
    pub pad: u32,
}

/// How many ICMP errors one processor sent in a second.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Seconds since boot.
    pub second: u32,
    /// Errors.
    pub spent: u32,
}

/// In [`FlowRecord::event`].
pub const FLOW_OPENED: u8 = 0;
/// Both ends had closed it, or one reset it.
pub const FLOW_CLOSED: u8 = 1;
/// It was idle for too long.
pub const FLOW_EXPIRED: u8 = 2;
/// Its pod, rule or address is gone.
pub const FLOW_ORPHANED: u8 = 3;
/// A packet that got no flow.
pub const FLOW_REFUSED: u8 = 4;

/// What a program tells of a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowRecord {
    /// Nanoseconds since boot.
    pub at: u64,
    /// Both ends, as the pod sees them.
    pub key: FlowKey,
    /// Egress address; zero of a refused packet.
    pub egress: Addr,
    /// Egress port, network byte order.
    pub egress_port: u16,
    /// One of the above.
    pub event: u8,
    /// Of a refused packet: index of the verdict.
    pub reason: u8,
    /// The pod's link.
    pub link: u32,
    /// Seconds since boot.
    pub opened: u32,
    /// Of a flow that ended, its last packet, seconds since boot; of refused packets, how many.
    pub seen: u32,
}

/// Packets that are refused alike.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusalKey {
    /// Their source.
    pub pod: Addr,
    /// Where to.
    pub remote: Addr,
    /// Port, network byte order.
    pub remote_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Index of the verdict.
    pub reason: u8,
    /// The link that they came by.
    pub link: u32,
}

/// When that was told, and how many there were since.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Seconds since boot.
    pub told: u32,
    /// Packets.
    pub packets: u32,
}

/// Index of the count of records of flows that found no room.
pub const UNTOLD_FLOWS: u32 = 0;
/// Index of the count of refusals that were too many to be told.
pub const UNTOLD_REFUSALS: u32 = 1;

/// Packets and bytes of one verdict.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the Ethernet header on.
    pub bytes: u64,
}

/// Most flows or mappings that one run of the sweep judges.
pub const SUSPECTS: usize = 512;

/// The key of a flow or of a mapping: they have the same size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Suspect {
    /// Its bytes.
    pub bytes: [u64; 5],
}

impl Suspect {
    /// A flow.
    pub fn flow(key: &FlowKey) -> Self {
        Self::of(key)
    }

    /// A mapping.
    pub fn mapping(key: &MappingKey) -> Self {
        Self::of(key)
    }

    fn of<K: Pod>(key: &K) -> Self {
        let mut suspect = Suspect { bytes: [0; 5] };
        // SAFETY: both are plain bytes of the same size, which is asserted below.
        unsafe {
            std::ptr::copy_nonoverlapping((&raw const *key).cast::<u64>(), suspect.bytes.as_mut_ptr(), 5)
        };
        suspect
    }
}

const _: () =
    assert!(size_of::<Suspect>() == size_of::<FlowKey>() && size_of::<Suspect>() == size_of::<MappingKey>());

/// What one run of the sweep is to judge, and what it found.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Suspects.
    pub count: u32,
    /// 1: they are mappings, else flows.
    pub mappings: u32,
    /// Flows removed because of their age.
    pub expired: u32,
    /// Flows removed because their pod or address is gone.
    pub orphaned: u32,
}

/// Payload of a probe frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// [`PROBE_MAGIC`], network byte order.
    pub magic: u32,
    /// 1 question, 2 answer.
    pub kind: u8,
    /// In an answer, 1: the gateway can carry packets now.
    pub ready: u8,
    /// Zero.
    pub pad: [u8; 2],
    /// Underlay address of the gateway asked.
    pub target: Addr,
    /// Network byte order.
    pub nonce: u64,
}

/// Ethertype of probe frames: IEEE 802 local experimental.
pub const PROBE_ETHERTYPE: u16 = 0x88b5;
/// First word of a probe.
pub const PROBE_MAGIC: u32 = 0x4567_5062;
/// On the overlay, from a source node to a gateway.
pub const VNI_TO_WIRE: u32 = 0x0e_6701;
/// On the overlay, from a gateway to a source node.
pub const VNI_TO_POD: u32 = 0x0e_6702;
/// On the overlay, probes and their answers.
pub const VNI_PROBE: u32 = 0x0e_6703;

macro_rules! plain {
    ($($type:ty),+) => {
        $(
            // SAFETY: repr(C), made of integers and byte arrays only, and without implicit padding (the layout
            // test holds the size against the object's BTF): every byte is initialised and any bytes are a value.
            unsafe impl Pod for $type {}
        )+
    };
}

plain!(
    Addr,
    Settings,
    NetworkData,
    Node,
    PodValue,
    RuleData,
    Rule,
    Egress,
    Served,
    Carried,
    LeaseKey,
    FlowKey,
    Flow,
    ReturnKey,
    ReturnFlow,
    MappingKey,
    Mapping,
    OwnerKey,
    FragmentKey,
    Fragment,
    Budget,
    FlowRecord,
    RefusalKey,
    Refusal,
    Counter,
    Suspect,
    Sweep,
    Probe
);

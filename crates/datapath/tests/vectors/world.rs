//! What a vector's node holds before the packet: a standard node, and what the vector changes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use egret_datapath::layout::{self, Addr, FlowKey, FragmentKey, MappingKey, OwnerKey, ReturnKey};
use ipnet::IpNet;

use crate::names::{HOST, POD, mac};

/// The interfaces of the node, by index.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interfaces {
    pub pod: u32,
    pub other_pod: u32,
    pub wire: u32,
    pub other_wire: u32,
    pub underlay: u32,
    pub overlay: u32,
}

/// Protocol, first and last port, and the egress address.
pub type Port = (u8, u16, u16, Option<IpAddr>);

/// Everything in the maps.
#[derive(Clone, Debug)]
pub struct World {
    pub on: Interfaces,
    /// Bytes of data in each segment that the kernel will cut the packet into; 0: it is one packet.
    pub segment: u32,
    /// The packet's VLAN tag, as a device keeps it; 0: none.
    pub vlan: u16,
    /// The kernel refuses to redirect.
    pub kernel_refuses: bool,
    /// Where packets of the overlay come to; `None`: this node's address between nodes.
    pub overlay_comes_to: Option<IpAddr>,
    /// ICMP errors that were sent in this second already.
    pub complaints: u32,
    /// Refusals that were told in this second already.
    pub refusals: u32,
    pub settings: layout::Settings,
    pub inside: BTreeSet<IpNet>,
    pub nodes: BTreeMap<IpAddr, layout::Node>,
    pub pods: BTreeMap<IpAddr, layout::PodValue>,
    pub rules: BTreeMap<(u64, IpNet), Vec<Port>>,
    pub egress: BTreeMap<IpAddr, layout::Egress>,
    pub served: BTreeMap<IpAddr, layout::Served>,
    pub leases: BTreeMap<(IpAddr, u16), IpAddr>,
    pub flows: BTreeMap<FlowKey, layout::Flow>,
    pub returns: BTreeMap<ReturnKey, layout::ReturnFlow>,
    pub inbound: BTreeMap<FlowKey, u32>,
    pub mappings: BTreeMap<MappingKey, layout::Mapping>,
    pub owners: BTreeMap<OwnerKey, u32>,
    pub pod_flows: BTreeMap<IpAddr, u32>,
    pub fragments: BTreeMap<FragmentKey, layout::Fragment>,
    pub carried: BTreeMap<ReturnKey, layout::Carried>,
}

pub fn addr(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no address"))
}

pub fn net(text: &str) -> IpNet {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no network"))
}

/// Addresses that leave by the overlay, one of each family.
pub const EGRESS: [&str; 2] = ["10.10.0.11", "fd00:10:10::11"];
/// UDP port of the overlay.
pub const OVERLAY_PORT: u16 = 8474;
/// Who the node is when it sends errors.
pub const HOPS: [&str; 2] = ["10.0.0.1", "fd00::1"];
/// The one port that the node has of each address.
pub const PORT: u16 = 2000;
/// The rules of the selected pod.
pub const RULES: u64 = 0x0123_4567_89ab_cdef;

impl World {
    /// Node 10.0.0.1 with a selected pod (.10) and one that is not (.9), whose egress addresses leave by node
    /// 10.0.0.4. Blocks have one port, so that the port is known beforehand.
    pub fn standard(on: Interfaces) -> Self {
        let pod =
            |link, rules| layout::PodValue { rules, link, mac: POD, host_mac: HOST, shared: 0, pad: [0; 7] };
        World {
            on,
            segment: 0,
            vlan: 0,
            kernel_refuses: false,
            overlay_comes_to: None,
            complaints: 0,
            refusals: 0,
            settings: layout::Settings {
                tell_flows: 1,
                overlay_link: on.overlay,
                underlay_link: on.underlay,
                overlay_mtu: 1450,
                hold_unknown: 1,
                overlay_mac: mac("overlay"),
                underlay_mac: mac("underlay"),
                underlay: addr("10.0.0.1").into(),
                overlay_port: OVERLAY_PORT.to_be(),
                hop4: addr(HOPS[0]).into(),
                hop6: addr(HOPS[1]).into(),
                ..layout::Settings::default()
            },
            inside: ["10.244.0.0/16", "10.0.0.0/24", "fd00:10:244::/48", "fe80::/10", "ff00::/8"]
                .map(net)
                .into(),
            nodes: [
                (addr("10.0.0.1"), layout::Node::default()),
                (addr("10.0.0.4"), layout::Node::default()),
                (addr("10.0.0.5"), layout::Node { mac: mac("node5"), on_link: 1, direct: 1 }),
                (addr("fd00::4"), layout::Node::default()),
            ]
            .into(),
            pods: [
                (addr("10.244.1.10"), pod(on.pod, RULES)),
                (addr("fd00:10:244:1::10"), pod(on.pod, RULES)),
                (addr("10.244.1.9"), pod(on.other_pod, 0)),
                (addr("fd00:10:244:1::9"), pod(on.other_pod, 0)),
            ]
            .into(),
            rules: [
                ((RULES, net("198.51.100.0/24")), vec![(0, 0, 65535, Some(addr(EGRESS[0])))]),
                ((RULES, net("2001:db8::/32")), vec![(0, 0, 65535, Some(addr(EGRESS[1])))]),
                (
                    (RULES, net("203.0.113.7/32")),
                    vec![
                        (6, 443, 443, Some(addr(EGRESS[0]))),
                        (17, 53, 53, None),
                        (17, 1, 99, Some(addr(EGRESS[0]))),
                    ],
                ),
            ]
            .into(),
            egress: EGRESS.map(|e| (addr(e), by_overlay("10.0.0.4"))).into(),
            served: BTreeMap::new(),
            leases: BTreeMap::new(),
            flows: BTreeMap::new(),
            returns: BTreeMap::new(),
            inbound: BTreeMap::new(),
            mappings: BTreeMap::new(),
            owners: BTreeMap::new(),
            pod_flows: BTreeMap::new(),
            fragments: BTreeMap::new(),
            carried: BTreeMap::new(),
        }
    }

    /// Makes the node a gateway as well: it holds both addresses on its wire. Port 2000 is leased by node 10.0.0.4,
    /// 2001 by 10.0.0.5 (on the same link), 2002 by the node itself, 2003 by fd00::4.
    pub fn gateway(&mut self) {
        for egress in EGRESS.map(addr) {
            let wire = self.on.wire;
            self.served
                .insert(egress, layout::Served { wire, mac: mac("wire"), holder: 1, ..Default::default() });
            for (block, node) in (2000..).zip(["10.0.0.4", "10.0.0.5", "10.0.0.1", "fd00::4"]) {
                self.leases.insert((egress, block), addr(node));
            }
        }
    }

    /// Makes them the gateway's own addresses.
    pub fn own_address(&mut self) {
        self.gateway();
        for served in self.served.values_mut() {
            (served.holder, served.node_address) = (0, 1);
        }
    }

    /// The gateway has carried this conversation for a node, the last packet so many seconds ago.
    pub fn carry(
        &mut self,
        protocol: u8,
        egress: &str,
        remote: &str,
        node: &str,
        (sent, received): (u8, u8),
        idle: u32,
    ) {
        let [egress, remote] = [egress, remote].map(|end| end.parse::<SocketAddr>().unwrap());
        let remote_port = if protocol == 1 || protocol == 58 { 0 } else { remote.port().to_be() };
        let key = ReturnKey {
            egress: egress.ip().into(),
            remote: remote.ip().into(),
            egress_port: egress.port().to_be(),
            remote_port,
            protocol,
            pad: [0; 3],
        };
        let value =
            layout::Carried { node: addr(node).into(), seen: now() - idle, sent, received, pad: [0; 2] };
        self.carried.insert(key, value);
    }

    /// Changes the way of both egress addresses.
    pub fn each_egress(&mut self, change: impl Fn(&mut layout::Egress)) {
        self.egress.values_mut().for_each(change);
    }

    /// A flow of a pod that has been idle for so many seconds.
    pub fn flow(&mut self, protocol: u8, pod: &str, remote: &str, egress: &str, flags: (u8, u8), idle: u32) {
        let [pod, remote, egress] = [pod, remote, egress].map(|end| end.parse::<SocketAddr>().unwrap());
        let icmp = protocol == 1 || protocol == 58;
        let remote_port = if icmp { 0 } else { remote.port().to_be() };
        let seen = now().saturating_sub(idle);
        let link = self.pods.get(&pod.ip()).map_or(self.on.pod, |pod| pod.link);
        self.flows.insert(
            FlowKey {
                pod: pod.ip().into(),
                remote: remote.ip().into(),
                pod_port: pod.port().to_be(),
                remote_port,
                protocol,
                pad: [0; 3],
            },
            layout::Flow {
                egress: egress.ip().into(),
                egress_port: egress.port().to_be(),
                flags: flags.0,
                seen,
                expects: EXPECTED,
                link,
                ..layout::Flow::default()
            },
        );
        *self.pod_flows.entry(pod.ip()).or_default() += 1;
        self.mapping(protocol, pod, egress);
        self.returns.insert(
            ReturnKey {
                egress: egress.ip().into(),
                remote: remote.ip().into(),
                egress_port: egress.port().to_be(),
                remote_port,
                protocol,
                pad: [0; 3],
            },
            layout::ReturnFlow {
                pod: pod.ip().into(),
                link,
                seen,
                pod_port: pod.port().to_be(),
                flags: flags.1,
                pad: 0,
                opened: seen - 7,
            },
        );
    }

    /// One more flow of a port that has one egress port towards everybody.
    fn mapping(&mut self, protocol: u8, pod: SocketAddr, egress: SocketAddr) {
        if protocol == 6 {
            return;
        }
        let (pod_port, egress_port) = (pod.port().to_be(), egress.port().to_be());
        let key =
            MappingKey { pod: pod.ip().into(), egress: egress.ip().into(), pod_port, protocol, pad: [0; 5] };
        let fresh = layout::Mapping { egress_port, ..layout::Mapping::default() };
        self.mappings.entry(key).or_insert(fresh).flows += 1;
        self.owners.insert(OwnerKey { egress: egress.ip().into(), egress_port, protocol, pad: [0; 5] }, 1);
    }

    /// The first fragment of a datagram went this way so many seconds ago.
    pub fn piece(&mut self, place: u8, src: &str, dst: &str, id: u32, to: &str, age: u32) {
        let (src, to) = (addr(src), addr(to));
        let protocol = if src.is_ipv4() { 17 } else { 0 };
        let id = if src.is_ipv4() { u32::from((id as u16).to_be()) } else { id.to_be() };
        let key = FragmentKey { src: src.into(), dst: addr(dst).into(), id, protocol, place, pad: [0; 2] };
        let value = layout::Fragment { to: to.into(), id, seen: now() - age, ..layout::Fragment::default() };
        self.fragments.insert(key, value);
    }

    /// Somebody outside has spoken to the pod.
    pub fn heard(&mut self, protocol: u8, remote: &str, pod: &str) {
        let [remote, pod] = [remote, pod].map(|end| end.parse::<SocketAddr>().unwrap());
        self.inbound.insert(
            FlowKey {
                pod: pod.ip().into(),
                remote: remote.ip().into(),
                pod_port: pod.port().to_be(),
                remote_port: remote.port().to_be(),
                protocol,
                pad: [0; 3],
            },
            now(),
        );
    }

    /// The changing maps as lines of text.
    pub fn state(&self) -> BTreeSet<String> {
        let flows = self.flows.iter().map(|(key, value)| {
            let (pod, remote) = (end(key.pod, key.pod_port), end(key.remote, key.remote_port));
            let egress = end(value.egress, value.egress_port);
            format!(
                "flow {} {pod}>{remote} = {egress}{}",
                protocol(key.protocol),
                seen(value.flags, value.seen)
            )
        });
        let returns = self.returns.iter().map(|(key, value)| {
            let (remote, egress) = (end(key.remote, key.remote_port), end(key.egress, key.egress_port));
            let pod = end(value.pod, value.pod_port);
            format!(
                "return {} {remote}>{egress} = {pod}{}",
                protocol(key.protocol),
                seen(value.flags, value.seen)
            )
        });
        let inbound = self.inbound.keys().map(|key| {
            let (pod, remote) = (end(key.pod, key.pod_port), end(key.remote, key.remote_port));
            format!("inbound {} {remote}>{pod}", protocol(key.protocol))
        });
        let mappings = self.mappings.iter().map(|(key, value)| {
            let idle = if value.idle == 0 { "" } else { " idle" };
            format!(
                "mapping {} {} = {} of {}{idle}",
                protocol(key.protocol),
                end(key.pod, key.pod_port),
                end(key.egress, value.egress_port),
                value.flows
            )
        });
        let fragments = self.fragments.iter().map(|(key, value)| {
            let place = ["of pod", "to wire", "of wire", "to pod"][usize::from(key.place)];
            let to = if value.passed == 0 { IpAddr::from(value.to).to_string() } else { "kernel".to_owned() };
            format!("pieces {place} {}>{} {to}", IpAddr::from(key.src), IpAddr::from(key.dst))
        });
        let carried = self.carried.iter().map(|(key, value)| {
            let (egress, remote) = (end(key.egress, key.egress_port), end(key.remote, key.remote_port));
            let node = IpAddr::from(value.node);
            let back = seen(value.received, value.seen);
            format!(
                "carried {} {egress}>{remote} {node}{} back{back}",
                protocol(key.protocol),
                seen(value.sent, now())
            )
        });
        let lines = carried.chain(flows).chain(returns).chain(inbound).chain(mappings).chain(fragments);
        lines.chain(self.unmatched()).collect()
    }

    /// Mappings without owner, and the other way round: there must be none.
    fn unmatched(&self) -> impl Iterator<Item = String> {
        let owned: BTreeSet<OwnerKey> = self
            .mappings
            .iter()
            .map(|(key, value)| OwnerKey {
                egress: key.egress,
                egress_port: value.egress_port,
                protocol: key.protocol,
                pad: [0; 5],
            })
            .collect();
        let owners: BTreeSet<OwnerKey> = self.owners.keys().copied().collect();
        let lines: Vec<String> = owned
            .symmetric_difference(&owners)
            .map(|key| {
                format!("only one side of {} {}", protocol(key.protocol), end(key.egress, key.egress_port))
            })
            .collect();
        lines.into_iter()
    }
}

/// An egress address that leaves by a gateway, with one port.
pub fn by_overlay(gateway: &str) -> layout::Egress {
    let mut blocks = [0; layout::BLOCKS];
    blocks[0] = PORT;
    layout::Egress {
        gateway: addr(gateway).into(),
        link: 0,
        path: layout::PATH_OVERLAY,
        shift: 0,
        block_count: 1,
        blocks,
        timers: TIMERS,
        opened: 0,
        share: 0,
        node_address: 0,
        pad: [0; 6],
    }
}

/// Idle times that differ from each other.
pub const TIMERS: layout::Timers =
    layout::Timers { tcp_established: 1000, tcp_transitory: 200, tcp_closed: 50, udp: 100, icmp: 60 };

/// What pods of flows that are there from the start expect of the other end.
pub const EXPECTED: u32 = 1;

/// The second that it is for the programs: it does not end between a world and its packet.
pub fn now() -> u32 {
    100_000
}

pub fn end(address: Addr, port: u16) -> String {
    SocketAddr::new(address.into(), u16::from_be(port)).to_string()
}

pub fn protocol(number: u8) -> String {
    match number {
        1 | 58 => "ping".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        other => other.to_string(),
    }
}

/// Flags that were seen, and whether the entry was seen in this test.
fn seen(flags: u8, seen: u32) -> String {
    // The other end's answer and closing, as a flow knows them, are the small letters.
    let flags: String =
        "FSRPAUca".chars().enumerate().filter(|(bit, _)| flags >> bit & 1 != 0).map(|(_, f)| f).collect();
    let idle = now().saturating_sub(seen);
    let idle = if idle < 30 { String::new() } else { " idle".to_owned() };
    if flags.is_empty() { idle } else { format!(" {flags}{idle}") }
}

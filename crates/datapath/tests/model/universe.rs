//! A small world, so that ports collide, run out and are used again: one node that is both, with a few pods, and the
//! gateway of the egress addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_datapath::layout::{self, PATH_LINK, PATH_NONE, PATH_OVERLAY, PATH_WIRE, Timers};

use crate::dice::Dice;
use crate::names::{HOST, POD, mac};
use crate::world::{Interfaces, RULES, World, addr, net};

/// One egress address leaves by another gateway, the other by this node's own wire. Of each family.
pub const EGRESS: [[&str; 2]; 2] = [["10.10.0.11", "10.10.0.12"], ["fd00:10:10::11", "fd00:10:10::12"]];
/// Selected pods, and the last one that is not.
pub const PODS: [[&str; 4]; 2] = [
    ["10.244.1.10", "10.244.1.11", "10.244.1.12", "10.244.1.9"],
    ["fd00:10:244:1::10", "fd00:10:244:1::11", "fd00:10:244:1::12", "fd00:10:244:1::9"],
];
/// Outside: two by the first egress address, two by the second (to one of which no route leads), one that only some
/// ports of lead to, one that no rule knows, and one inside.
pub const REMOTES: [[&str; 7]; 2] = [
    ["198.51.100.1", "198.51.100.2", "203.0.113.1", "192.0.2.9", "203.0.113.7", "100.64.0.9", "10.244.2.5"],
    [
        "2001:db8:1::1",
        "2001:db8:1::2",
        "2001:db8:2::1",
        "2001:db8:dead::9",
        "2001:db8:2::7",
        "2001:db8:3::9",
        "fd00:10:244:2::5",
    ],
];
/// This node, one behind the overlay, one on the same link, one with an IPv6 underlay.
pub const NODES: [&str; 4] = ["10.0.0.1", "10.0.0.4", "10.0.0.5", "fd00::4"];
/// First port of any block.
pub const FIRST_PORT: u16 = 4096;
/// Blocks of each egress address.
pub const BLOCKS: u16 = 8;

/// No route leads there.
pub fn without_route(ip: IpAddr) -> bool {
    ip == addr(REMOTES[0][3]) || ip == addr(REMOTES[1][3])
}

/// What makes a world, drawn at random.
#[derive(Clone, Debug)]
pub struct Universe {
    pub world: World,
    pub timers: Timers,
    /// Different ports of pods and of remote ends.
    pub pod_ports: u16,
    pub remote_ports: u16,
    /// More flows than the tables hold.
    pub crowded: bool,
}

impl Universe {
    pub fn new(dice: &mut Dice, on: Interfaces) -> Self {
        let share = dice.below(4) as u8;
        let shift = dice.pick(&[0, 1, 2, 3]);
        let timers = Timers { tcp_established: 60, tcp_transitory: 20, tcp_closed: 4, udp: 30, icmp: 10 };
        let mut world = World::standard(on);
        world.settings.hold_unknown = u8::from(dice.percent(80));
        if dice.percent(25) {
            world.settings.hop4 = Default::default();
            world.settings.hop6 = Default::default();
        }
        world.pods = pods(on);
        world.rules = rules();
        world.egress = BTreeMap::new();
        for family in EGRESS {
            for (index, egress) in family.iter().enumerate() {
                let mine = 1 + dice.below(3) as u16;
                let entry = entry(on, shift, mine, share, timers, index);
                world.egress.insert(addr(egress), entry);
                let served = layout::Served {
                    wire: on.wire,
                    mac: mac("wire"),
                    holder: 1,
                    shift,
                    ..Default::default()
                };
                world.served.insert(addr(egress), served);
                for block in 0..BLOCKS {
                    let node = match block {
                        _ if block < mine => NODES[0],
                        3..=5 => NODES[usize::from(block - 2)],
                        _ => continue,
                    };
                    world.leases.insert((addr(egress), (FIRST_PORT >> shift) + block), addr(node));
                }
            }
        }
        let crowded = dice.percent(25);
        let pod_ports = if crowded { 40 } else { 1 + dice.below(10) as u16 };
        Universe { world, timers, pod_ports, remote_ports: 1 + dice.below(3) as u16, crowded }
    }
}

fn entry(on: Interfaces, shift: u8, mine: u16, share: u8, timers: Timers, index: usize) -> layout::Egress {
    let mut blocks = [0; layout::BLOCKS];
    (0..mine).for_each(|block| blocks[usize::from(block)] = FIRST_PORT + (block << shift));
    layout::Egress {
        gateway: addr(NODES[1]).into(),
        link: [0, on.wire][index],
        path: [PATH_OVERLAY, PATH_WIRE][index],
        shift,
        block_count: mine,
        blocks,
        timers,
        share,
        opened: 0,
        node_address: 0,
        pad: [0; 6],
    }
}

/// The next of the ways that an egress address may take.
pub fn other_path(entry: &mut layout::Egress, on: &Interfaces) {
    entry.path = match entry.path {
        PATH_NONE => PATH_WIRE,
        PATH_WIRE => PATH_OVERLAY,
        PATH_OVERLAY => PATH_LINK,
        _ => PATH_NONE,
    };
    entry.link = match entry.path {
        PATH_WIRE => on.wire,
        PATH_LINK => on.underlay,
        _ => 0,
    };
    entry.gateway = addr(NODES[if entry.path == PATH_LINK { 2 } else { 1 }]).into();
}

fn pods(on: Interfaces) -> BTreeMap<IpAddr, layout::PodValue> {
    let pod = |index: usize| layout::PodValue {
        rules: if index == 3 { 0 } else { RULES },
        link: if index < 2 { on.pod } else { on.other_pod },
        mac: POD,
        host_mac: HOST,
        shared: 0,
        pad: [0; 7],
    };
    PODS.iter().flat_map(|family| (0..).zip(family).map(|(index, text)| (addr(text), pod(index)))).collect()
}

fn rules() -> BTreeMap<(u64, ipnet::IpNet), Vec<crate::world::Port>> {
    let mut rules = BTreeMap::new();
    for (family, [first, second, third, fourth]) in [
        ["198.51.100.0/24", "203.0.113.0/24", "203.0.113.7/32", "10.10.0.0/24"],
        ["2001:db8:1::/48", "2001:db8:2::/48", "2001:db8:2::7/128", "fd00:10:10::/64"],
    ]
    .into_iter()
    .enumerate()
    {
        let [far, near] = EGRESS[family].map(|text| Some(addr(text)));
        let dead = ["192.0.2.0/24", "2001:db8:dead::/48"][family];
        let any = |egress| vec![(0, 0, u16::MAX, egress)];
        rules.insert((RULES, net(first)), any(far));
        rules.insert((RULES, net(second)), any(near));
        rules.insert((RULES, net(dead)), any(near));
        rules.insert((RULES, net(fourth)), any(near));
        let by_port = vec![(6, 0, 443, far), (17, 444, u16::MAX, None), (17, 0, 443, far)];
        rules.insert((RULES, net(third)), by_port);
    }
    rules
}

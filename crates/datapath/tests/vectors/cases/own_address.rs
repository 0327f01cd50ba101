//! A gateway that is used by its own address: what it carried comes back, and everything else is its kernel's.

use egret_datapath::layout::FRAGMENT_OF_WIRE;

use crate::case::{Case, FROM_OVERLAY, FROM_UNDERLAY, FROM_WIRE, case};
use crate::packet::{GRE, Packet, other, ping, pong, tcp, udp, unreachable};
use crate::world::World;

const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";
const OWN: &str = "10.10.0.11:2000";
const OWN6: &str = "[fd00:10:10::11]:2000";
const F: u8 = 0x01;
const SA: u8 = 0x12;
const RST: u8 = 0x04;

fn leaves(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_OVERLAY, packet.eth("overlay", "stranger"))
        .given(World::own_address)
        .came_by("10.0.0.4 to-wire")
        .is("SENT_WIRE")
}

/// Node 10.0.0.4 has these conversations.
fn carried(world: &mut World) {
    world.own_address();
    for (egress, remote) in [(OWN, OUTSIDE), (OWN6, OUTSIDE6)] {
        world.carry(6, egress, remote, "10.0.0.4", (SA, SA), 5);
        world.carry(17, egress, remote, "10.0.0.4", (0, 0), 5);
    }
    world.carry(1, OWN, "198.51.100.9:0", "10.0.0.4", (0, 0), 5);
}

fn comes(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_WIRE, packet.eth("wire", "router")).given(carried)
}

/// One conversation only.
fn closing(name: &'static str, flags: (u8, u8), idle: u32) -> Case {
    comes(name, tcp(OUTSIDE, OWN, "A")).given(move |w| {
        w.own_address();
        w.carry(6, OWN, OUTSIDE, "10.0.0.4", flags, idle);
    })
}

fn answer(case: Case) -> Case {
    case.is("SENT_NODE")
        .leaves_as("underlay>overlay tcp 198.51.100.9:443>10.10.0.11:2000 A ttl=63")
        .by("10.0.0.4 to-pod")
}

/// Datagrams last ten minutes.
fn datagram(name: &'static str, idle: u32) -> Case {
    comes(name, udp(OUTSIDE, OWN)).given(move |w| {
        w.own_address();
        w.carry(17, OWN, OUTSIDE, "10.0.0.4", (0, 0), idle);
    })
}

pub fn cases() -> Vec<Case> {
    [going_out(), coming_back(), the_kernels(), in_pieces(), by_the_underlay()]
        .into_iter()
        .flatten()
        .collect()
}

fn going_out() -> Vec<Case> {
    vec![
        leaves("own address: a connection is remembered with its node", tcp(OWN, OUTSIDE, "S"))
            .leaves_as("wire>router tcp 10.10.0.11:2000>198.51.100.9:443 S ttl=63")
            .and(&["+ carried tcp 10.10.0.11:2000>198.51.100.9:443 10.0.0.4 S back"]),
        leaves("own address: a datagram is, IPv6", udp(OWN6, OUTSIDE6))
            .leaves_as("wire>router udp [fd00:10:10::11]:2000>[2001:db8::9]:443 ttl=63")
            .and(&["+ carried udp [fd00:10:10::11]:2000>[2001:db8::9]:443 10.0.0.4 back"]),
        leaves("own address: a ping is", ping("10.10.0.11", "198.51.100.9", 2000))
            .leaves_as("wire>router ping 10.10.0.11>198.51.100.9 id=2000 ttl=63")
            .and(&["+ carried ping 10.10.0.11:2000>198.51.100.9:0 10.0.0.4 back"]),
        leaves("own address: one that was forgotten is known again", tcp(OWN, OUTSIDE, "A"))
            .leaves_as("wire>router tcp 10.10.0.11:2000>198.51.100.9:443 A ttl=63")
            .and(&["+ carried tcp 10.10.0.11:2000>198.51.100.9:443 10.0.0.4 A back"]),
        leaves("own address: a new connection on old ends", tcp(OWN, OUTSIDE, "S"))
            .given(|w| {
                w.own_address();
                w.carry(6, OWN, OUTSIDE, "10.0.0.5", (F | SA, F | SA), 100);
            })
            .leaves_as("wire>router tcp 10.10.0.11:2000>198.51.100.9:443 S ttl=63")
            .and(&[
                "- carried tcp 10.10.0.11:2000>198.51.100.9:443 10.0.0.5 FSA back FSA idle",
                "+ carried tcp 10.10.0.11:2000>198.51.100.9:443 10.0.0.4 S back",
            ]),
        leaves("own address: who speaks on did not mean its RST", tcp(OWN, OUTSIDE, "A"))
            .given(|w| {
                w.own_address();
                w.carry(6, OWN, OUTSIDE, "10.0.0.4", (RST | SA, SA), 100);
            })
            .leaves_as("wire>router tcp 10.10.0.11:2000>198.51.100.9:443 A ttl=63")
            .and(&[
                "- carried tcp 10.10.0.11:2000>198.51.100.9:443 10.0.0.4 SRA back SA idle",
                "+ carried tcp 10.10.0.11:2000>198.51.100.9:443 10.0.0.4 SA back SA",
            ]),
        leaves("own address: a conversation of the node that had the port before", udp(OWN, OUTSIDE))
            .given(|w| {
                w.own_address();
                w.carry(17, OWN, OUTSIDE, "10.0.0.5", (0, 0), 5);
            })
            .leaves_as("wire>router udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .and(&[
                "- carried udp 10.10.0.11:2000>198.51.100.9:443 10.0.0.5 back",
                "+ carried udp 10.10.0.11:2000>198.51.100.9:443 10.0.0.4 back",
            ]),
        case(
            "own address: by a port of another node",
            FROM_OVERLAY,
            tcp(OWN, OUTSIDE, "S").eth("overlay", "stranger"),
        )
        .given(World::own_address)
        .came_by("10.0.0.5 to-wire")
        .is("DROP_NOT_LEASED"),
    ]
}

fn coming_back() -> Vec<Case> {
    vec![
        answer(comes("own address: an answer", tcp(OUTSIDE, OWN, "A"))),
        comes("own address: an answer, IPv6", udp(OUTSIDE6, OWN6))
            .is("SENT_NODE")
            .leaves_as("underlay>overlay udp [2001:db8::9]:443>[fd00:10:10::11]:2000 ttl=63")
            .by("10.0.0.4 to-pod"),
        comes("own address: the answer to a ping", pong("198.51.100.9", "10.10.0.11", 2000))
            .is("SENT_NODE")
            .leaves_as("underlay>overlay pong 198.51.100.9>10.10.0.11 id=2000 ttl=63")
            .by("10.0.0.4 to-pod"),
        comes("own address: the other end closes", tcp(OUTSIDE, OWN, "FA"))
            .is("SENT_NODE")
            .leaves_as("underlay>overlay tcp 198.51.100.9:443>10.10.0.11:2000 FA ttl=63")
            .by("10.0.0.4 to-pod")
            .and(&[
                "- carried tcp 10.10.0.11:2000>198.51.100.9:443 10.0.0.4 SA back SA",
                "+ carried tcp 10.10.0.11:2000>198.51.100.9:443 10.0.0.4 SA back FSA",
            ]),
        comes("own address: to a pod of the gateway itself", udp(OUTSIDE, OWN))
            .given(|w| {
                w.own_address();
                w.flow(17, "10.244.1.10:41000", OUTSIDE, OWN, (0, 0), 5);
            })
            .is("SENT_POD")
            .leaves_as("host>pod udp 198.51.100.9:443>10.244.1.10:41000 ttl=63"),
        comes(
            "own address: an error about what was carried",
            unreachable("203.0.113.1", "10.10.0.11", tcp(OWN, OUTSIDE, "A")),
        )
        .is("SENT_NODE")
        .leaves_as(
            "underlay>overlay error 3/3 203.0.113.1>10.10.0.11 \
             about [tcp 10.10.0.11:2000>198.51.100.9:443 A ttl=64] ttl=63",
        )
        .by("10.0.0.4 to-pod"),
        answer(closing("own address: just closed, and there is still an answer", (F | SA, F | SA), 10)),
        answer(closing("own address: silent for long", (SA, SA), 90_000)),
        answer(closing("own address: a RST from outside proves nothing", (SA, RST | SA), 11)),
        datagram("own address: a late answer to a datagram", 600)
            .is("SENT_NODE")
            .leaves_as("underlay>overlay udp 198.51.100.9:443>10.10.0.11:2000 ttl=63")
            .by("10.0.0.4 to-pod"),
    ]
}

fn the_kernels() -> Vec<Case> {
    vec![
        comes("own address: to a service of the node on a leased port", tcp("198.51.100.9:9999", OWN, "S"))
            .is("PASS_NOT_LEASED"),
        comes("own address: an answer to the node's own connection", tcp("198.51.100.10:443", OWN, "SA"))
            .is("PASS_NOT_LEASED"),
        comes("own address: to a port that nobody leases", tcp(OUTSIDE, "10.10.0.11:22", "S"))
            .is("PASS_NOT_LEASED"),
        comes("own address: the overlay's own packets", udp("198.51.100.9:55555", "10.10.0.11:8474"))
            .is("PASS_NOT_LEASED"),
        comes("own address: a ping to the node", ping("198.51.100.9", "10.10.0.11", 2000))
            .is("PASS_NOT_LEASED"),
        comes("own address: an answer to the node's ping", pong("198.51.100.9", "10.10.0.11", 7))
            .is("PASS_NOT_LEASED"),
        comes("own address: a protocol without ports", other("198.51.100.9", "10.10.0.11", GRE))
            .is("PASS_NOT_LEASED"),
        comes("own address: a header cut short", udp(OUTSIDE, OWN).cut(38)).is("PASS_NOT_LEASED"),
        comes(
            "own address: an error about the node's own packet",
            unreachable("203.0.113.1", "10.10.0.11", tcp("10.10.0.11:2000", "198.51.100.10:443", "A")),
        )
        .is("PASS_NOT_LEASED"),
        comes(
            "own address: an error that quotes another source",
            unreachable("203.0.113.1", "10.10.0.11", tcp("10.10.0.12:2000", OUTSIDE, "A")),
        )
        .is("PASS_NOT_LEASED"),
        closing("own address: closed for long", (F | SA, F | SA), 11).is("PASS_NOT_LEASED"),
        closing("own address: reset by the pod", (RST | SA, SA), 11).is("PASS_NOT_LEASED"),
        datagram("own address: too late an answer", 601).is("PASS_NOT_LEASED"),
    ]
}

fn in_pieces() -> Vec<Case> {
    const ID: u32 = 7;
    let later = || udp(OUTSIDE, OWN).fragment(2, false);
    vec![
        comes("own address: the first piece of an answer", udp(OUTSIDE, OWN).fragment(0, true))
            .is("SENT_NODE")
            .leaves_as("underlay>overlay piece 0+ 198.51.100.9:443>10.10.0.11:2000 ttl=63")
            .by("10.0.0.4 to-pod")
            .and(&["+ pieces of wire 198.51.100.9>10.10.0.11 10.0.0.4"]),
        comes("own address: a later piece of an answer", later())
            .given(|w| {
                carried(w);
                w.piece(FRAGMENT_OF_WIRE, "198.51.100.9", "10.10.0.11", ID, "10.0.0.4", 5);
            })
            .is("SENT_NODE")
            .leaves_as("underlay>overlay piece 2 198.51.100.9>10.10.0.11 ttl=63")
            .by("10.0.0.4 to-pod"),
        comes(
            "own address: the first piece of what is the kernel's",
            udp("198.51.100.9:53", OWN).fragment(0, true),
        )
        .is("PASS_NOT_LEASED")
        .and(&["+ pieces of wire 198.51.100.9>10.10.0.11 kernel"]),
        comes("own address: a later piece without a first", later()).is("PASS_NOT_LEASED"),
    ]
}

/// A node that has one interface.
fn by_the_underlay() -> Vec<Case> {
    let by =
        |name, packet: Packet| case(name, FROM_UNDERLAY, packet.eth("underlay", "router")).given(carried);
    vec![
        by("own address: an answer by the underlay", tcp(OUTSIDE, OWN, "A"))
            .is("SENT_NODE")
            .leaves_as("underlay>overlay tcp 198.51.100.9:443>10.10.0.11:2000 A ttl=63")
            .by("10.0.0.4 to-pod"),
        by("own address: a packet of the overlay by the underlay", udp("10.0.0.5:55555", "10.10.0.11:8474"))
            .is("PASS_NOT_LEASED"),
        by("own address: a header cut short by the underlay", udp(OUTSIDE, OWN).cut(38))
            .is("PASS_NOT_LEASED"),
    ]
}

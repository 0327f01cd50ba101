//! Datagrams in pieces: the first has ports and decides, the others follow it.

use egret_datapath::layout::{FRAGMENT_OF_POD, FRAGMENT_OF_WIRE, FRAGMENT_TO_POD, FRAGMENT_TO_WIRE};

use crate::case::{Case, FROM_OVERLAY, FROM_POD, FROM_WIRE, case};
use crate::packet::{Packet, udp};
use crate::world::World;

const POD: &str = "10.244.1.10:41000";
const POD6: &str = "[fd00:10:244:1::10]:41000";
const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";
const EGRESS: &str = "10.10.0.11:2000";
const EGRESS6: &str = "[fd00:10:10::11]:2000";

fn first(from: &str, to: &str) -> Packet {
    udp(from, to).fragment(0, true)
}

fn later(from: &str, to: &str) -> Packet {
    udp(from, to).fragment(2, false)
}

fn flows(world: &mut World) {
    world.flow(17, POD, OUTSIDE, EGRESS, (0, 0), 0);
    world.flow(17, POD6, OUTSIDE6, EGRESS6, (0, 0), 0);
}

/// The number of every packet that vectors write.
const ID: u32 = 7;

pub fn cases() -> Vec<Case> {
    [of_pod(), at_gateway(), of_wire(), to_pod()].into_iter().flatten().collect()
}

fn of_pod() -> Vec<Case> {
    vec![
        case("a pod's first", FROM_POD, first(POD, OUTSIDE))
            .given(flows)
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay piece 0+ 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&["+ pieces of pod 10.244.1.10>198.51.100.9 10.10.0.11"]),
        case("a pod's first, IPv6", FROM_POD, first(POD6, OUTSIDE6))
            .given(flows)
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay piece 0+ [fd00:10:10::11]:2000>[2001:db8::9]:443 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&["+ pieces of pod fd00:10:244:1::10>2001:db8::9 fd00:10:10::11"]),
        case("a pod's later", FROM_POD, later(POD, OUTSIDE))
            .given(|w| w.piece(FRAGMENT_OF_POD, "10.244.1.10", "198.51.100.9", ID, "10.10.0.11", 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay piece 2 10.10.0.11>198.51.100.9 ttl=63")
            .by("10.0.0.4 to-wire"),
        case("a pod's later, IPv6", FROM_POD, later(POD6, OUTSIDE6))
            .given(|w| w.piece(FRAGMENT_OF_POD, "fd00:10:244:1::10", "2001:db8::9", ID, "fd00:10:10::11", 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay piece 2 fd00:10:10::11>2001:db8::9 ttl=63")
            .by("10.0.0.4 to-wire"),
        case("a pod's later, half a minute later", FROM_POD, later(POD, OUTSIDE))
            .given(|w| w.piece(FRAGMENT_OF_POD, "10.244.1.10", "198.51.100.9", ID, "10.10.0.11", 40))
            .is("DROP_FRAGMENT"),
        case("a pod's later of another datagram", FROM_POD, later(POD, OUTSIDE))
            .given(|w| w.piece(FRAGMENT_OF_POD, "10.244.1.10", "198.51.100.9", 8, "10.10.0.11", 5))
            .is("DROP_FRAGMENT"),
        case("a pod's later alone", FROM_POD, later(POD, OUTSIDE)).given(flows).is("DROP_FRAGMENT"),
        case("a pod's later alone, IPv6", FROM_POD, later(POD6, OUTSIDE6)).given(flows).is("DROP_FRAGMENT"),
        case("a pod's first to where its rules leave it alone", FROM_POD, first(POD, "203.0.113.7:53"))
            .is("PASS_ORDINARY")
            .and(&["+ pieces of pod 10.244.1.10>203.0.113.7 kernel"]),
        case("and its later", FROM_POD, later(POD, "203.0.113.7:53"))
            .given(|w| {
                w.piece(FRAGMENT_OF_POD, "10.244.1.10", "203.0.113.7", ID, "::", 5);
                let ordinary = egret_datapath::REASONS.iter().position(|(name, _)| *name == "PASS_ORDINARY");
                let ordinary = ordinary.unwrap() as u32;
                w.fragments.values_mut().for_each(|fragment| fragment.passed = ordinary);
            })
            .is("PASS_ORDINARY"),
        case("a first that ends before its ports", FROM_POD, first(POD, OUTSIDE).cut(38))
            .is("DROP_MALFORMED"),
    ]
}

fn at_gateway() -> Vec<Case> {
    let at = |name: &'static str, packet: Packet| {
        case(name, FROM_OVERLAY, packet).came_by("10.0.0.4 to-wire").given(|w| w.gateway())
    };
    let known = |w: &mut World, node: &str| {
        w.gateway();
        w.piece(FRAGMENT_TO_WIRE, "10.10.0.11", "198.51.100.9", ID, node, 5);
    };
    vec![
        at("a node's first", first(EGRESS, OUTSIDE))
            .is("SENT_WIRE")
            .leaves_as("wire>router piece 0+ 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .and(&["+ pieces to wire 10.10.0.11>198.51.100.9 10.0.0.4"]),
        at("a node's first, from a port of another node", first("10.10.0.11:2001", OUTSIDE))
            .is("DROP_NOT_LEASED"),
        at("a node's later", later(EGRESS, OUTSIDE))
            .given(move |w| known(w, "10.0.0.4"))
            .is("SENT_WIRE")
            .leaves_as("wire>router piece 2 10.10.0.11>198.51.100.9 ttl=63"),
        at("a later of a datagram of another node", later(EGRESS, OUTSIDE))
            .given(move |w| known(w, "10.0.0.5"))
            .is("DROP_NOT_LEASED"),
        at("a node's later alone", later(EGRESS, OUTSIDE)).is("DROP_FRAGMENT"),
        at("a node's later alone, IPv6", later(EGRESS6, OUTSIDE6)).is("DROP_FRAGMENT"),
    ]
}

fn of_wire() -> Vec<Case> {
    let on = |name: &'static str, packet: Packet| {
        case(name, FROM_WIRE, packet.eth("wire", "router")).given(|w| w.gateway())
    };
    vec![
        on("an answer's first", first(OUTSIDE, EGRESS))
            .is("SENT_NODE")
            .leaves_as("underlay>overlay piece 0+ 198.51.100.9:443>10.10.0.11:2000 ttl=63")
            .by("10.0.0.4 to-pod")
            .and(&["+ pieces of wire 198.51.100.9>10.10.0.11 10.0.0.4"]),
        on("an answer's later", later(OUTSIDE, EGRESS))
            .given(|w| {
                w.gateway();
                w.piece(FRAGMENT_OF_WIRE, "198.51.100.9", "10.10.0.11", ID, "10.0.0.4", 5);
            })
            .is("SENT_NODE")
            .leaves_as("underlay>overlay piece 2 198.51.100.9>10.10.0.11 ttl=63")
            .by("10.0.0.4 to-pod"),
        on("an answer's later alone", later(OUTSIDE, EGRESS)).is("DROP_FRAGMENT"),
        on("an answer's later alone, IPv6", later(OUTSIDE6, EGRESS6)).is("DROP_FRAGMENT"),
        on("a first to a port that nobody leases", first(OUTSIDE, "10.10.0.11:2999"))
            .is("PASS_NOT_LEASED")
            .and(&["+ pieces of wire 198.51.100.9>10.10.0.11 kernel"]),
    ]
}

fn to_pod() -> Vec<Case> {
    let back = |name: &'static str, packet: Packet| {
        case(name, FROM_OVERLAY, packet).came_by("10.0.0.4 to-pod").given(flows)
    };
    vec![
        back("the first for the pod", first(OUTSIDE, EGRESS))
            .is("SENT_POD")
            .leaves_as("host>pod piece 0+ 198.51.100.9:443>10.244.1.10:41000 ttl=63")
            .and(&["+ pieces to pod 198.51.100.9>10.10.0.11 10.244.1.10"]),
        back("the first for the pod, IPv6", first(OUTSIDE6, EGRESS6))
            .is("SENT_POD")
            .leaves_as("host>pod piece 0+ [2001:db8::9]:443>[fd00:10:244:1::10]:41000 ttl=63")
            .and(&["+ pieces to pod 2001:db8::9>fd00:10:10::11 fd00:10:244:1::10"]),
        back("a later for the pod", later(OUTSIDE, EGRESS))
            .given(|w| {
                flows(w);
                w.piece(FRAGMENT_TO_POD, "198.51.100.9", "10.10.0.11", ID, "10.244.1.10", 5);
            })
            .is("SENT_POD")
            .leaves_as("host>pod piece 2 198.51.100.9>10.244.1.10 ttl=63"),
        back("a later for a pod that is gone", later(OUTSIDE, EGRESS))
            .given(|w| w.piece(FRAGMENT_TO_POD, "198.51.100.9", "10.10.0.11", ID, "10.244.1.77", 5))
            .is("DROP_POD_GONE"),
        back("a later alone", later(OUTSIDE, EGRESS)).is("DROP_FRAGMENT"),
        back("a later alone, IPv6", later(OUTSIDE6, EGRESS6)).is("DROP_FRAGMENT"),
    ]
}

//! Datagrams in pieces, where the vectors of each place do not say it: IPv6 at gateways, pings, TCP, and what is larger
//! than a link.

use egret_datapath::layout::{FRAGMENT_OF_WIRE, FRAGMENT_TO_POD, FRAGMENT_TO_WIRE};

use super::{EGRESS, EGRESS6, OUTSIDE, OUTSIDE6, POD, POD6, flows};
use crate::case::{Case, FROM_OVERLAY, FROM_POD, FROM_WIRE, case};
use crate::packet::{Packet, tcp, udp};

fn first(packet: Packet) -> Packet {
    packet.fragment(0, true)
}

fn later(packet: Packet) -> Packet {
    packet.fragment(2, false)
}

pub fn cases() -> Vec<Case> {
    vec![
        case("a pod's first opens a flow", FROM_POD, first(udp(POD6, OUTSIDE6)))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay piece 0+ [fd00:10:10::11]:2000>[2001:db8::9]:443 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow udp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 = [fd00:10:10::11]:2000",
                "+ mapping udp [fd00:10:244:1::10]:41000 = [fd00:10:10::11]:2000 of 1",
                "+ return udp [2001:db8::9]:443>[fd00:10:10::11]:2000 = [fd00:10:244:1::10]:41000",
                "+ pieces of pod fd00:10:244:1::10>2001:db8::9 fd00:10:10::11",
            ]),
        case("a first of TCP", FROM_POD, first(tcp(POD, OUTSIDE, "A").payload(40)))
            .given(flows)
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay piece 0+ 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&["+ pieces of pod 10.244.1.10>198.51.100.9 10.10.0.11"]),
        case("a node's first, IPv6", FROM_OVERLAY, first(udp(EGRESS6, OUTSIDE6)))
            .given(|w| w.gateway())
            .came_by("10.0.0.4 to-wire")
            .is("SENT_WIRE")
            .leaves_as("wire>router piece 0+ [fd00:10:10::11]:2000>[2001:db8::9]:443 ttl=63")
            .and(&["+ pieces to wire fd00:10:10::11>2001:db8::9 10.0.0.4"]),
        case("a node's later, IPv6", FROM_OVERLAY, later(udp(EGRESS6, OUTSIDE6)))
            .given(|w| {
                w.gateway();
                w.piece(FRAGMENT_TO_WIRE, "fd00:10:10::11", "2001:db8::9", 7, "10.0.0.4", 5);
            })
            .came_by("10.0.0.4 to-wire")
            .is("SENT_WIRE")
            .leaves_as("wire>router piece 2 fd00:10:10::11>2001:db8::9 ttl=63"),
        case("an answer's first, IPv6", FROM_WIRE, first(udp(OUTSIDE6, EGRESS6)).eth("wire", "router"))
            .given(|w| w.gateway())
            .is("SENT_NODE")
            .leaves_as("underlay>overlay piece 0+ [2001:db8::9]:443>[fd00:10:10::11]:2000 ttl=63")
            .by("10.0.0.4 to-pod")
            .and(&["+ pieces of wire 2001:db8::9>fd00:10:10::11 10.0.0.4"]),
        case("an answer's later, IPv6", FROM_WIRE, later(udp(OUTSIDE6, EGRESS6)).eth("wire", "router"))
            .given(|w| {
                w.gateway();
                w.piece(FRAGMENT_OF_WIRE, "2001:db8::9", "fd00:10:10::11", 7, "10.0.0.4", 5);
            })
            .is("SENT_NODE")
            .leaves_as("underlay>overlay piece 2 2001:db8::9>fd00:10:10::11 ttl=63")
            .by("10.0.0.4 to-pod"),
        case(
            "an answer's later, half a minute later",
            FROM_WIRE,
            later(udp(OUTSIDE, EGRESS)).eth("wire", "router"),
        )
        .given(|w| {
            w.gateway();
            w.piece(FRAGMENT_OF_WIRE, "198.51.100.9", "10.10.0.11", 7, "10.0.0.4", 40);
        })
        .is("DROP_FRAGMENT"),
        case("a later for the pod, IPv6", FROM_OVERLAY, later(udp(OUTSIDE6, EGRESS6)))
            .given(|w| {
                flows(w);
                w.piece(FRAGMENT_TO_POD, "2001:db8::9", "fd00:10:10::11", 7, "fd00:10:244:1::10", 5);
            })
            .came_by("10.0.0.4 to-pod")
            .is("SENT_POD")
            .leaves_as("host>pod piece 2 2001:db8::9>fd00:10:244:1::10 ttl=63"),
        case(
            "a first from a host that was not spoken to",
            FROM_OVERLAY,
            first(udp("198.51.100.10:443", EGRESS)),
        )
        .given(flows)
        .came_by("10.0.0.4 to-pod")
        .is("DROP_NO_RETURN"),
        case("a whole datagram is not held up by lost pieces", FROM_POD, udp(POD, OUTSIDE))
            .given(|w| {
                flows(w);
                for id in 100..612 {
                    w.piece(FRAGMENT_TO_POD, "198.51.100.66", "10.10.0.11", id, "10.244.1.10", 5);
                }
            })
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .by("10.0.0.4 to-wire"),
    ]
}

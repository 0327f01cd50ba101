//! At a gateway: from a source node by the overlay, out of the wire. Nothing is remembered.

use crate::case::{Case, FROM_OVERLAY, case};
use crate::packet::{GRE, arp, other, ping, tcp, udp};
use crate::world::World;

const FROM: &str = "10.10.0.11:2000";
const FROM6: &str = "[fd00:10:10::11]:2000";
const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";

fn gateway(world: &mut World) {
    world.gateway();
}

fn at_gateway(name: &'static str, frame: impl Into<Vec<u8>>) -> Case {
    case(name, FROM_OVERLAY, frame).given(gateway).came_by("10.0.0.4 to-wire")
}

pub fn cases() -> Vec<Case> {
    vec![
        at_gateway("TCP", tcp(FROM, OUTSIDE, "S"))
            .is("SENT_WIRE")
            .leaves_as("wire>router tcp 10.10.0.11:2000>198.51.100.9:443 S ttl=63"),
        at_gateway("TCP in mid-flow: a gateway has no state", tcp(FROM, OUTSIDE, "PA").payload(99))
            .is("SENT_WIRE")
            .leaves_as("wire>router tcp 10.10.0.11:2000>198.51.100.9:443 PA ttl=63"),
        at_gateway("UDP, IPv6", udp(FROM6, OUTSIDE6))
            .is("SENT_WIRE")
            .leaves_as("wire>router udp [fd00:10:10::11]:2000>[2001:db8::9]:443 ttl=63"),
        at_gateway("ping", ping("10.10.0.11", "198.51.100.9", 2000))
            .is("SENT_WIRE")
            .leaves_as("wire>router ping 10.10.0.11>198.51.100.9 id=2000 ttl=63"),
        at_gateway("to a neighbour that the kernel must resolve", tcp(FROM, "10.10.0.200:443", "S"))
            .is("SENT_WIRE")
            .leaves_as("pod>host tcp 10.10.0.11:2000>10.10.0.200:443 S ttl=63"),
        at_gateway("from a node whose underlay is IPv6", udp("10.10.0.11:2003", OUTSIDE))
            .came_by("fd00::4 to-wire")
            .is("SENT_WIRE")
            .leaves_as("wire>router udp 10.10.0.11:2003>198.51.100.9:443 ttl=63"),
        at_gateway("a gateway that is not the holder carries as well", udp(FROM, OUTSIDE))
            .given(|w| {
                w.gateway();
                w.served.values_mut().for_each(|served| served.holder = 0);
            })
            .is("SENT_WIRE")
            .leaves_as("wire>router udp 10.10.0.11:2000>198.51.100.9:443 ttl=63"),
        at_gateway("a block of many ports", udp("10.10.0.11:2047", OUTSIDE))
            .given(|w| {
                w.gateway();
                w.served.values_mut().for_each(|served| served.shift = 10);
                w.leases.clear();
                w.leases.insert((crate::world::addr("10.10.0.11"), 1), crate::world::addr("10.0.0.4"));
            })
            .is("SENT_WIRE")
            .leaves_as("wire>router udp 10.10.0.11:2047>198.51.100.9:443 ttl=63"),
        at_gateway("the port behind the block", udp("10.10.0.11:2048", OUTSIDE))
            .given(|w| {
                w.gateway();
                w.served.values_mut().for_each(|served| served.shift = 10);
                w.leases.clear();
                w.leases.insert((crate::world::addr("10.10.0.11"), 1), crate::world::addr("10.0.0.4"));
            })
            .is("DROP_NOT_LEASED"),
        at_gateway("not from a node of the cluster", udp(FROM, OUTSIDE))
            .came_by("10.0.0.66 to-wire")
            .is("DROP_FOREIGN_OUTER"),
        at_gateway("not from a node of the cluster, IPv6 underlay", udp(FROM, OUTSIDE))
            .came_by("fd00::66 to-wire")
            .is("DROP_FOREIGN_OUTER"),
        at_gateway("to another address of the gateway than nodes send to", udp(FROM, OUTSIDE))
            .given(|w| {
                w.gateway();
                w.overlay_comes_to = Some(crate::world::addr("10.10.0.104"));
            })
            .is("DROP_FOREIGN_OUTER"),
        case("by no tunnel at all", FROM_OVERLAY, udp(FROM, OUTSIDE)).given(gateway).is("DROP_FOREIGN_OUTER"),
        at_gateway("a network identifier that is not Egret's", udp(FROM, OUTSIDE))
            .came_by("10.0.0.4 1")
            .is("DROP_FOREIGN_INNER"),
        at_gateway("no IP", arp(1, "10.10.0.11", "10.10.0.1")).is("DROP_FOREIGN_INNER"),
        at_gateway("a protocol without ports", other("10.10.0.11", "198.51.100.9", GRE))
            .is("DROP_FOREIGN_INNER"),
        at_gateway("an inner header cut short", udp(FROM, OUTSIDE).cut(38)).is("DROP_MALFORMED"),
        at_gateway("this node is no gateway of the source", udp("10.10.0.12:2000", OUTSIDE))
            .is("DROP_NOT_SERVED"),
        at_gateway("a pod's own address", udp("10.244.1.10:2000", OUTSIDE)).is("DROP_NOT_SERVED"),
        at_gateway("a port that another node leases", udp("10.10.0.11:2001", OUTSIDE)).is("DROP_NOT_LEASED"),
        at_gateway("a port that nobody leases", udp("10.10.0.11:2999", OUTSIDE)).is("DROP_NOT_LEASED"),
        at_gateway("a port that another node leases, IPv6", udp("[fd00:10:10::11]:2001", OUTSIDE6))
            .is("DROP_NOT_LEASED"),
        at_gateway("the wire has no route", udp(FROM, "192.0.2.9:443")).is("DROP_NO_ROUTE"),
        at_gateway("the wire has no route, IPv6", udp(FROM6, "[2001:db8:dead::9]:443")).is("DROP_NO_ROUTE"),
    ]
}

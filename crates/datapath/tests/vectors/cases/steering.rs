//! At a gateway: from the outside by the wire, back to the node that leases the port.

use crate::case::{Case, FROM_WIRE, case};
use crate::packet::{GRE, Packet, other, ping, pong, tcp, udp};
use crate::world::World;

const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";

fn gateway(world: &mut World) {
    world.gateway();
}

fn on_wire(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_WIRE, packet.eth("wire", "router")).given(gateway)
}

pub fn cases() -> Vec<Case> {
    vec![
        on_wire("TCP", tcp(OUTSIDE, "10.10.0.11:2000", "SA"))
            .is("SENT_NODE")
            .leaves_as("underlay>overlay tcp 198.51.100.9:443>10.10.0.11:2000 SA ttl=63")
            .by("10.0.0.4 to-pod"),
        on_wire("UDP, IPv6", udp(OUTSIDE6, "[fd00:10:10::11]:2000"))
            .is("SENT_NODE")
            .leaves_as("underlay>overlay udp [2001:db8::9]:443>[fd00:10:10::11]:2000 ttl=63")
            .by("10.0.0.4 to-pod"),
        on_wire("the answer to a ping", pong("198.51.100.9", "10.10.0.11", 2000))
            .is("SENT_NODE")
            .leaves_as("underlay>overlay pong 198.51.100.9>10.10.0.11 id=2000 ttl=63")
            .by("10.0.0.4 to-pod"),
        on_wire("to a node whose underlay is IPv6", udp(OUTSIDE, "10.10.0.11:2003"))
            .is("SENT_NODE")
            .leaves_as("underlay>overlay udp 198.51.100.9:443>10.10.0.11:2003 ttl=63")
            .by("fd00::4 to-pod"),
        on_wire("to a node on the same link", udp(OUTSIDE, "10.10.0.11:2001"))
            .is("SENT_NODE_LINK")
            .leaves_as("underlay>node5 udp 198.51.100.9:443>10.10.0.11:2001 ttl=63"),
        on_wire(
            "to a node on the same link that has not found that it works",
            udp(OUTSIDE, "10.10.0.11:2001"),
        )
        .given(|w| {
            w.gateway();
            w.nodes.values_mut().for_each(|node| node.direct = 0);
        })
        .is("SENT_NODE")
        .leaves_as("underlay>overlay udp 198.51.100.9:443>10.10.0.11:2001 ttl=63")
        .by("10.0.0.5 to-pod"),
        on_wire("to a node on the same link, IPv6", udp(OUTSIDE6, "[fd00:10:10::11]:2001"))
            .is("SENT_NODE_LINK")
            .leaves_as("underlay>node5 udp [2001:db8::9]:443>[fd00:10:10::11]:2001 ttl=63"),
        on_wire("to a pod of the gateway itself", udp(OUTSIDE, "10.10.0.11:2002"))
            .given(|w| {
                w.gateway();
                w.flow(17, "10.244.1.10:41000", OUTSIDE, "10.10.0.11:2002", (0, 0), 5);
            })
            .is("SENT_POD")
            .leaves_as("host>pod udp 198.51.100.9:443>10.244.1.10:41000 ttl=63"),
        on_wire("a port that nobody leases", tcp(OUTSIDE, "10.10.0.11:2999", "S")).is("PASS_NOT_LEASED"),
        on_wire("a port that nobody leases, IPv6", tcp(OUTSIDE6, "[fd00:10:10::11]:2999", "S"))
            .is("PASS_NOT_LEASED"),
        on_wire("a ping to an egress address", ping("198.51.100.9", "10.10.0.11", 2000))
            .is("PASS_NOT_LEASED"),
        on_wire("a protocol without ports", other("198.51.100.9", "10.10.0.11", GRE)).is("PASS_NOT_LEASED"),
        on_wire("a transport header cut short", udp(OUTSIDE, "10.10.0.11:2000").cut(38)).is("DROP_MALFORMED"),
        on_wire("another address of the wire's network", tcp(OUTSIDE, "10.10.0.101:22", "S"))
            .is("PASS_NOT_EGRESS"),
        on_wire("another address of the wire's network, IPv6", tcp(OUTSIDE6, "[fd00:10:10::101]:22", "S"))
            .is("PASS_NOT_EGRESS"),
        on_wire(
            "a broken packet to who knows whom is the kernel's",
            tcp(OUTSIDE, "10.10.0.11:2000", "S").version(6),
        )
        .is("PASS_NOT_EGRESS"),
    ]
}

//! Nodes on one link steer without a tunnel: the sender is known by its link-layer address.

use crate::case::{Case, FROM_UNDERLAY, case};
use crate::packet::{Packet, arp, tcp, udp};
use crate::world::World;

const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";

fn gateway(world: &mut World) {
    world.gateway();
}

fn beside(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_UNDERLAY, packet.eth("underlay", "node5")).given(gateway)
}

pub fn cases() -> Vec<Case> {
    vec![
        beside("to the outside", udp("10.10.0.11:2001", OUTSIDE))
            .is("SENT_WIRE")
            .leaves_as("wire>router udp 10.10.0.11:2001>198.51.100.9:443 ttl=63"),
        beside("to the outside, IPv6", udp("[fd00:10:10::11]:2001", OUTSIDE6))
            .is("SENT_WIRE")
            .leaves_as("wire>router udp [fd00:10:10::11]:2001>[2001:db8::9]:443 ttl=63"),
        beside("back to a pod", tcp(OUTSIDE, "10.10.0.11:2000", "A"))
            .given(|w| w.flow(6, "10.244.1.10:41000", OUTSIDE, "10.10.0.11:2000", (0x12, 0x12), 5))
            .is("SENT_POD")
            .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 A ttl=63"),
        case(
            "from a stranger on the link",
            FROM_UNDERLAY,
            udp("10.10.0.11:2001", OUTSIDE).eth("underlay", "stranger"),
        )
        .given(gateway)
        .is("DROP_FOREIGN_OUTER"),
        beside("a port of a node that is not on the link", udp("10.10.0.11:2000", OUTSIDE))
            .is("DROP_FOREIGN_OUTER"),
        beside("a port that nobody leases", udp("10.10.0.11:2999", OUTSIDE)).is("DROP_NOT_LEASED"),
        beside("a fragment", udp("10.10.0.11:2001", OUTSIDE).fragment(0, true)).is("DROP_FOREIGN_INNER"),
        beside("a header cut short", udp("10.10.0.11:2001", OUTSIDE).cut(38)).is("DROP_MALFORMED"),
        beside("to a flow that is not there", udp(OUTSIDE, "10.10.0.11:2000"))
            .given(|_| {})
            .is("DROP_NO_RETURN"),
        beside("between nodes", udp("10.0.0.5:8474", "10.0.0.1:8474")).is("PASS_NOT_EGRESS"),
        beside("between nodes, IPv6", udp("[fd00::5]:8474", "[fd00::1]:8474")).is("PASS_NOT_EGRESS"),
        case("ARP", FROM_UNDERLAY, arp(1, "10.0.0.5", "10.0.0.1")).given(gateway).is("PASS_NOT_EGRESS"),
    ]
}

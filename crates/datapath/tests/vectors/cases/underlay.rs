//! Nodes on one link steer without a tunnel: the sender is known by its link-layer address.

use crate::case::{Case, FROM_OVERLAY, FROM_UNDERLAY, FROM_WIRE, case};
use crate::names::mac;
use crate::packet::{Packet, arp, probe, tcp, udp};
use crate::world::World;

const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";

fn gateway(world: &mut World) {
    world.gateway();
}

fn beside(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_UNDERLAY, packet.eth("underlay", "node5")).given(gateway)
}

/// Node 10.0.0.5 asks node 10.0.0.1.
fn question(from: &str, to: &str) -> Packet {
    udp(from, to).probe(3, "10.0.0.1", 0x55).ttl(1)
}

/// Node 10.0.0.5 answers.
fn answer(from: &str, to: &str) -> Packet {
    udp(from, to).probe(4, "10.0.0.5", 0x55).ttl(1)
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
        beside("a header cut short", udp("10.10.0.11:2001", OUTSIDE).cut(38)).is("DROP_MALFORMED"),
        beside("to a flow that is not there", udp(OUTSIDE, "10.10.0.11:2000"))
            .given(|_| {})
            .is("DROP_NO_RETURN"),
        beside("between nodes", udp("10.0.0.5:8474", "10.0.0.1:8474")).is("PASS_NOT_EGRESS"),
        beside("between nodes, IPv6", udp("[fd00::5]:8474", "[fd00::1]:8474")).is("PASS_NOT_EGRESS"),
        case(
            "to another node's address, shown to all",
            FROM_UNDERLAY,
            udp("10.10.0.11:2001", OUTSIDE).eth("wire", "node5"),
        )
        .given(gateway)
        .is("PASS_NOT_EGRESS"),
        beside("to a port that this gateway itself leases", udp(OUTSIDE, "10.10.0.11:2002"))
            .given(|w| {
                w.gateway();
                w.flow(17, "10.244.1.10:41000", OUTSIDE, "10.10.0.11:2002", (0, 0), 5);
            })
            .is("SENT_POD")
            .leaves_as("host>pod udp 198.51.100.9:443>10.244.1.10:41000 ttl=63"),
        beside("to a port of another node, where the wire is the underlay", udp(OUTSIDE, "10.10.0.11:2000"))
            .is("SENT_NODE")
            .leaves_as("underlay>overlay udp 198.51.100.9:443>10.10.0.11:2000 ttl=63")
            .by("10.0.0.4 to-pod"),
        beside("does the link carry?", question("10.10.0.11:2001", "192.0.2.1:8474"))
            .is("ANSWERED_PROBE")
            .leaves_as(
                "underlay>node5 udp 192.0.2.1:8474>10.10.0.11:2001 probe link-answer unready 10.0.0.1 0x55 ttl=1",
            ),
        beside("does the link carry IPv6?", question("[fd00:10:10::11]:2001", "[2001:db8::1]:8474"))
            .is("ANSWERED_PROBE")
            .leaves_as(
                "underlay>node5 udp [2001:db8::1]:8474>[fd00:10:10::11]:2001 \
                 probe link-answer unready 10.0.0.1 0x55 ttl=1",
            ),
        beside("does the link carry? without checksum", question("10.10.0.11:2001", "192.0.2.1:8474").no_checksum())
            .is("ANSWERED_PROBE")
            .leaves_as(
                "underlay>node5 unchecked udp 192.0.2.1:8474>10.10.0.11:2001 \
                 probe link-answer unready 10.0.0.1 0x55 ttl=1",
            ),
        case(
            "asked by a stranger",
            FROM_UNDERLAY,
            question("10.10.0.11:2001", "192.0.2.1:8474").eth("underlay", "stranger"),
        )
        .given(gateway)
        .is("DROP_FOREIGN_OUTER"),
        beside("asked from a port that nobody leases", question("10.10.0.11:2999", "192.0.2.1:8474"))
            .is("DROP_NOT_LEASED"),
        beside("asked from another node's port", question("10.10.0.11:2000", "192.0.2.1:8474"))
            .is("DROP_FOREIGN_OUTER"),
        beside(
            "a question for another gateway",
            udp("10.10.0.11:2001", "192.0.2.1:8474").probe(3, "10.0.0.7", 0x55).ttl(1),
        )
        .is("DROP_TTL"),
        beside("a question for another port", question("10.10.0.11:2001", "192.0.2.1:53"))
            .is("TOLD_TTL")
            .leaves_as(
                "underlay>node5 error 11/0 10.0.0.1>10.10.0.11 \
                 about [udp 10.10.0.11:2001>192.0.2.1:53 probe link-question unready 10.0.0.1 0x55 ttl=1] ttl=64",
            ),
        beside("a question for another end", question("10.10.0.11:2001", "192.0.2.9:8474"))
            .is("TOLD_TTL")
            .leaves_as(
                "underlay>node5 error 11/0 10.0.0.1>10.10.0.11 \
                 about [udp 10.10.0.11:2001>192.0.2.9:8474 probe link-question unready 10.0.0.1 0x55 ttl=1] ttl=64",
            ),
        beside("no question at all", udp("10.10.0.11:2001", "192.0.2.1:8474").ttl(1)).is("DROP_TTL"),
        beside("the link carries", answer("192.0.2.1:8474", "10.10.0.11:2000"))
            .given(|_| {})
            .is("SENT_AGENT")
            .leaves_as("underlay>overlay probe link-answer unready 10.0.0.5 0x55"),
        beside("the link carries IPv6", answer("[2001:db8::1]:8474", "[fd00:10:10::11]:2000"))
            .given(|_| {})
            .is("SENT_AGENT")
            .leaves_as("underlay>overlay probe link-answer unready 10.0.0.5 0x55"),
        case(
            "the link carries, where the wire is the underlay",
            FROM_WIRE,
            answer("192.0.2.1:8474", "10.10.0.11:2002").eth("underlay", "node5"),
        )
        .given(|w| {
            w.gateway();
            w.settings.underlay_link = w.on.wire;
            w.served.values_mut().for_each(|served| served.mac = mac("underlay"));
        })
        .is("SENT_AGENT")
        .leaves_as("underlay>overlay probe link-answer unready 10.0.0.5 0x55"),
        case(
            "answered by a stranger",
            FROM_UNDERLAY,
            answer("192.0.2.1:8474", "10.10.0.11:2000").eth("underlay", "stranger"),
        )
        .is("DROP_FOREIGN_OUTER"),
        case(
            "answered by the overlay",
            FROM_OVERLAY,
            answer("192.0.2.1:8474", "10.10.0.11:2000").eth("overlay", "node5"),
        )
        .came_by("10.0.0.5 to-pod")
        .is("DROP_TTL"),
        beside("an answer from elsewhere", answer("198.51.100.9:8474", "10.10.0.11:2000"))
            .given(|_| {})
            .is("DROP_TTL"),
        case("an answer about the link is the agent's", FROM_OVERLAY, probe(4, "10.0.0.5", 0x55)).is("PASS_NOT_IP"),
        case("a question about the link is nobody's there", FROM_OVERLAY, probe(3, "10.0.0.5", 0x55))
            .is("DROP_FOREIGN_OUTER"),
        case("ARP", FROM_UNDERLAY, arp(1, "10.0.0.5", "10.0.0.1")).given(gateway).is("PASS_NOT_EGRESS"),
    ]
}

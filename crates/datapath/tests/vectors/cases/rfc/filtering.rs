//! Who may answer: the remote end that was spoken to, from the port that was spoken to, and nobody else.

use super::{EGRESS, EGRESS6, OUTSIDE, OUTSIDE6, POD, POD6, flows};
use crate::case::{Case, FROM_OVERLAY, FROM_WIRE, case};
use crate::packet::{Packet, ping, pong, tcp, udp};

fn back(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_OVERLAY, packet.eth("overlay", "stranger")).given(flows).came_by("10.0.0.4 to-pod")
}

pub fn cases() -> Vec<Case> {
    vec![
        back("UDP from a host that was not spoken to, IPv6", udp("[2001:db8::10]:443", EGRESS6))
            .is("DROP_NO_RETURN"),
        back("UDP from a port that was not spoken to, IPv6", udp("[2001:db8::9]:444", EGRESS6))
            .is("DROP_NO_RETURN"),
        back("TCP from a host that was not spoken to", tcp("198.51.100.10:443", EGRESS, "A"))
            .is("DROP_NO_RETURN"),
        back("TCP from a port that was not spoken to", tcp("198.51.100.9:444", EGRESS, "A"))
            .is("DROP_NO_RETURN"),
        back("an answer to a ping from a host that was not asked", pong("198.51.100.10", "10.10.0.11", 2000))
            .is("DROP_NO_RETURN"),
        back(
            "an answer to a ping from a host that was not asked, IPv6",
            pong("2001:db8::10", "fd00:10:10::11", 2000),
        )
        .is("DROP_NO_RETURN"),
        back("an answer to a ping with another id", pong("198.51.100.9", "10.10.0.11", 2001))
            .is("DROP_NO_RETURN"),
        back("a ping from the host that was asked", ping("2001:db8::9", "fd00:10:10::11", 2000))
            .is("DROP_NO_RETURN"),
        back("a SYN that nobody asked for is dropped in silence", tcp("198.51.100.10:443", EGRESS, "S"))
            .is("DROP_NO_RETURN"),
        back(
            "a SYN that nobody asked for is dropped in silence, IPv6",
            tcp("[2001:db8::10]:443", EGRESS6, "S"),
        )
        .is("DROP_NO_RETURN"),
        back("UDP to the port that TCP has", udp(OUTSIDE, EGRESS))
            .given(|w| w.flow(6, POD, OUTSIDE, EGRESS, (0x12, 0x12), 5))
            .is("DROP_NO_RETURN"),
        back("UDP from outside keeps no flow alive, IPv6", udp(OUTSIDE6, EGRESS6))
            .given(|w| w.flow(17, POD6, OUTSIDE6, EGRESS6, (0, 0), 90))
            .is("SENT_POD")
            .leaves_as("host>pod udp [2001:db8::9]:443>[fd00:10:244:1::10]:41000 ttl=63"),
        back("an answer to a ping keeps no flow alive", pong("198.51.100.9", "10.10.0.11", 2000))
            .given(|w| w.flow(1, "10.244.1.10:77", "198.51.100.9:0", EGRESS, (0, 0), 50))
            .is("SENT_POD")
            .leaves_as("host>pod pong 198.51.100.9>10.244.1.10 id=77 ttl=63"),
        case(
            "a SYN that nobody asked for goes to the node of its port",
            FROM_WIRE,
            tcp(OUTSIDE, EGRESS, "S"),
        )
        .given(|w| w.gateway())
        .is("SENT_NODE")
        .leaves_as("underlay>overlay tcp 198.51.100.9:443>10.10.0.11:2000 S ttl=63")
        .by("10.0.0.4 to-pod"),
    ]
}

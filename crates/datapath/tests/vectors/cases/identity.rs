//! Whose packet is it, and is it Egret's business at all?

use crate::case::{Case, FROM_OTHER_POD, FROM_POD, TO_POD, case};
use crate::packet::{arp, other, pong, tcp, udp, unreachable, who_has6};
use crate::world::World;

const POD: &str = "10.244.1.10:41000";
const POD6: &str = "[fd00:10:244:1::10]:41000";
const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";

fn pass(world: &mut World) {
    world.settings.hold_unknown = 0;
}

pub fn cases() -> Vec<Case> {
    vec![
        case("ARP of a pod is the kernel's", FROM_POD, arp(1, "10.244.1.10", "169.254.1.1"))
            .is("PASS_NOT_IP"),
        case("an unselected pod goes as ever", FROM_OTHER_POD, tcp("10.244.1.9:41000", OUTSIDE, "S"))
            .is("PASS_UNSELECTED"),
        case(
            "an unselected pod goes as ever, IPv6",
            FROM_OTHER_POD,
            tcp("[fd00:10:244:1::9]:41000", OUTSIDE6, "S"),
        )
        .is("PASS_UNSELECTED"),
        case("a selected pod inside the cluster", FROM_POD, tcp(POD, "10.244.2.20:80", "S"))
            .is("PASS_INSIDE"),
        case("a selected pod inside the cluster, IPv6", FROM_POD, udp(POD6, "[fd00:10:244:2::20]:53"))
            .is("PASS_INSIDE"),
        case("a selected pod speaks on the overlay", FROM_POD, udp(POD, "10.0.0.4:8474"))
            .is("DROP_OVERLAY_PORT"),
        case(
            "an unselected pod speaks on the overlay",
            FROM_OTHER_POD,
            udp("10.244.1.9:41000", "10.0.0.5:8474"),
        )
        .is("DROP_OVERLAY_PORT"),
        case(
            "an unknown pod speaks on the overlay, IPv6",
            FROM_POD,
            udp("[fd00:10:244:1::77]:41000", "[fd00::4]:8474"),
        )
        .is("DROP_OVERLAY_PORT"),
        case(
            "an unselected pod speaks on the overlay, with no more than the ports of a header",
            FROM_OTHER_POD,
            udp("10.244.1.9:41000", "10.0.0.5:8474").cut(38),
        )
        .is("DROP_OVERLAY_PORT"),
        case(
            "an unselected pod's header ends before the port",
            FROM_OTHER_POD,
            udp("10.244.1.9:41000", "10.0.0.5:8474").cut(37),
        )
        .is("PASS_UNSELECTED"),
        case("a pod speaks on the overlay to its own node", FROM_POD, udp(POD, "10.0.0.1:8474"))
            .given(|w| w.nodes.clear())
            .is("DROP_OVERLAY_PORT"),
        case(
            "a pod with another's address speaks on the overlay",
            FROM_POD,
            udp("10.244.1.9:1", "10.0.0.4:8474"),
        )
        .is("DROP_OVERLAY_PORT"),
        case("a pod speaks on the overlay in pieces", FROM_POD, udp(POD, "10.0.0.4:8474").fragment(0, true))
            .is("DROP_OVERLAY_PORT"),
        case("by that port to another pod", FROM_POD, udp(POD, "10.244.2.20:8474")).is("PASS_INSIDE"),
        case("by that port to the outside", FROM_OTHER_POD, udp("10.244.1.9:41000", "198.51.100.9:8474"))
            .is("PASS_UNSELECTED"),
        case("by TCP to that port of a node", FROM_POD, tcp(POD, "10.0.0.4:8474", "S")).is("PASS_INSIDE"),
        case("neighbour discovery of a selected pod", FROM_POD, who_has6("fd00:10:244:1::10", "fe80::1"))
            .is("PASS_INSIDE"),
        case("a destination that no rule names", FROM_POD, tcp(POD, "192.0.2.9:443", "S"))
            .is("PASS_ORDINARY"),
        case("a destination that no rule names, IPv6", FROM_POD, tcp(POD6, "[2a00::9]:443", "S"))
            .is("PASS_ORDINARY"),
        case("a port that no rule names", FROM_POD, tcp(POD, "203.0.113.7:80", "S")).is("PASS_ORDINARY"),
        case("a port that an earlier rule leaves alone", FROM_POD, udp(POD, "203.0.113.7:53"))
            .is("PASS_ORDINARY"),
        case(
            "the answer to a connection from outside",
            FROM_POD,
            tcp("10.244.1.10:80", "198.51.100.9:50000", "SA"),
        )
        .given(|w| w.heard(6, "198.51.100.9:50000", "10.244.1.10:80"))
        .is("PASS_REPLY"),
        case("the answer to a ping from outside", FROM_POD, pong("10.244.1.10", "198.51.100.9", 7))
            .given(|w| w.heard(1, "198.51.100.9:7", "10.244.1.10:0"))
            .is("PASS_REPLY"),
        case(
            "an error about a connection from outside",
            FROM_POD,
            unreachable("10.244.1.10", "198.51.100.9", udp("198.51.100.9:50000", "10.244.1.10:53")),
        )
        .given(|w| w.heard(17, "198.51.100.9:50000", "10.244.1.10:53"))
        .is("PASS_REPLY"),
        case("an unknown pod is held", FROM_POD, tcp("10.244.1.77:41000", OUTSIDE, "S"))
            .is("DROP_UNKNOWN_POD"),
        case("an unknown pod is held, IPv6", FROM_POD, tcp("[fd00:10:244:1::77]:41000", OUTSIDE6, "S"))
            .is("DROP_UNKNOWN_POD"),
        case("an unknown pod inside the cluster", FROM_POD, tcp("10.244.1.77:41000", "10.244.2.20:80", "S"))
            .is("PASS_INSIDE"),
        case(
            "an unknown pod, where the node lets them pass",
            FROM_POD,
            tcp("10.244.1.77:41000", OUTSIDE, "S"),
        )
        .given(pass)
        .is("PASS_UNKNOWN_POD"),
        case("another pod's address", FROM_OTHER_POD, tcp(POD, OUTSIDE, "S")).is("DROP_SPOOFED"),
        case("another pod's address, IPv6", FROM_OTHER_POD, tcp(POD6, OUTSIDE6, "S")).is("DROP_SPOOFED"),
        case("another pod's address, where unknown pods may pass", FROM_OTHER_POD, tcp(POD, OUTSIDE, "S"))
            .given(pass)
            .is("DROP_SPOOFED"),
        case("an IPv6 extension longer than the packet", FROM_POD, udp(POD6, OUTSIDE6).extension(60, 31))
            .is("DROP_MALFORMED")
            .tells(&[]),
        case("a TCP header cut short", FROM_POD, tcp(POD, OUTSIDE, "S").cut(50)).is("DROP_MALFORMED"),
        case("a version that contradicts the ethertype", FROM_POD, tcp(POD, OUTSIDE, "S").version(6))
            .is("DROP_MALFORMED")
            .tells(&[]),
        case(
            "what comes to a selected pod from outside is noted",
            TO_POD,
            tcp("198.51.100.9:50000", "10.244.1.10:80", "S"),
        )
        .and(&["+ inbound tcp 198.51.100.9:50000>10.244.1.10:80"]),
        case(
            "what comes to a selected pod from outside is noted, IPv6",
            TO_POD,
            udp("[2001:db8::9]:50000", "[fd00:10:244:1::10]:53"),
        )
        .and(&["+ inbound udp [2001:db8::9]:50000>[fd00:10:244:1::10]:53"]),
        case("what comes from inside is not noted", TO_POD, tcp("10.244.2.20:50000", "10.244.1.10:80", "S")),
        case(
            "what comes to an unselected pod is not noted",
            TO_POD,
            tcp("198.51.100.9:50000", "10.244.1.9:80", "S"),
        ),
        case("other protocols to a pod are not noted", TO_POD, other("198.51.100.9", "10.244.1.10", 47)),
    ]
}

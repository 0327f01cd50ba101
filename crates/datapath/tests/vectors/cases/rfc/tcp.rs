//! Connections open in each way that TCP allows, stay, and end when their ends say so.

use super::{EGRESS, EGRESS6, OUTSIDE, OUTSIDE6, POD, POD6, S, SA};
use crate::case::{Case, FROM_OVERLAY, FROM_POD, case};
use crate::packet::{Packet, tcp};
use crate::world::{EXPECTED, World};

fn opening(world: &mut World) {
    world.flow(6, POD, OUTSIDE, EGRESS, (S, 0), 5);
    world.flow(6, POD6, OUTSIDE6, EGRESS6, (S, 0), 5);
}

fn open(world: &mut World) {
    world.flow(6, POD, OUTSIDE, EGRESS, (SA, SA), 5);
    world.flow(6, POD6, OUTSIDE6, EGRESS6, (SA, SA), 5);
}

fn back(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_OVERLAY, packet.eth("overlay", "stranger")).given(open).came_by("10.0.0.4 to-pod")
}

pub fn cases() -> Vec<Case> {
    vec![
        back("both ends open at once: the other SYN comes in", tcp(OUTSIDE, EGRESS, "S").mss(1460))
            .given(opening)
            .is("SENT_POD")
            .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 S mss=1410 ttl=63")
            .and(&[
                "- flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 S",
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 Sa",
                "- return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 S",
            ]),
        back("both ends open at once: the other SYN comes in, IPv6", tcp(OUTSIDE6, EGRESS6, "S").mss(1440))
            .given(opening)
            .is("SENT_POD")
            .leaves_as("host>pod tcp [2001:db8::9]:443>[fd00:10:244:1::10]:41000 S mss=1390 ttl=63")
            .and(&[
                "- flow tcp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 = [fd00:10:10::11]:2000 S",
                "+ flow tcp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 = [fd00:10:10::11]:2000 Sa",
                "- return tcp [2001:db8::9]:443>[fd00:10:10::11]:2000 = [fd00:10:244:1::10]:41000",
                "+ return tcp [2001:db8::9]:443>[fd00:10:10::11]:2000 = [fd00:10:244:1::10]:41000 S",
            ]),
        case("both ends open at once: the pod answers the other SYN", FROM_POD, tcp(POD, OUTSIDE, "SA"))
            .given(|w| w.flow(6, POD, OUTSIDE, EGRESS, (S, S), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 SA ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "- flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 S",
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 SA",
            ]),
        case("a SYN that is sent again has the same port", FROM_POD, tcp(POD6, OUTSIDE6, "S"))
            .given(opening)
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp [fd00:10:10::11]:2000>[2001:db8::9]:443 S ttl=63")
            .by("10.0.0.4 to-wire"),
        case("half closed: the pod still acknowledges", FROM_POD, tcp(POD, OUTSIDE, "A"))
            .given(|w| w.flow(6, POD, OUTSIDE, EGRESS, (SA | 1, SA), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 A ttl=63")
            .by("10.0.0.4 to-wire"),
        back("half closed: the other end still speaks", tcp(OUTSIDE, EGRESS, "PA").payload(99))
            .given(|w| w.flow(6, POD, OUTSIDE, EGRESS, (SA | 1, SA | 8), 5))
            .is("SENT_POD")
            .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 PA ttl=63"),
        back(
            "closed by both: a last FIN that is sent again",
            tcp(OUTSIDE, EGRESS, "FA").numbers(EXPECTED, 0),
        )
        .given(|w| w.flow(6, POD, OUTSIDE, EGRESS, (SA | 1, SA | 1), 0))
        .is("SENT_POD")
        .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 FA ttl=63")
        .and(&[
            "- flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 FSA",
            "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 FSAc",
        ]),
        back("a RST in the window, IPv6", tcp(OUTSIDE6, EGRESS6, "R").numbers(EXPECTED, 0))
            .is("SENT_POD")
            .leaves_as("host>pod tcp [2001:db8::9]:443>[fd00:10:244:1::10]:41000 R ttl=63")
            .and(&[
                "- flow tcp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 = [fd00:10:10::11]:2000 SA",
                "+ flow tcp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 = [fd00:10:10::11]:2000 SAc",
                "- return tcp [2001:db8::9]:443>[fd00:10:10::11]:2000 = [fd00:10:244:1::10]:41000 SA",
                "+ return tcp [2001:db8::9]:443>[fd00:10:10::11]:2000 = [fd00:10:244:1::10]:41000 SRA",
            ]),
        back("a RST before the window, IPv6", tcp(OUTSIDE6, EGRESS6, "RA").numbers(EXPECTED - 1, 0))
            .is("DROP_OUT_OF_WINDOW"),
        back("a RST where the numbers begin anew", tcp(OUTSIDE, EGRESS, "R").numbers(5, 0))
            .given(|w| {
                open(w);
                w.flows.values_mut().for_each(|flow| flow.expects = u32::MAX - 9);
            })
            .is("SENT_POD")
            .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 R ttl=63")
            .and(&[
                "- flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 SA",
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 SAc",
                "- return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 SA",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 SRA",
            ]),
        back("a SYN is refused without saying which", tcp(OUTSIDE, EGRESS, "R").numbers(EXPECTED, EXPECTED))
            .given(opening)
            .is("DROP_OUT_OF_WINDOW"),
        back("a SYN is refused, IPv6", tcp(OUTSIDE6, EGRESS6, "RA").numbers(0, EXPECTED))
            .given(opening)
            .is("SENT_POD")
            .leaves_as("host>pod tcp [2001:db8::9]:443>[fd00:10:244:1::10]:41000 RA ttl=63")
            .and(&[
                "- flow tcp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 = [fd00:10:10::11]:2000 S",
                "+ flow tcp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 = [fd00:10:10::11]:2000 Sc",
                "- return tcp [2001:db8::9]:443>[fd00:10:10::11]:2000 = [fd00:10:244:1::10]:41000",
                "+ return tcp [2001:db8::9]:443>[fd00:10:10::11]:2000 = [fd00:10:244:1::10]:41000 RA",
            ]),
        back("a RST to a port without a flow", tcp(OUTSIDE, "10.10.0.11:2001", "R")).is("DROP_NO_RETURN"),
        case(
            "after the other end's RST the pod may open the same connection anew",
            FROM_POD,
            tcp(POD, OUTSIDE, "S"),
        )
        .given(|w| w.flow(6, POD, OUTSIDE, EGRESS, (SA, SA | 4), 2))
        .is("SENT_OVERLAY")
        .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 S ttl=63")
        .by("10.0.0.4 to-wire")
        .and(&[
            "- flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 SA",
            "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 S",
            "- return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 SRA",
            "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
        ])
        .tells(&[
            "closed tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000",
            "opened tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000",
        ]),
    ]
}

//! A connection ends for us when it ends for its ends: a RST or FIN that the pod would not take says nothing (RFC 5961,
//! RFC 7857 section 2.2).

use crate::case::{Case, FROM_OVERLAY, FROM_POD, case};
use crate::packet::{Packet, tcp};
use crate::world::{EXPECTED, World};

const POD: &str = "10.244.1.10:41000";
const POD6: &str = "[fd00:10:244:1::10]:41000";
const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";
const EGRESS: &str = "10.10.0.11:2000";
const EGRESS6: &str = "[fd00:10:10::11]:2000";
const SA: u8 = 0x12;
const RST: u8 = 0x04;

fn established(world: &mut World) {
    world.flow(6, POD, OUTSIDE, EGRESS, (SA, SA), 5);
    world.flow(6, POD6, OUTSIDE6, EGRESS6, (SA, SA), 5);
}

fn back(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_OVERLAY, packet).came_by("10.0.0.4 to-pod").given(established)
}

fn reset(seq: u32) -> Packet {
    tcp(OUTSIDE, EGRESS, "R").numbers(seq, 0)
}

const ENDED: &[&str] = &[
    "- flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 SA",
    "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 SAc",
    "- return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 SA",
    "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 SRA",
];

pub fn cases() -> Vec<Case> {
    vec![
        back("a RST with the number that the pod expects", reset(EXPECTED))
            .is("SENT_POD")
            .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 R ttl=63")
            .and(ENDED),
        back("a RST at the end of the pod's window", reset(EXPECTED + 0xfffe))
            .is("SENT_POD")
            .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 R ttl=63")
            .and(ENDED),
        back("a RST beyond the pod's window", reset(EXPECTED + 0xffff)).is("DROP_OUT_OF_WINDOW"),
        back("a RST before what the pod expects", reset(EXPECTED - 1)).is("DROP_OUT_OF_WINDOW"),
        back("a RST beyond the pod's window, IPv6", tcp(OUTSIDE6, EGRESS6, "R").numbers(0x8000_0000, 0))
            .is("DROP_OUT_OF_WINDOW"),
        back("the pod's window is counted in its own units", reset(EXPECTED + 0x1_0000))
            .given(|w| {
                established(w);
                w.flows.values_mut().for_each(|flow| flow.scale = 7);
            })
            .is("SENT_POD")
            .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 R ttl=63")
            .and(ENDED),
        back("a FIN beyond the pod's window is carried and says nothing", {
            tcp(OUTSIDE, EGRESS, "FA").numbers(0x4000_0000, 0)
        })
        .is("SENT_POD")
        .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 FA ttl=63"),
        back("a FIN in the pod's window", tcp(OUTSIDE, EGRESS, "FA").numbers(EXPECTED, 0))
            .is("SENT_POD")
            .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 FA ttl=63")
            .and(&[
                "- flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 SA",
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 SAc",
                "- return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 SA",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 FSA",
            ]),
        back("a SYN is refused", tcp(OUTSIDE, EGRESS, "RA").numbers(0, EXPECTED))
            .given(|w| w.flow(6, POD, OUTSIDE, EGRESS, (0x02, 0), 5))
            .is("SENT_POD")
            .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 RA ttl=63")
            .and(&[
                "- flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 S",
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 Sc",
                "- return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 RA",
            ]),
        back("a SYN is refused by somebody who has not seen it", tcp(OUTSIDE, EGRESS, "RA").numbers(0, 77))
            .given(|w| w.flow(6, POD, OUTSIDE, EGRESS, (0x02, 0), 5))
            .is("DROP_OUT_OF_WINDOW"),
        back("who speaks on after a RST did not send it", tcp(OUTSIDE, EGRESS, "A"))
            .given(|w| w.flow(6, POD, OUTSIDE, EGRESS, (SA, SA | RST), 0))
            .is("SENT_POD")
            .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 A ttl=63")
            .and(&[
                "- return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 SRA",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 SA",
            ]),
        case("the pod's own RST", FROM_POD, tcp(POD, OUTSIDE, "R"))
            .given(established)
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 R ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "- flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 SA",
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 SRA",
            ]),
    ]
}

//! Packets of flows that are open: the mapping stays, whatever the plan says of new ones.

use crate::case::{Case, FROM_POD, case};
use crate::packet::{ping, tcp, udp};
use crate::world::{EGRESS, World, addr};

const POD: &str = "10.244.1.10:41000";
const POD6: &str = "[fd00:10:244:1::10]:41000";
const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";
const SA: u8 = 0x12;
const S: u8 = 0x02;
const FA: u8 = 0x11;
const OUT: &str = "underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 A ttl=63";

fn open(world: &mut World) {
    world.flow(6, POD, OUTSIDE, "10.10.0.11:2000", (SA, SA), 5);
}

pub fn cases() -> Vec<Case> {
    vec![
        case(
            "a connection of a pod that had the address before is not the new pod's",
            FROM_POD,
            tcp(POD, OUTSIDE, "A"),
        )
        .given(|w| {
            w.flow(6, POD, OUTSIDE, "10.10.0.11:2000", (0x12, 0x12), 5);
            w.flows.values_mut().for_each(|flow| flow.link += 1000);
        })
        .is("DROP_NO_FLOW")
        .and(&[
            "- flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 SA",
            "- return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 SA",
        ]),
        case("the pod goes on", FROM_POD, tcp(POD, OUTSIDE, "A"))
            .given(open)
            .is("SENT_OVERLAY")
            .leaves_as(OUT)
            .by("10.0.0.4 to-wire"),
        case("the pod goes on, IPv6", FROM_POD, tcp(POD6, OUTSIDE6, "PA").payload(9))
            .given(|w| w.flow(6, POD6, OUTSIDE6, "[fd00:10:10::11]:2000", (SA, SA), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp [fd00:10:10::11]:2000>[2001:db8::9]:443 PA ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "- flow tcp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 = [fd00:10:10::11]:2000 SA",
                "+ flow tcp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 = [fd00:10:10::11]:2000 SPA",
            ]),
        case("an idle flow is alive again", FROM_POD, udp(POD, OUTSIDE))
            .given(|w| w.flow(17, POD, OUTSIDE, "10.10.0.11:2000", (0, 0), 100))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "- flow udp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 idle",
                "+ flow udp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000",
            ]),
        case("the next ping", FROM_POD, ping("10.244.1.10", "198.51.100.9", 77))
            .given(|w| w.flow(1, "10.244.1.10:77", "198.51.100.9:0", "10.10.0.11:2000", (0, 0), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay ping 10.10.0.11>198.51.100.9 id=2000 ttl=63")
            .by("10.0.0.4 to-wire"),
        case("the gateway died and another took over", FROM_POD, tcp(POD, OUTSIDE, "A"))
            .given(|w| {
                open(w);
                w.each_egress(|egress| egress.gateway = addr("10.0.0.5").into());
            })
            .is("SENT_OVERLAY")
            .leaves_as(OUT)
            .by("10.0.0.5 to-wire"),
        case("no gateway is left", FROM_POD, tcp(POD, OUTSIDE, "A"))
            .given(|w| {
                open(w);
                w.each_egress(|egress| egress.path = 0);
            })
            .is("DROP_NO_GATEWAY"),
        case("the block was taken back from new flows", FROM_POD, tcp(POD, OUTSIDE, "A"))
            .given(|w| {
                open(w);
                w.each_egress(|egress| egress.block_count = 0);
            })
            .is("SENT_OVERLAY")
            .leaves_as(OUT)
            .by("10.0.0.4 to-wire"),
        case("the rule is gone, the flow is not", FROM_POD, tcp(POD, OUTSIDE, "A"))
            .given(|w| {
                open(w);
                w.rules.clear();
            })
            .is("SENT_OVERLAY")
            .leaves_as(OUT)
            .by("10.0.0.4 to-wire"),
        case("the address is gone", FROM_POD, tcp(POD, OUTSIDE, "A"))
            .given(|w| {
                open(w);
                w.egress.remove(&addr(EGRESS[0]));
            })
            .is("DROP_EGRESS_GONE"),
        case("the same ports again after both ends closed", FROM_POD, tcp(POD, OUTSIDE, "S"))
            .given(|w| w.flow(6, POD, OUTSIDE, "10.10.0.11:2000", (FA | S, FA | S), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 S ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "- flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 FSA",
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 S",
                "- return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 FSA",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
            ])
            .tells(&[
                "closed tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000",
                "opened tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000",
            ]),
        case("a segment size that fits stays", FROM_POD, tcp(POD, OUTSIDE, "S").mss(536))
            .given(|w| w.flow(6, POD, OUTSIDE, "10.10.0.11:2000", (S, 0), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 S mss=536 ttl=63")
            .by("10.0.0.4 to-wire"),
        case(
            "a segment size at an odd place",
            FROM_POD,
            tcp(POD, OUTSIDE, "S").options(&[1, 2, 4, 0x05, 0xb4, 3, 3, 7]),
        )
        .given(|w| w.flow(6, POD, OUTSIDE, "10.10.0.11:2000", (S, 0), 5))
        .is("SENT_OVERLAY")
        .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 S mss=1410 ttl=63")
        .by("10.0.0.4 to-wire"),
        case("UDP over IPv6 whose checksum would be zero half way", FROM_POD, zero_half_way())
            .given(|w| w.flow(17, POD6, OUTSIDE6, "[fd00:10:10::11]:2000", (0, 0), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp [fd00:10:10::11]:2000>[2001:db8::9]:443 ttl=63")
            .by("10.0.0.4 to-wire"),
        case("UDP whose checksum becomes zero is sent as ffff", FROM_POD, zero_at_the_end())
            .given(|w| w.flow(17, POD, OUTSIDE, "10.10.0.11:2000", (0, 0), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .by("10.0.0.4 to-wire"),
    ]
}

fn checksum_of(packet: &crate::packet::Packet, header: usize) -> u16 {
    let bytes = packet.bytes();
    u16::from_be_bytes([bytes[header + 6], bytes[header + 7]])
}

/// With the new address and the old port the sum is ffff, so that the checksum is zero for a moment.
fn zero_half_way() -> crate::packet::Packet {
    let half = checksum_of(&udp("[fd00:10:10::11]:41000", OUTSIDE6).word(8, 0), 54);
    udp(POD6, OUTSIDE6).word(8, half)
}

/// With the new address and port the sum is ffff.
fn zero_at_the_end() -> crate::packet::Packet {
    let whole = checksum_of(&udp("10.10.0.11:2000", OUTSIDE).word(8, 0), 34);
    udp(POD, OUTSIDE).word(8, whole)
}

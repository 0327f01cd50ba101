//! Who is told that a packet is refused, and when it is dropped in silence.

use super::{EGRESS, EGRESS6, OUTSIDE, OUTSIDE6, POD, POD6, flows};
use crate::case::{Case, FROM_OVERLAY, FROM_POD, FROM_UNDERLAY, FROM_WIRE, case};
use crate::packet::{Packet, other, ping, tcp, udp};
use crate::world::{addr, net};

const SCTP: u8 = 132;

fn of_pod(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_POD, packet).given(flows)
}

pub fn cases() -> Vec<Case> {
    vec![
        of_pod("no hop is left for a ping, IPv6", ping("fd00:10:244:1::10", "2001:db8::9", 77).ttl(1))
            .is("TOLD_TTL")
            .leaves_as(
                "host>pod error 3/0 fd00::1>fd00:10:244:1::10 \
                 about [ping fd00:10:244:1::10>2001:db8::9 id=77 ttl=1] ttl=64",
            ),
        of_pod("no hop is left for TCP, IPv6", tcp(POD6, OUTSIDE6, "A").ttl(1))
            .is("TOLD_TTL")
            .leaves_as(
                "host>pod error 3/0 fd00::1>fd00:10:244:1::10 \
                 about [tcp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 A ttl=1] ttl=64",
            ),
        of_pod("TCP larger than the overlay carries", tcp(POD, OUTSIDE, "A").payload(1411).dont_fragment())
            .is("TOLD_TOO_BIG")
            .leaves_as(
                "host>pod error 3/4 mtu=1450 10.0.0.1>10.244.1.10 \
                 about [tcp 10.244.1.10:41000>198.51.100.9:443 A ttl=64] ttl=64",
            ),
        of_pod("TCP as large as the overlay carries", tcp(POD, OUTSIDE, "A").payload(1410).dont_fragment())
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 A ttl=63")
            .by("10.0.0.4 to-wire"),
        of_pod(
            "a ping larger than the overlay carries, IPv6",
            ping("fd00:10:244:1::10", "2001:db8::9", 77).payload(1395),
        )
        .is("TOLD_TOO_BIG")
        .leaves_as(
            "host>pod error 2/0 mtu=1450 fd00::1>fd00:10:244:1::10 \
             about [ping fd00:10:244:1::10>2001:db8::9 id=77 ttl=64] ttl=64",
        ),
        of_pod("larger than the link to the gateway carries", udp(POD, OUTSIDE).payload(1600).dont_fragment())
            .given(|w| {
                flows(w);
                let underlay = w.on.underlay;
                w.each_egress(|egress| {
                    egress.path = egret_datapath::layout::PATH_LINK;
                    egress.link = underlay;
                    egress.gateway = addr("10.0.0.5").into();
                });
            })
            .is("TOLD_TOO_BIG")
            .leaves_as(
                "host>pod error 3/4 mtu=1500 10.0.0.1>10.244.1.10 \
                 about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=64",
            ),
        of_pod("SCTP cannot share an address", other("10.244.1.10", "198.51.100.9", SCTP))
            .is("TOLD_PROTOCOL")
            .leaves_as("host>pod error 3/2 10.0.0.1>10.244.1.10 about [ip 10.244.1.10>198.51.100.9 ttl=64] ttl=64"),
        of_pod("SCTP cannot share an address, IPv6", other("fd00:10:244:1::10", "2001:db8::9", SCTP))
            .is("TOLD_PROTOCOL")
            .leaves_as(
                "host>pod error 1/1 fd00::1>fd00:10:244:1::10 about [ip fd00:10:244:1::10>2001:db8::9 ttl=64] ttl=64",
            ),
        of_pod("no more than 128 bytes are quoted", udp(POD, OUTSIDE).payload(900).ttl(1).no_checksum())
            .is("TOLD_TTL")
            .leaves_as(
                "host>pod error 11/0 10.0.0.1>10.244.1.10 \
                 about [unchecked udp 10.244.1.10:41000>198.51.100.9:443 ttl=1] ttl=64",
            ),
        of_pod("nobody is told about a packet to a group", udp(POD, "239.1.2.3:5000").ttl(1))
            .given(|w| {
                let all = vec![(0, 0, 65535, Some(addr("10.10.0.11")))];
                w.rules.insert((crate::world::RULES, net("239.0.0.0/8")), all);
                w.flow(17, POD, "239.1.2.3:5000", EGRESS, (0, 0), 5);
            })
            .is("DROP_TTL"),
        of_pod("nobody is told about a later fragment", udp(POD, OUTSIDE).fragment(2, false).ttl(1))
            .given(|w| {
                flows(w);
                w.piece(egret_datapath::layout::FRAGMENT_OF_POD, "10.244.1.10", "198.51.100.9", 7, "10.10.0.11", 5);
            })
            .is("DROP_TTL"),
        of_pod("a first fragment without a hop left", udp(POD, OUTSIDE).fragment(0, true).ttl(1))
            .is("TOLD_TTL")
            .leaves_as(
                "host>pod error 11/0 10.0.0.1>10.244.1.10 \
                 about [piece 0+ 10.244.1.10:41000>198.51.100.9:443 ttl=1] ttl=64",
            ),
        of_pod("the node has no IPv6 address to tell it from", udp(POD6, OUTSIDE6).ttl(1))
            .given(|w| {
                flows(w);
                w.settings.hop6 = Default::default();
            })
            .is("DROP_TTL"),
        of_pod("no gateway is left: nothing is said", udp(POD, OUTSIDE))
            .given(|w| {
                flows(w);
                w.each_egress(|egress| egress.path = 0);
            })
            .is("DROP_NO_GATEWAY"),
        case("a ping without a hop left at the gateway", FROM_OVERLAY, ping("10.10.0.11", "198.51.100.9", 2000).ttl(1))
            .given(|w| w.gateway())
            .came_by("10.0.0.4 to-wire")
            .is("TOLD_TTL")
            .leaves_as(
                "underlay>overlay error 11/0 10.0.0.1>10.10.0.11 \
                 about [ping 10.10.0.11>198.51.100.9 id=2000 ttl=1] ttl=64",
            )
            .by("10.0.0.4 to-pod"),
        case("larger than the wire carries, from a neighbour", FROM_UNDERLAY, {
            udp("10.10.0.11:2001", OUTSIDE).payload(1600).dont_fragment().eth("underlay", "node5")
        })
        .given(|w| w.gateway())
        .is("TOLD_TOO_BIG")
        .leaves_as(
            "underlay>node5 error 3/4 mtu=1500 10.0.0.1>10.10.0.11 \
             about [udp 10.10.0.11:2001>198.51.100.9:443 ttl=64] ttl=64",
        ),
        case("what the gateway tells reaches the pod", FROM_OVERLAY, {
            crate::packet::too_big("10.0.0.4", "10.10.0.11", 1400, udp(EGRESS, OUTSIDE).ttl(63))
        })
        .given(flows)
        .came_by("10.0.0.4 to-pod")
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 3/4 mtu=1400 10.0.0.4>10.244.1.10 \
             about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=63] ttl=63",
        ),
        case("from outside, no hop is left, IPv6", FROM_WIRE, udp(OUTSIDE6, EGRESS6).ttl(1).eth("wire", "router"))
            .given(|w| w.gateway())
            .is("TOLD_TTL")
            .leaves_as(
                "wire>router error 3/0 fd00::1>2001:db8::9 \
                 about [udp [2001:db8::9]:443>[fd00:10:10::11]:2000 ttl=1] ttl=64",
            ),
        case("an answer larger than the link to the node carries", FROM_WIRE, {
            udp(OUTSIDE, "10.10.0.11:2001").payload(1600).dont_fragment().eth("wire", "router")
        })
        .given(|w| w.gateway())
        .is("TOLD_TOO_BIG")
        .leaves_as(
            "wire>router error 3/4 mtu=1500 10.0.0.1>198.51.100.9 \
             about [udp 198.51.100.9:443>10.10.0.11:2001 ttl=64] ttl=64",
        ),
    ]
}

//! Errors of routers and pods about packets that were translated: what they quote is turned back, whatever it is, and the
//! flow does not notice.

use super::{EGRESS, EGRESS6, OUTSIDE, OUTSIDE6, POD, POD6, flows};
use crate::case::{Case, FROM_OVERLAY, FROM_POD, FROM_WIRE, case};
use crate::packet::{Packet, ping, pong, tcp, too_big, udp, unreachable};

const ROUTER: &str = "198.51.100.1";
const ROUTER6: &str = "2001:db8::1";
const DESTINATION_OPTIONS: u8 = 60;

/// A router's error, met at the pod's node.
fn about(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_OVERLAY, packet).given(flows).came_by("10.0.0.4 to-pod")
}

fn from_router(quoted: Packet) -> Packet {
    unreachable(ROUTER, "10.10.0.11", quoted)
}

fn from_router6(quoted: Packet) -> Packet {
    unreachable(ROUTER6, "fd00:10:10::11", quoted)
}

/// The same error of another type and code.
fn as_kind(packet: Packet, kind: u8, code: u8) -> Packet {
    packet.word(0, u16::from_be_bytes([kind, code]))
}

/// IP header and eight bytes, which is all that old routers quote.
fn least(packet: Packet) -> Packet {
    packet.cut(14 + 20 + 8)
}

pub fn cases() -> Vec<Case> {
    [of_routers(), cut_short(), of_pods(), of_no_use()].into_iter().flatten().collect()
}

fn of_routers() -> Vec<Case> {
    vec![
        about(
            "traceroute: a router where no hop is left",
            as_kind(from_router(udp(EGRESS, OUTSIDE).ttl(1)), 11, 0),
        )
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 11/0 198.51.100.1>10.244.1.10 \
                 about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=1] ttl=63",
        ),
        about(
            "traceroute by ping",
            as_kind(from_router(ping("10.10.0.11", "198.51.100.9", 2000).ttl(1)), 11, 0),
        )
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 11/0 198.51.100.1>10.244.1.10 \
                 about [ping 10.244.1.10>198.51.100.9 id=77 ttl=1] ttl=63",
        ),
        about("traceroute by TCP, IPv6", as_kind(from_router6(tcp(EGRESS6, OUTSIDE6, "S").ttl(1)), 3, 0))
            .is("SENT_POD")
            .leaves_as(
                "host>pod error 3/0 2001:db8::1>fd00:10:244:1::10 \
                 about [tcp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 S ttl=1] ttl=63",
            ),
        about("pieces that were waited for in vain", as_kind(from_router(udp(EGRESS, OUTSIDE)), 11, 1))
            .is("SENT_POD")
            .leaves_as(
                "host>pod error 11/1 198.51.100.1>10.244.1.10 \
                 about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=63",
            ),
        about("a header that a router does not like", as_kind(from_router(tcp(EGRESS, OUTSIDE, "A")), 12, 0))
            .is("SENT_POD")
            .leaves_as(
                "host>pod error 12/0 198.51.100.1>10.244.1.10 \
                 about [tcp 10.244.1.10:41000>198.51.100.9:443 A ttl=64] ttl=63",
            ),
        about(
            "a header that a router does not like, IPv6",
            as_kind(from_router6(udp(EGRESS6, OUTSIDE6)), 4, 1),
        )
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 4/1 2001:db8::1>fd00:10:244:1::10 \
                 about [udp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 ttl=64] ttl=63",
        ),
        about("a host that is not there", as_kind(from_router(tcp(EGRESS, OUTSIDE, "S")), 3, 1))
            .is("SENT_POD")
            .leaves_as(
                "host>pod error 3/1 198.51.100.1>10.244.1.10 \
                 about [tcp 10.244.1.10:41000>198.51.100.9:443 S ttl=64] ttl=63",
            ),
        about("a filter outside", as_kind(from_router6(tcp(EGRESS6, OUTSIDE6, "S")), 1, 1))
            .is("SENT_POD")
            .leaves_as(
                "host>pod error 1/1 2001:db8::1>fd00:10:244:1::10 \
                 about [tcp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 S ttl=64] ttl=63",
            ),
        about(
            "a path's MTU for a ping, IPv6",
            too_big(ROUTER6, "fd00:10:10::11", 1280, ping("fd00:10:10::11", "2001:db8::9", 2000)),
        )
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 2/0 mtu=1280 2001:db8::1>fd00:10:244:1::10 \
             about [ping fd00:10:244:1::10>2001:db8::9 id=77 ttl=64] ttl=63",
        ),
        about(
            "an error of the remote end itself",
            unreachable("198.51.100.9", "10.10.0.11", udp(EGRESS, OUTSIDE)),
        )
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 3/3 198.51.100.9>10.244.1.10 \
                 about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=63",
        ),
        about(
            "an error of an address that nobody routes",
            unreachable("192.168.7.7", "10.10.0.11", udp(EGRESS, OUTSIDE)),
        )
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 3/3 192.168.7.7>10.244.1.10 \
                 about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=63",
        ),
        about("an error wakes no idle flow", from_router(udp(EGRESS, OUTSIDE)))
            .given(|w| w.flow(17, POD, OUTSIDE, EGRESS, (0, 0), 90))
            .is("SENT_POD")
            .leaves_as(
                "host>pod error 3/3 198.51.100.1>10.244.1.10 \
                 about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=63",
            ),
        case(
            "an error goes to the node of the quoted id, IPv6",
            FROM_WIRE,
            from_router6(ping("fd00:10:10::11", "2001:db8::9", 2000)),
        )
        .given(|w| w.gateway())
        .is("SENT_NODE")
        .leaves_as(
            "underlay>overlay error 1/4 2001:db8::1>fd00:10:10::11 \
                 about [ping fd00:10:10::11>2001:db8::9 id=2000 ttl=64] ttl=63",
        )
        .by("10.0.0.4 to-pod"),
    ]
}

fn cut_short() -> Vec<Case> {
    vec![
        about(
            "an error that quotes eight bytes of TCP",
            from_router(least(tcp(EGRESS, OUTSIDE, "A").payload(500))),
        )
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 3/3 198.51.100.1>10.244.1.10 \
                 about [cut tcp 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=63",
        ),
        about(
            "an error that quotes eight bytes of UDP",
            from_router(least(udp(EGRESS, OUTSIDE).payload(500))),
        )
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 3/3 198.51.100.1>10.244.1.10 \
                 about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=63",
        ),
        about(
            "an error that quotes eight bytes of a ping",
            from_router(least(ping("10.10.0.11", "198.51.100.9", 2000))),
        )
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 3/3 198.51.100.1>10.244.1.10 \
                 about [ping 10.244.1.10>198.51.100.9 id=77 ttl=64] ttl=63",
        ),
        about(
            "an error that quotes eight bytes of TCP, IPv6",
            from_router6(tcp(EGRESS6, OUTSIDE6, "A").cut(14 + 40 + 8)),
        )
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 1/4 2001:db8::1>fd00:10:244:1::10 \
                 about [cut tcp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 ttl=64] ttl=63",
        ),
        about(
            "an error that quotes seven bytes, IPv6",
            from_router6(udp(EGRESS6, OUTSIDE6).cut(14 + 40 + 7)),
        )
        .is("DROP_MALFORMED"),
        about("an error that quotes no more than addresses", from_router(udp(EGRESS, OUTSIDE).cut(14 + 20)))
            .is("DROP_MALFORMED"),
        about("an error that quotes half an address", from_router(udp(EGRESS, OUTSIDE).cut(14 + 14)))
            .is("DROP_MALFORMED"),
        about("an error that quotes nothing", from_router(udp(EGRESS, OUTSIDE).cut(14))).is("DROP_MALFORMED"),
        case("eight bytes of TCP at the gateway", FROM_WIRE, from_router(least(tcp(EGRESS, OUTSIDE, "A"))))
            .given(|w| w.gateway())
            .is("SENT_NODE")
            .leaves_as(
                "underlay>overlay error 3/3 198.51.100.1>10.10.0.11 \
                 about [cut tcp 10.10.0.11:2000>198.51.100.9:443 ttl=64] ttl=63",
            )
            .by("10.0.0.4 to-pod"),
        about(
            "an error that quotes IP options",
            from_router(udp(EGRESS, OUTSIDE).ip_options(&[0x94, 4, 0, 0, 7, 7, 4, 10, 9, 8, 7, 0])),
        )
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 3/3 198.51.100.1>10.244.1.10 \
             about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=63",
        ),
        about(
            "an error that quotes an extension header",
            from_router6(udp(EGRESS6, OUTSIDE6).extension(DESTINATION_OPTIONS, 1)),
        )
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 1/4 2001:db8::1>fd00:10:244:1::10 \
             about [udp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 ttl=64] ttl=63",
        ),
        about("an error that quotes a first fragment", from_router(udp(EGRESS, OUTSIDE).fragment(0, true)))
            .is("SENT_POD")
            .leaves_as(
                "host>pod error 3/3 198.51.100.1>10.244.1.10 \
                 about [piece 0+ 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=63",
            ),
        about(
            "an error that quotes a later fragment, IPv6",
            from_router6(udp(EGRESS6, OUTSIDE6).fragment(3, false)),
        )
        .is("DROP_ICMP_UNMATCHED"),
        about(
            "an error whose checksum is wrong is not mended",
            from_router(udp(EGRESS, OUTSIDE)).no_checksum(),
        )
        .is("SENT_POD")
        .leaves_as(
            "host>pod BAD-CHECKSUM error 3/3 198.51.100.1>10.244.1.10 \
                 about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=63",
        ),
    ]
}

fn of_pods() -> Vec<Case> {
    let of_pod = |name: &'static str, packet: Packet| case(name, FROM_POD, packet).given(flows);
    vec![
        of_pod(
            "a pod's error that quotes eight bytes",
            unreachable("10.244.1.10", "198.51.100.9", least(tcp(OUTSIDE, POD, "A"))),
        )
        .is("SENT_OVERLAY")
        .leaves_as(
            "underlay>overlay error 3/3 10.10.0.11>198.51.100.9 \
                 about [cut tcp 198.51.100.9:443>10.10.0.11:2000 ttl=64] ttl=63",
        )
        .by("10.0.0.4 to-wire"),
        of_pod(
            "a pod's error about an answer to its ping",
            unreachable("10.244.1.10", "198.51.100.9", pong("198.51.100.9", "10.244.1.10", 77)),
        )
        .is("SENT_OVERLAY")
        .leaves_as(
            "underlay>overlay error 3/3 10.10.0.11>198.51.100.9 \
             about [pong 198.51.100.9>10.10.0.11 id=2000 ttl=64] ttl=63",
        )
        .by("10.0.0.4 to-wire"),
        of_pod(
            "a pod's error about a packet of another pod",
            unreachable("10.244.1.10", "198.51.100.9", udp(OUTSIDE, "10.244.1.11:41000")),
        )
        .given(|w| {
            flows(w);
            w.flow(17, "10.244.1.11:41000", OUTSIDE, "10.10.0.11:2001", (0, 0), 5);
        })
        .is("DROP_ICMP_UNMATCHED"),
        of_pod(
            "a pod's error wakes no idle flow",
            unreachable("fd00:10:244:1::10", "2001:db8::9", udp(OUTSIDE6, POD6)),
        )
        .given(|w| w.flow(17, POD6, OUTSIDE6, EGRESS6, (0, 0), 90))
        .is("SENT_OVERLAY")
        .leaves_as(
            "underlay>overlay error 1/4 fd00:10:10::11>2001:db8::9 \
                 about [udp [2001:db8::9]:443>[fd00:10:10::11]:2000 ttl=64] ttl=63",
        )
        .by("10.0.0.4 to-wire"),
    ]
}

fn of_no_use() -> Vec<Case> {
    vec![
        about("an error about no flow, IPv6", from_router6(udp("[fd00:10:10::11]:2999", OUTSIDE6)))
            .is("DROP_ICMP_UNMATCHED"),
        about("an error about no flow of TCP", from_router(tcp(EGRESS, "198.51.100.10:443", "A")))
            .is("DROP_ICMP_UNMATCHED"),
        about("an error about a ping that nobody sent", from_router(ping("10.10.0.11", "198.51.100.9", 78)))
            .is("DROP_ICMP_UNMATCHED"),
        about(
            "an error about a flow of another address",
            unreachable(ROUTER, "10.10.0.12", udp(EGRESS, OUTSIDE)),
        )
        .is("DROP_ICMP_UNMATCHED"),
        about("a redirect is nobody's", as_kind(from_router(udp(EGRESS, OUTSIDE)), 5, 1))
            .is("DROP_NO_RETURN"),
        about("a source quench is nobody's", as_kind(from_router(udp(EGRESS, OUTSIDE)), 4, 0))
            .is("DROP_NO_RETURN"),
        about("a time stamp is nobody's", as_kind(pong("198.51.100.9", "10.10.0.11", 2000), 14, 0))
            .is("DROP_NO_RETURN"),
    ]
}

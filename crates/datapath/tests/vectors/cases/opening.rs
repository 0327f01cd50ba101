//! The first packet of a flow.

use crate::case::{Case, FROM_POD, case};
use crate::kernel::MOST_FLOWS;
use crate::packet::{ping, pong, tcp, udp};
use crate::world::{EGRESS, addr, net};

const POD: &str = "10.244.1.10:41000";
const POD6: &str = "[fd00:10:244:1::10]:41000";
const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";
const DESTINATION_OPTIONS: u8 = 60;

pub fn cases() -> Vec<Case> {
    vec![
        case("TCP", FROM_POD, tcp(POD, OUTSIDE, "S").mss(1460))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 S mss=1410 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 S",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
            ]),
        case("TCP, IPv6", FROM_POD, tcp(POD6, OUTSIDE6, "S").mss(1440))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp [fd00:10:10::11]:2000>[2001:db8::9]:443 S mss=1390 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow tcp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 = [fd00:10:10::11]:2000 S",
                "+ return tcp [2001:db8::9]:443>[fd00:10:10::11]:2000 = [fd00:10:244:1::10]:41000",
            ]),
        case("UDP", FROM_POD, udp(POD, OUTSIDE))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow udp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000",
                "+ mapping udp 10.244.1.10:41000 = 10.10.0.11:2000 of 1",
                "+ return udp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
            ]),
        case(
            "UDP, IPv6, behind an extension header",
            FROM_POD,
            udp(POD6, OUTSIDE6).extension(DESTINATION_OPTIONS, 2),
        )
        .is("SENT_OVERLAY")
        .leaves_as("underlay>overlay udp [fd00:10:10::11]:2000>[2001:db8::9]:443 ttl=63")
        .by("10.0.0.4 to-wire")
        .and(&[
            "+ flow udp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 = [fd00:10:10::11]:2000",
            "+ mapping udp [fd00:10:244:1::10]:41000 = [fd00:10:10::11]:2000 of 1",
            "+ return udp [2001:db8::9]:443>[fd00:10:10::11]:2000 = [fd00:10:244:1::10]:41000",
        ]),
        case("UDP that carries no checksum goes on without", FROM_POD, udp(POD, OUTSIDE).no_checksum())
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay unchecked udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow udp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000",
                "+ mapping udp 10.244.1.10:41000 = 10.10.0.11:2000 of 1",
                "+ return udp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
            ]),
        case("ping", FROM_POD, ping("10.244.1.10", "198.51.100.9", 77))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay ping 10.10.0.11>198.51.100.9 id=2000 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow ping 10.244.1.10:77>198.51.100.9:0 = 10.10.0.11:2000",
                "+ mapping ping 10.244.1.10:77 = 10.10.0.11:2000 of 1",
                "+ return ping 198.51.100.9:0>10.10.0.11:2000 = 10.244.1.10:77",
            ]),
        case("ping, IPv6", FROM_POD, ping("fd00:10:244:1::10", "2001:db8::9", 77))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay ping fd00:10:10::11>2001:db8::9 id=2000 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow ping [fd00:10:244:1::10]:77>[2001:db8::9]:0 = [fd00:10:10::11]:2000",
                "+ mapping ping [fd00:10:244:1::10]:77 = [fd00:10:10::11]:2000 of 1",
                "+ return ping [2001:db8::9]:0>[fd00:10:10::11]:2000 = [fd00:10:244:1::10]:77",
            ]),
        case("a rule for one port", FROM_POD, tcp(POD, "203.0.113.7:443", "S"))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>203.0.113.7:443 S ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow tcp 10.244.1.10:41000>203.0.113.7:443 = 10.10.0.11:2000 S",
                "+ return tcp 203.0.113.7:443>10.10.0.11:2000 = 10.244.1.10:41000",
            ]),
        case("the longest prefix decides", FROM_POD, tcp(POD, OUTSIDE, "S"))
            .given(|w| {
                w.rules.insert((crate::world::RULES, net("198.51.100.9/32")), vec![(0, 0, 65535, None)]);
            })
            .is("PASS_ORDINARY"),
        case("TCP: a port in use towards one remote end serves another", FROM_POD, tcp(POD, OUTSIDE, "S"))
            .given(|w| w.flow(6, "10.244.1.10:9", "198.51.100.10:443", "10.10.0.11:2000", (0, 0), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 S ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 S",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
            ]),
        case("each port of the block is tried", FROM_POD, udp(POD, OUTSIDE))
            .given(|w| {
                w.each_egress(|egress| {
                    egress.shift = 5;
                    egress.blocks[0] = 2016;
                });
                for port in (2016..2048).filter(|port| *port != 2031) {
                    w.flow(
                        17,
                        &format!("10.244.1.10:{port}"),
                        OUTSIDE,
                        &format!("10.10.0.11:{port}"),
                        (0, 0),
                        5,
                    );
                }
            })
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp 10.10.0.11:2031>198.51.100.9:443 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow udp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2031",
                "+ mapping udp 10.244.1.10:41000 = 10.10.0.11:2031 of 1",
                "+ return udp 198.51.100.9:443>10.10.0.11:2031 = 10.244.1.10:41000",
            ]),
        case("the pod has all the flows that a pod may have", FROM_POD, tcp(POD, OUTSIDE, "S"))
            .given(|w| {
                w.settings.pod_flows = 3;
                w.pod_flows.insert(addr("10.244.1.10"), 3);
            })
            .is("DROP_POD_FLOWS"),
        case("one fewer", FROM_POD, tcp(POD, OUTSIDE, "S"))
            .given(|w| {
                w.settings.pod_flows = 3;
                w.pod_flows.insert(addr("10.244.1.10"), 2);
                w.pod_flows.insert(addr("10.244.1.11"), 3);
            })
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 S ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 S",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
            ]),
        case("the table of flows is full", FROM_POD, tcp(POD, OUTSIDE, "S"))
            .given(|w| {
                for port in 1..=MOST_FLOWS {
                    let pod = format!("10.244.1.10:{port}");
                    w.flow(17, &pod, &format!("198.51.100.77:{port}"), "10.10.0.11:2000", (0, 0), 5);
                }
            })
            .is("DROP_FLOWS_FULL"),
        case("the table of flows is full, that of returns is not", FROM_POD, tcp(POD, OUTSIDE, "S"))
            .given(|w| {
                for port in 1..=MOST_FLOWS {
                    let pod = format!("10.244.1.10:{port}");
                    w.flow(17, &pod, &format!("198.51.100.77:{port}"), "10.10.0.11:2000", (0, 0), 5);
                }
                w.returns.clear();
            })
            .is("DROP_FLOWS_FULL"),
        case("the node has no block of the address", FROM_POD, udp(POD, OUTSIDE))
            .given(|w| w.each_egress(|egress| egress.block_count = 0))
            .is("DROP_NO_BLOCK"),
        case("no gateway of the address is alive", FROM_POD, tcp(POD, OUTSIDE, "S"))
            .given(|w| w.each_egress(|egress| egress.path = 0))
            .is("DROP_NO_GATEWAY"),
        case("a rule names an address that the node does not have", FROM_POD, tcp(POD, OUTSIDE, "S"))
            .given(|w| {
                w.egress.remove(&addr(EGRESS[0]));
            })
            .is("DROP_EGRESS_GONE"),
        case("TCP in mid-flow without a flow", FROM_POD, tcp(POD, OUTSIDE, "A")).is("DROP_NO_FLOW"),
        case("an answer to a SYN that nobody saw", FROM_POD, tcp(POD, OUTSIDE, "SA")).is("DROP_NO_FLOW"),
        case("an answer to a ping that nobody saw", FROM_POD, pong("10.244.1.10", "198.51.100.9", 7))
            .is("DROP_NO_FLOW"),
        case(
            "a fragment to ports of which one has a rule",
            FROM_POD,
            udp(POD, "203.0.113.7:9").fragment(2, false),
        )
        .is("DROP_FRAGMENT"),
        case("a fragment that no rule can be for", FROM_POD, udp(POD, "192.0.2.9:9").fragment(2, false))
            .is("PASS_ORDINARY"),
    ]
}

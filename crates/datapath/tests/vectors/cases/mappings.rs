//! UDP and ICMP echo: one egress port towards everybody, and no other pod's (RFC 4787 REQ-1 to REQ-3, RFC 5508 REQ-1).

use crate::case::{Case, FROM_OVERLAY, FROM_POD, case};
use crate::packet::{ping, udp};

const POD: &str = "10.244.1.10:41000";
const POD6: &str = "[fd00:10:244:1::10]:41000";
const FIRST: &str = "198.51.100.9:443";
const FIRST6: &str = "[2001:db8::9]:443";
const EGRESS: &str = "10.10.0.11:2000";
const EGRESS6: &str = "[fd00:10:10::11]:2000";

pub fn cases() -> Vec<Case> {
    vec![
        case("another remote end sees the same port", FROM_POD, udp(POD, "198.51.100.10:53"))
            .given(|w| w.flow(17, POD, FIRST, EGRESS, (0, 0), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp 10.10.0.11:2000>198.51.100.10:53 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow udp 10.244.1.10:41000>198.51.100.10:53 = 10.10.0.11:2000",
                "+ return udp 198.51.100.10:53>10.10.0.11:2000 = 10.244.1.10:41000",
                "- mapping udp 10.244.1.10:41000 = 10.10.0.11:2000 of 1",
                "+ mapping udp 10.244.1.10:41000 = 10.10.0.11:2000 of 2",
            ]),
        case("another remote end sees the same port, IPv6", FROM_POD, udp(POD6, "[2001:db8::10]:53"))
            .given(|w| w.flow(17, POD6, FIRST6, EGRESS6, (0, 0), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp [fd00:10:10::11]:2000>[2001:db8::10]:53 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow udp [fd00:10:244:1::10]:41000>[2001:db8::10]:53 = [fd00:10:10::11]:2000",
                "+ return udp [2001:db8::10]:53>[fd00:10:10::11]:2000 = [fd00:10:244:1::10]:41000",
                "- mapping udp [fd00:10:244:1::10]:41000 = [fd00:10:10::11]:2000 of 1",
                "+ mapping udp [fd00:10:244:1::10]:41000 = [fd00:10:10::11]:2000 of 2",
            ]),
        case("another remote end sees the same echo id", FROM_POD, ping("10.244.1.10", "198.51.100.10", 77))
            .given(|w| w.flow(1, "10.244.1.10:77", "198.51.100.9:0", EGRESS, (0, 0), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay ping 10.10.0.11>198.51.100.10 id=2000 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow ping 10.244.1.10:77>198.51.100.10:0 = 10.10.0.11:2000",
                "+ return ping 198.51.100.10:0>10.10.0.11:2000 = 10.244.1.10:77",
                "- mapping ping 10.244.1.10:77 = 10.10.0.11:2000 of 1",
                "+ mapping ping 10.244.1.10:77 = 10.10.0.11:2000 of 2",
            ]),
        case("a port that is kept though its flows are gone", FROM_POD, udp(POD, FIRST))
            .given(|w| {
                w.flow(17, POD, FIRST, EGRESS, (0, 0), 5);
                w.flows.clear();
                w.returns.clear();
                w.mappings.values_mut().for_each(|mapping| mapping.flows = 0);
            })
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow udp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000",
                "+ return udp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
                "- mapping udp 10.244.1.10:41000 = 10.10.0.11:2000 of 0",
                "+ mapping udp 10.244.1.10:41000 = 10.10.0.11:2000 of 1",
            ]),
        case("a port of one protocol is free for another", FROM_POD, ping("10.244.1.10", "198.51.100.9", 77))
            .given(|w| w.flow(17, POD, FIRST, EGRESS, (0, 0), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay ping 10.10.0.11>198.51.100.9 id=2000 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow ping 10.244.1.10:77>198.51.100.9:0 = 10.10.0.11:2000",
                "+ return ping 198.51.100.9:0>10.10.0.11:2000 = 10.244.1.10:77",
                "+ mapping ping 10.244.1.10:77 = 10.10.0.11:2000 of 1",
            ]),
        case("who was not spoken to is not let in", FROM_OVERLAY, udp("198.51.100.10:53", EGRESS))
            .given(|w| w.flow(17, POD, FIRST, EGRESS, (0, 0), 5))
            .came_by("10.0.0.4 to-pod")
            .is("DROP_NO_RETURN"),
        case("nor from another port", FROM_OVERLAY, udp("198.51.100.9:444", EGRESS))
            .given(|w| w.flow(17, POD, FIRST, EGRESS, (0, 0), 5))
            .came_by("10.0.0.4 to-pod")
            .is("DROP_NO_RETURN"),
    ]
}

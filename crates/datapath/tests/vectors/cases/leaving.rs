//! The way out: wire, overlay, or a neighbour on the link.

use egret_datapath::layout::{PATH_LINK, PATH_WIRE};

use crate::case::{Case, FROM_POD, case};
use crate::packet::{tcp, udp};
use crate::world::{World, addr};

const POD: &str = "10.244.1.10:41000";
const POD6: &str = "[fd00:10:244:1::10]:41000";
const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";

const FLOW: &[&str] = &[
    "+ flow udp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000",
    "+ mapping udp 10.244.1.10:41000 = 10.10.0.11:2000 of 1",
    "+ return udp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
];
const FLOW6: &[&str] = &[
    "+ flow udp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 = [fd00:10:10::11]:2000",
    "+ mapping udp [fd00:10:244:1::10]:41000 = [fd00:10:10::11]:2000 of 1",
    "+ return udp [2001:db8::9]:443>[fd00:10:10::11]:2000 = [fd00:10:244:1::10]:41000",
];

fn by_wire(world: &mut World) {
    let wire = world.on.wire;
    world.each_egress(|egress| {
        egress.path = PATH_WIRE;
        egress.link = wire;
    });
}

pub fn cases() -> Vec<Case> {
    vec![
        case("the node is the gateway", FROM_POD, udp(POD, OUTSIDE))
            .given(by_wire)
            .is("SENT_WIRE")
            .leaves_as("wire>router udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .and(FLOW),
        case("the node is the gateway, IPv6", FROM_POD, udp(POD6, OUTSIDE6))
            .given(by_wire)
            .is("SENT_WIRE")
            .leaves_as("wire>router udp [fd00:10:10::11]:2000>[2001:db8::9]:443 ttl=63")
            .and(FLOW6),
        case("a neighbour of the wire that the kernel must resolve", FROM_POD, udp(POD, "10.10.0.200:443"))
            .given(|w| {
                by_wire(w);
                let all = vec![(0, 0, 65535, Some(addr("10.10.0.11")))];
                w.rules.insert((crate::world::RULES, crate::world::net("10.10.0.0/24")), all);
            })
            .is("SENT_WIRE")
            .leaves_as("pod>host udp 10.10.0.11:2000>10.10.0.200:443 ttl=63")
            .and(&[
                "+ flow udp 10.244.1.10:41000>10.10.0.200:443 = 10.10.0.11:2000",
                "+ mapping udp 10.244.1.10:41000 = 10.10.0.11:2000 of 1",
                "+ return udp 10.10.0.200:443>10.10.0.11:2000 = 10.244.1.10:41000",
            ]),
        case("a gateway on the same link", FROM_POD, udp(POD, OUTSIDE))
            .given(|w| {
                let underlay = w.on.underlay;
                w.each_egress(|egress| {
                    egress.path = PATH_LINK;
                    egress.link = underlay;
                    egress.gateway = addr("10.0.0.5").into();
                });
            })
            .is("SENT_LINK")
            .leaves_as("underlay>node5 udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .and(FLOW),
        case("a gateway on the same link, IPv6", FROM_POD, udp(POD6, OUTSIDE6))
            .given(|w| {
                let underlay = w.on.underlay;
                w.each_egress(|egress| {
                    egress.path = PATH_LINK;
                    egress.link = underlay;
                    egress.gateway = addr("10.0.0.5").into();
                });
            })
            .is("SENT_LINK")
            .leaves_as("underlay>node5 udp [fd00:10:10::11]:2000>[2001:db8::9]:443 ttl=63")
            .and(FLOW6),
        case("a gateway whose underlay is IPv6", FROM_POD, udp(POD, OUTSIDE))
            .given(|w| w.each_egress(|egress| egress.gateway = addr("fd00::4").into()))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .by("fd00::4 to-wire")
            .and(FLOW),
        case("the wire has no route to the destination", FROM_POD, udp(POD, "192.0.2.9:443"))
            .given(|w| {
                by_wire(w);
                let all = vec![(0, 0, 65535, Some(addr("10.10.0.11")))];
                w.rules.insert((crate::world::RULES, crate::world::net("192.0.2.0/24")), all);
            })
            .is("DROP_NO_ROUTE")
            .and(&[
                "+ flow udp 10.244.1.10:41000>192.0.2.9:443 = 10.10.0.11:2000",
                "+ mapping udp 10.244.1.10:41000 = 10.10.0.11:2000 of 1",
                "+ return udp 192.0.2.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
            ]),
        case("the last hop but one", FROM_POD, tcp(POD, OUTSIDE, "S").ttl(2))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 S ttl=1")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 S",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
            ]),
        case("the kernel refuses to send it", FROM_POD, udp(POD, OUTSIDE))
            .given(|w| w.kernel_refuses = true)
            .is("DROP_KERNEL")
            .and(FLOW),
    ]
}

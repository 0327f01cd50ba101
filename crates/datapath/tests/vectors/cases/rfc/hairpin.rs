//! Pods that speak to egress addresses of their own cluster see each other as the outside would.

use egret_datapath::layout::PATH_WIRE;

use super::{EGRESS, EGRESS6, POD, POD6, S};
use crate::case::{Case, FROM_OVERLAY, FROM_POD, FROM_WIRE, case};
use crate::packet::{ping, tcp, udp, unreachable};
use crate::world::{RULES, World, addr, net};

const OTHER: &str = "10.10.0.11:2001";
const OTHER6: &str = "[fd00:10:10::11]:2001";

/// The pod's node is the gateway of both addresses, and the rules capture them.
fn by_wire(world: &mut World) {
    world.gateway();
    let wire = world.on.wire;
    world.each_egress(|egress| {
        egress.path = PATH_WIRE;
        egress.link = wire;
    });
    world.rules.insert((RULES, net("10.10.0.0/24")), vec![(0, 0, 65535, Some(addr("10.10.0.11")))]);
    world.rules.insert((RULES, net("fd00:10:10::/64")), vec![(0, 0, 65535, Some(addr("fd00:10:10::11")))]);
}

pub fn cases() -> Vec<Case> {
    vec![
        case("hairpin: TCP, as the egress address and port", FROM_POD, tcp(POD, OTHER, "S"))
            .given(by_wire)
            .is("SENT_HAIRPIN")
            .leaves_as("wire>wire tcp 10.10.0.11:2000>10.10.0.11:2001 S ttl=63")
            .and(&[
                "+ flow tcp 10.244.1.10:41000>10.10.0.11:2001 = 10.10.0.11:2000 S",
                "+ return tcp 10.10.0.11:2001>10.10.0.11:2000 = 10.244.1.10:41000",
            ]),
        case("hairpin: UDP, as the egress address and port, IPv6", FROM_POD, udp(POD6, OTHER6))
            .given(by_wire)
            .is("SENT_HAIRPIN")
            .leaves_as("wire>wire udp [fd00:10:10::11]:2000>[fd00:10:10::11]:2001 ttl=63")
            .and(&[
                "+ flow udp [fd00:10:244:1::10]:41000>[fd00:10:10::11]:2001 = [fd00:10:10::11]:2000",
                "+ mapping udp [fd00:10:244:1::10]:41000 = [fd00:10:10::11]:2000 of 1",
                "+ return udp [fd00:10:10::11]:2001>[fd00:10:10::11]:2000 = [fd00:10:244:1::10]:41000",
            ]),
        case("hairpin: in by the wire, to the node of the port", FROM_WIRE, udp(EGRESS, OTHER).eth("wire", "wire"))
            .given(by_wire)
            .is("SENT_NODE_LINK")
            .leaves_as("underlay>node5 udp 10.10.0.11:2000>10.10.0.11:2001 ttl=63"),
        case("hairpin: in by the wire, to the node of the port, IPv6", FROM_WIRE, tcp(EGRESS6, OTHER6, "S").eth("wire", "wire"))
            .given(by_wire)
            .is("SENT_NODE_LINK")
            .leaves_as("underlay>node5 tcp [fd00:10:10::11]:2000>[fd00:10:10::11]:2001 S ttl=63"),
        case("hairpin: onto the other pod's link", FROM_OVERLAY, udp(OTHER, EGRESS))
            .given(|w| w.flow(17, POD, OTHER, EGRESS, (0, 0), 5))
            .came_by("10.0.0.4 to-pod")
            .is("SENT_POD")
            .leaves_as("host>pod udp 10.10.0.11:2001>10.244.1.10:41000 ttl=63"),
        case("hairpin: who was not spoken to is not let in either", FROM_OVERLAY, tcp(OTHER, EGRESS, "S"))
            .given(|w| w.flow(6, POD, "198.51.100.9:443", EGRESS, (S, 0), 5))
            .came_by("10.0.0.4 to-pod")
            .is("DROP_NO_RETURN"),
        case("hairpin: a pod's error", FROM_POD, unreachable("10.244.1.10", "10.10.0.11", udp(OTHER, POD)))
            .given(|w| {
                by_wire(w);
                w.flow(17, POD, OTHER, EGRESS, (0, 0), 5);
            })
            .is("SENT_HAIRPIN")
            .leaves_as(
                "wire>wire error 3/3 10.10.0.11>10.10.0.11 about [udp 10.10.0.11:2001>10.10.0.11:2000 ttl=64] ttl=63",
            ),
        case("hairpin: a pod's error, IPv6", FROM_POD, unreachable("fd00:10:244:1::10", "fd00:10:10::11", udp(OTHER6, POD6)))
            .given(|w| {
                by_wire(w);
                w.flow(17, POD6, OTHER6, EGRESS6, (0, 0), 5);
            })
            .is("SENT_HAIRPIN")
            .leaves_as(
                "wire>wire error 1/4 fd00:10:10::11>fd00:10:10::11 \
                 about [udp [fd00:10:10::11]:2001>[fd00:10:10::11]:2000 ttl=64] ttl=63",
            ),
        case("hairpin: an error at the gateway", FROM_OVERLAY, unreachable("10.10.0.11", "10.10.0.11", udp(OTHER, EGRESS)))
            .given(|w| w.gateway())
            .came_by("10.0.0.4 to-wire")
            .is("SENT_HAIRPIN")
            .leaves_as(
                "wire>wire error 3/3 10.10.0.11>10.10.0.11 about [udp 10.10.0.11:2001>10.10.0.11:2000 ttl=64] ttl=63",
            ),
        case("hairpin: an error in by the wire", FROM_WIRE, {
            unreachable("10.10.0.11", "10.10.0.11", udp(OTHER, EGRESS)).eth("wire", "wire")
        })
        .given(|w| w.gateway())
        .is("SENT_NODE_LINK")
        .leaves_as(
            "underlay>node5 error 3/3 10.10.0.11>10.10.0.11 about [udp 10.10.0.11:2001>10.10.0.11:2000 ttl=64] ttl=63",
        ),
        case("hairpin: an error onto the pod's link", FROM_OVERLAY, unreachable("10.10.0.11", "10.10.0.11", udp(EGRESS, OTHER)))
            .given(|w| w.flow(17, POD, OTHER, EGRESS, (0, 0), 5))
            .came_by("10.0.0.4 to-pod")
            .is("SENT_POD")
            .leaves_as(
                "host>pod error 3/3 10.10.0.11>10.244.1.10 about [udp 10.244.1.10:41000>10.10.0.11:2001 ttl=64] ttl=63",
            ),
        case("hairpin: a ping in by the wire is the kernel's", FROM_WIRE, ping("10.10.0.11", "10.10.0.11", 2001).eth("wire", "wire"))
            .given(|w| w.gateway())
            .is("PASS_NOT_LEASED"),
    ]
}

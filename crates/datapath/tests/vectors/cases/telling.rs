//! A packet that is refused for a reason its sender can act on: the sender is told.

use egret_datapath::layout::PATH_WIRE;

use crate::case::{Case, FROM_OVERLAY, FROM_POD, FROM_WIRE, case};
use crate::packet::{GRE, Packet, other, ping, tcp, udp, unreachable};
use crate::world::World;

const POD: &str = "10.244.1.10:41000";
const POD6: &str = "[fd00:10:244:1::10]:41000";
const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";
const EGRESS: &str = "10.10.0.11:2000";
const EGRESS6: &str = "[fd00:10:10::11]:2000";

fn flows(world: &mut World) {
    world.flow(17, POD, OUTSIDE, EGRESS, (0, 0), 0);
    world.flow(6, POD, OUTSIDE, EGRESS, (0x12, 0x12), 0);
    world.flow(1, "10.244.1.10:77", "198.51.100.9:0", "10.10.0.11:2000", (0, 0), 0);
    world.flow(17, POD6, OUTSIDE6, EGRESS6, (0, 0), 0);
}

fn of_pod(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_POD, packet).given(flows)
}

fn by_wire(world: &mut World) {
    flows(world);
    let wire = world.on.wire;
    world.each_egress(|egress| {
        egress.path = PATH_WIRE;
        egress.link = wire;
    });
}

fn at_gateway(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_OVERLAY, packet).came_by("10.0.0.4 to-wire").given(|w| w.gateway())
}

fn on_wire(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_WIRE, packet.eth("wire", "router")).given(|w| w.gateway())
}

pub fn cases() -> Vec<Case> {
    vec![
        of_pod("no hop is left at the pod's node", udp(POD, OUTSIDE).ttl(1)).is("TOLD_TTL").leaves_as(
            "host>pod error 11/0 10.0.0.1>10.244.1.10 about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=1] ttl=64",
        ),
        of_pod("no hop is left for TCP", tcp(POD, OUTSIDE, "A").ttl(1)).is("TOLD_TTL").leaves_as(
            "host>pod error 11/0 10.0.0.1>10.244.1.10 about [tcp 10.244.1.10:41000>198.51.100.9:443 A ttl=1] ttl=64",
        ),
        of_pod("no hop is left for a ping", ping("10.244.1.10", "198.51.100.9", 77).ttl(1))
            .is("TOLD_TTL")
            .leaves_as(
                "host>pod error 11/0 10.0.0.1>10.244.1.10 about [ping 10.244.1.10>198.51.100.9 id=77 ttl=1] ttl=64",
            ),
        of_pod("no hop is left, IPv6", udp(POD6, OUTSIDE6).ttl(1)).is("TOLD_TTL").leaves_as(
            "host>pod error 3/0 fd00::1>fd00:10:244:1::10 \
             about [udp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 ttl=1] ttl=64",
        ),
        of_pod("larger than the overlay carries", udp(POD, OUTSIDE).payload(1423).dont_fragment())
            .is("TOLD_TOO_BIG")
            .leaves_as(
                "host>pod error 3/4 mtu=1450 10.0.0.1>10.244.1.10 \
                 about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=64",
            ),
        of_pod("as large as the overlay carries", udp(POD, OUTSIDE).payload(1414).dont_fragment())
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .by("10.0.0.4 to-wire"),
        of_pod("one byte more", udp(POD, OUTSIDE).payload(1415).dont_fragment()).is("TOLD_TOO_BIG").leaves_as(
            "host>pod error 3/4 mtu=1450 10.0.0.1>10.244.1.10 \
             about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=64",
        ),
        of_pod("larger than the overlay carries, and may be cut on the way", udp(POD, OUTSIDE).payload(1423))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .by("10.0.0.4 to-wire"),
        of_pod("larger than the overlay carries, IPv6", udp(POD6, OUTSIDE6).payload(1423))
            .is("TOLD_TOO_BIG")
            .leaves_as(
                "host>pod error 2/0 mtu=1450 fd00::1>fd00:10:244:1::10 \
                 about [udp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 ttl=64] ttl=64",
            ),
        of_pod("larger than the node's own wire carries", udp(POD, OUTSIDE).payload(1600).dont_fragment())
            .given(by_wire)
            .is("TOLD_TOO_BIG")
            .leaves_as(
                "host>pod error 3/4 mtu=1500 10.0.0.1>10.244.1.10 \
                 about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=64",
            ),
        of_pod("every port is another's", udp("10.244.1.10:41001", OUTSIDE)).is("TOLD_NO_PORT").leaves_as(
            "host>pod error 3/13 10.0.0.1>10.244.1.10 about [udp 10.244.1.10:41001>198.51.100.9:443 ttl=64] ttl=64",
        ),
        of_pod("every port is in use towards this remote end", tcp("10.244.1.10:41001", OUTSIDE, "S"))
            .is("TOLD_NO_PORT")
            .leaves_as(
                "host>pod error 3/13 10.0.0.1>10.244.1.10 \
                 about [tcp 10.244.1.10:41001>198.51.100.9:443 S ttl=64] ttl=64",
            ),
        of_pod("every port is another's, IPv6", udp("[fd00:10:244:1::10]:41001", OUTSIDE6))
            .is("TOLD_NO_PORT")
            .leaves_as(
                "host>pod error 1/1 fd00::1>fd00:10:244:1::10 \
                 about [udp [fd00:10:244:1::10]:41001>[2001:db8::9]:443 ttl=64] ttl=64",
            ),
        of_pod("a protocol without ports", other("10.244.1.10", "198.51.100.9", GRE))
            .is("TOLD_PROTOCOL")
            .leaves_as("host>pod error 3/2 10.0.0.1>10.244.1.10 about [ip 10.244.1.10>198.51.100.9 ttl=64] ttl=64"),
        of_pod("a protocol without ports, IPv6", other("fd00:10:244:1::10", "2001:db8::9", GRE))
            .is("TOLD_PROTOCOL")
            .leaves_as(
                "host>pod error 1/1 fd00::1>fd00:10:244:1::10 about [ip fd00:10:244:1::10>2001:db8::9 ttl=64] ttl=64",
            ),
        of_pod("the node has no address to tell it from", udp(POD, OUTSIDE).ttl(1))
            .given(|w| {
                flows(w);
                w.settings.hop4 = Default::default();
            })
            .is("DROP_TTL"),
        of_pod("too much was told in this second", udp(POD, OUTSIDE).ttl(1))
            .given(|w| {
                flows(w);
                w.complaints = 100_000;
            })
            .is("DROP_TTL"),
        of_pod("too much was told, and a packet is too large", udp(POD6, OUTSIDE6).payload(1423))
            .given(|w| {
                flows(w);
                w.complaints = 100_000;
            })
            .is("DROP_TOO_BIG"),
        of_pod("too much was told, and no port is left", udp("10.244.1.10:41001", OUTSIDE))
            .given(|w| {
                flows(w);
                w.complaints = 100_000;
            })
            .is("DROP_NO_PORT"),
        of_pod("too much was told, and a protocol has no ports", other("10.244.1.10", "198.51.100.9", GRE))
            .given(|w| {
                flows(w);
                w.complaints = 100_000;
            })
            .is("DROP_PROTOCOL"),
        of_pod(
            "nobody is told about an error",
            unreachable("10.244.1.10", "198.51.100.9", udp(OUTSIDE, POD)).ttl(1),
        )
        .is("DROP_TTL"),
        of_pod("nobody is told about a redirect", other("10.244.1.10", "198.51.100.9", 1).word(0, 0x0501))
            .is("DROP_PROTOCOL"),
        at_gateway("no hop is left at the gateway", udp(EGRESS, OUTSIDE).ttl(1))
            .is("TOLD_TTL")
            .leaves_as(
                "underlay>overlay error 11/0 10.0.0.1>10.10.0.11 \
                 about [udp 10.10.0.11:2000>198.51.100.9:443 ttl=1] ttl=64",
            )
            .by("10.0.0.4 to-pod"),
        at_gateway("no hop is left at the gateway, IPv6", udp(EGRESS6, OUTSIDE6).ttl(1))
            .is("TOLD_TTL")
            .leaves_as(
                "underlay>overlay error 3/0 fd00::1>fd00:10:10::11 \
                 about [udp [fd00:10:10::11]:2000>[2001:db8::9]:443 ttl=1] ttl=64",
            )
            .by("10.0.0.4 to-pod"),
        at_gateway("larger than the wire carries", udp(EGRESS, OUTSIDE).payload(1600).dont_fragment())
            .is("TOLD_TOO_BIG")
            .leaves_as(
                "underlay>overlay error 3/4 mtu=1500 10.0.0.1>10.10.0.11 \
                 about [udp 10.10.0.11:2000>198.51.100.9:443 ttl=64] ttl=64",
            )
            .by("10.0.0.4 to-pod"),
        at_gateway("larger than the wire carries, IPv6", udp(EGRESS6, OUTSIDE6).payload(1600))
            .is("TOLD_TOO_BIG")
            .leaves_as(
                "underlay>overlay error 2/0 mtu=1500 fd00::1>fd00:10:10::11 \
                 about [udp [fd00:10:10::11]:2000>[2001:db8::9]:443 ttl=64] ttl=64",
            )
            .by("10.0.0.4 to-pod"),
        on_wire("from outside, no hop is left", udp(OUTSIDE, EGRESS).ttl(1)).is("TOLD_TTL").leaves_as(
            "wire>router error 11/0 10.0.0.1>198.51.100.9 about [udp 198.51.100.9:443>10.10.0.11:2000 ttl=1] ttl=64",
        ),
        on_wire("from outside, larger than the overlay carries", udp(OUTSIDE, EGRESS).payload(1423).dont_fragment())
            .is("TOLD_TOO_BIG")
            .leaves_as(
                "wire>router error 3/4 mtu=1450 10.0.0.1>198.51.100.9 \
                 about [udp 198.51.100.9:443>10.10.0.11:2000 ttl=64] ttl=64",
            ),
        on_wire("from outside, larger than the overlay carries, IPv6", udp(OUTSIDE6, EGRESS6).payload(1423))
            .is("TOLD_TOO_BIG")
            .leaves_as(
                "wire>router error 2/0 mtu=1450 fd00::1>2001:db8::9 \
                 about [udp [2001:db8::9]:443>[fd00:10:10::11]:2000 ttl=64] ttl=64",
            ),
        on_wire("from outside, and may be cut on the way", udp(OUTSIDE, EGRESS).payload(1423))
            .is("SENT_NODE")
            .leaves_as("underlay>overlay udp 198.51.100.9:443>10.10.0.11:2000 ttl=63")
            .by("10.0.0.4 to-pod"),
        of_pod("to an egress address that the pod's own node serves", udp(POD, "10.10.0.12:2002"))
            .given(|w| {
                by_wire(w);
                w.gateway();
                w.served.insert(crate::world::addr("10.10.0.12"), w.served[&crate::world::addr("10.10.0.11")]);
                let all = vec![(0, 0, 65535, Some(crate::world::addr("10.10.0.11")))];
                w.rules.insert((crate::world::RULES, crate::world::net("10.10.0.0/24")), all);
                w.flow(17, POD, "10.10.0.12:2002", EGRESS, (0, 0), 0);
            })
            .is("SENT_HAIRPIN")
            .leaves_as("wire>wire udp 10.10.0.11:2000>10.10.0.12:2002 ttl=63"),
        at_gateway("to an egress address that the gateway serves", udp(EGRESS, "10.10.0.11:2001"))
            .is("SENT_HAIRPIN")
            .leaves_as("wire>wire udp 10.10.0.11:2000>10.10.0.11:2001 ttl=63"),
        at_gateway("to an egress address that the gateway serves, IPv6", udp(EGRESS6, "[fd00:10:10::11]:2001"))
            .is("SENT_HAIRPIN")
            .leaves_as("wire>wire udp [fd00:10:10::11]:2000>[fd00:10:10::11]:2001 ttl=63"),
    ]
}

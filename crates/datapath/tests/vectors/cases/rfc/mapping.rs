//! Which port a pod's port gets: one for everybody (UDP, echo), one for each remote end (TCP), and none if none is free.

use super::{EGRESS, EGRESS6, OUTSIDE, OUTSIDE6, POD, POD6, SA};
use crate::case::{Case, FROM_POD, case};
use crate::packet::{ping, tcp, udp};
use crate::world::{World, addr};

/// A block of 32 ports, of which a pod's port has one already.
fn one_of_many(world: &mut World) {
    world.each_egress(|egress| {
        egress.shift = 5;
        egress.blocks[0] = 2016;
    });
    world.flow(17, POD, OUTSIDE, "10.10.0.11:2031", (0, 0), 5);
    world.flow(17, POD6, OUTSIDE6, "[fd00:10:10::11]:2031", (0, 0), 5);
    world.flow(1, "10.244.1.10:77", "198.51.100.9:0", "10.10.0.11:2031", (0, 0), 5);
    world.flow(58, "[fd00:10:244:1::10]:77", "[2001:db8::9]:0", "[fd00:10:10::11]:2031", (0, 0), 5);
}

pub fn cases() -> Vec<Case> {
    vec![
        case("UDP keeps its port towards another host", FROM_POD, udp(POD, "198.51.100.10:443"))
            .given(one_of_many)
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp 10.10.0.11:2031>198.51.100.10:443 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow udp 10.244.1.10:41000>198.51.100.10:443 = 10.10.0.11:2031",
                "+ return udp 198.51.100.10:443>10.10.0.11:2031 = 10.244.1.10:41000",
                "- mapping udp 10.244.1.10:41000 = 10.10.0.11:2031 of 1",
                "+ mapping udp 10.244.1.10:41000 = 10.10.0.11:2031 of 2",
            ]),
        case("UDP keeps its port towards another host, IPv6", FROM_POD, udp(POD6, "[2001:db8::10]:443"))
            .given(one_of_many)
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay udp [fd00:10:10::11]:2031>[2001:db8::10]:443 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow udp [fd00:10:244:1::10]:41000>[2001:db8::10]:443 = [fd00:10:10::11]:2031",
                "+ return udp [2001:db8::10]:443>[fd00:10:10::11]:2031 = [fd00:10:244:1::10]:41000",
                "- mapping udp [fd00:10:244:1::10]:41000 = [fd00:10:10::11]:2031 of 1",
                "+ mapping udp [fd00:10:244:1::10]:41000 = [fd00:10:10::11]:2031 of 2",
            ]),
        case(
            "UDP keeps its port towards another port of the same host",
            FROM_POD,
            udp(POD, "198.51.100.9:53"),
        )
        .given(one_of_many)
        .is("SENT_OVERLAY")
        .leaves_as("underlay>overlay udp 10.10.0.11:2031>198.51.100.9:53 ttl=63")
        .by("10.0.0.4 to-wire")
        .and(&[
            "+ flow udp 10.244.1.10:41000>198.51.100.9:53 = 10.10.0.11:2031",
            "+ return udp 198.51.100.9:53>10.10.0.11:2031 = 10.244.1.10:41000",
            "- mapping udp 10.244.1.10:41000 = 10.10.0.11:2031 of 1",
            "+ mapping udp 10.244.1.10:41000 = 10.10.0.11:2031 of 2",
        ]),
        case("a ping keeps its id towards another host", FROM_POD, ping("10.244.1.10", "198.51.100.10", 77))
            .given(one_of_many)
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay ping 10.10.0.11>198.51.100.10 id=2031 ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow ping 10.244.1.10:77>198.51.100.10:0 = 10.10.0.11:2031",
                "+ return ping 198.51.100.10:0>10.10.0.11:2031 = 10.244.1.10:77",
                "- mapping ping 10.244.1.10:77 = 10.10.0.11:2031 of 1",
                "+ mapping ping 10.244.1.10:77 = 10.10.0.11:2031 of 2",
            ]),
        case(
            "a ping keeps its id towards another host, IPv6",
            FROM_POD,
            ping("fd00:10:244:1::10", "2001:db8::10", 77),
        )
        .given(one_of_many)
        .is("SENT_OVERLAY")
        .leaves_as("underlay>overlay ping fd00:10:10::11>2001:db8::10 id=2031 ttl=63")
        .by("10.0.0.4 to-wire")
        .and(&[
            "+ flow ping [fd00:10:244:1::10]:77>[2001:db8::10]:0 = [fd00:10:10::11]:2031",
            "+ return ping [2001:db8::10]:0>[fd00:10:10::11]:2031 = [fd00:10:244:1::10]:77",
            "- mapping ping [fd00:10:244:1::10]:77 = [fd00:10:10::11]:2031 of 1",
            "+ mapping ping [fd00:10:244:1::10]:77 = [fd00:10:10::11]:2031 of 2",
        ]),
        case("TCP may have the port that UDP has", FROM_POD, tcp(POD, OUTSIDE, "S"))
            .given(|w| w.flow(17, POD, OUTSIDE, EGRESS, (0, 0), 5))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 S ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 S",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
            ]),
        case(
            "TCP shares no port towards the same remote end, IPv6",
            FROM_POD,
            tcp("[fd00:10:244:1::10]:41001", OUTSIDE6, "S"),
        )
        .given(|w| w.flow(6, POD6, OUTSIDE6, EGRESS6, (SA, SA), 5))
        .is("TOLD_NO_PORT")
        .leaves_as(
            "host>pod error 1/1 fd00::1>fd00:10:244:1::10 \
             about [tcp [fd00:10:244:1::10]:41001>[2001:db8::9]:443 S ttl=64] ttl=64",
        ),
        case(
            "UDP shares no port, not even towards another host",
            FROM_POD,
            udp("10.244.1.10:41001", "198.51.100.10:443"),
        )
        .given(|w| w.flow(17, POD, OUTSIDE, EGRESS, (0, 0), 5))
        .is("TOLD_NO_PORT")
        .leaves_as(
            "host>pod error 3/13 10.0.0.1>10.244.1.10 \
                 about [udp 10.244.1.10:41001>198.51.100.10:443 ttl=64] ttl=64",
        ),
        case(
            "UDP shares no port, not even towards another host, IPv6",
            FROM_POD,
            udp("[fd00:10:244:1::10]:41001", "[2001:db8::10]:443"),
        )
        .given(|w| w.flow(17, POD6, OUTSIDE6, EGRESS6, (0, 0), 5))
        .is("TOLD_NO_PORT")
        .leaves_as(
            "host>pod error 1/1 fd00::1>fd00:10:244:1::10 \
             about [udp [fd00:10:244:1::10]:41001>[2001:db8::10]:443 ttl=64] ttl=64",
        ),
        case(
            "a ping shares no id, not even towards another host",
            FROM_POD,
            ping("10.244.1.10", "198.51.100.10", 78),
        )
        .given(|w| w.flow(1, "10.244.1.10:77", "198.51.100.9:0", EGRESS, (0, 0), 5))
        .is("TOLD_NO_PORT")
        .leaves_as(
            "host>pod error 3/13 10.0.0.1>10.244.1.10 \
                 about [ping 10.244.1.10>198.51.100.10 id=78 ttl=64] ttl=64",
        ),
        case("no gateway is left: no other address is taken", FROM_POD, udp(POD, OUTSIDE))
            .given(|w| {
                w.each_egress(|egress| egress.path = 0);
                w.egress.insert(addr("10.10.0.12"), crate::world::by_overlay("10.0.0.4"));
            })
            .is("DROP_NO_GATEWAY"),
        case(
            "its address has no port: no other address is taken",
            FROM_POD,
            tcp("10.244.1.10:41001", OUTSIDE, "S"),
        )
        .given(|w| {
            w.flow(6, POD, OUTSIDE, EGRESS, (SA, SA), 5);
            w.egress.insert(addr("10.10.0.12"), crate::world::by_overlay("10.0.0.4"));
        })
        .is("TOLD_NO_PORT")
        .leaves_as(
            "host>pod error 3/13 10.0.0.1>10.244.1.10 \
                 about [tcp 10.244.1.10:41001>198.51.100.9:443 S ttl=64] ttl=64",
        ),
    ]
}

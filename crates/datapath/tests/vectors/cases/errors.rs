//! ICMP errors: whose they are is read from the packet that they quote, and the change is made there as well.

use crate::case::{Case, FROM_OVERLAY, FROM_POD, FROM_WIRE, case};
use crate::packet::{ping, tcp, too_big, udp, unreachable};
use crate::world::{World, addr};

const POD: &str = "10.244.1.10:41000";
const POD6: &str = "[fd00:10:244:1::10]:41000";
const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";
const EGRESS: &str = "10.10.0.11:2000";
const EGRESS6: &str = "[fd00:10:10::11]:2000";

fn flows(world: &mut World) {
    world.gateway();
    world.flow(17, POD, OUTSIDE, EGRESS, (0, 0), 5);
    world.flow(6, POD, OUTSIDE, EGRESS, (0x12, 0x12), 5);
    world.flow(17, POD6, OUTSIDE6, EGRESS6, (0, 0), 5);
    world.flow(1, "10.244.1.10:77", "198.51.100.9:0", EGRESS, (0, 0), 5);
}

fn from(name: &'static str, place: crate::case::Place, frame: impl Into<Vec<u8>>) -> Case {
    case(name, place, frame).given(flows)
}

pub fn cases() -> Vec<Case> {
    vec![
        from(
            "a router's error goes to the node of the quoted port",
            FROM_WIRE,
            unreachable("198.51.100.1", "10.10.0.11", udp(EGRESS, OUTSIDE).ttl(60)),
        )
        .is("SENT_NODE")
        .leaves_as(
            "underlay>overlay error 3/3 198.51.100.1>10.10.0.11 \
             about [udp 10.10.0.11:2000>198.51.100.9:443 ttl=60] ttl=63",
        )
        .by("10.0.0.4 to-pod"),
        from(
            "and there to the pod",
            FROM_OVERLAY,
            unreachable("198.51.100.1", "10.10.0.11", udp(EGRESS, OUTSIDE).ttl(60)),
        )
        .came_by("10.0.0.4 to-pod")
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 3/3 198.51.100.1>10.244.1.10 \
             about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=60] ttl=63",
        ),
        from(
            "a path's MTU reaches the pod",
            FROM_OVERLAY,
            too_big("198.51.100.1", "10.10.0.11", 1280, tcp(EGRESS, OUTSIDE, "A").payload(500)),
        )
        .came_by("10.0.0.4 to-pod")
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 3/4 mtu=1280 198.51.100.1>10.244.1.10 \
             about [tcp 10.244.1.10:41000>198.51.100.9:443 A ttl=64] ttl=63",
        ),
        from(
            "a path's MTU reaches the pod, IPv6",
            FROM_OVERLAY,
            too_big("2001:db8::1", "fd00:10:10::11", 1280, udp(EGRESS6, OUTSIDE6)),
        )
        .came_by("10.0.0.4 to-pod")
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 2/0 mtu=1280 2001:db8::1>fd00:10:244:1::10 \
             about [udp [fd00:10:244:1::10]:41000>[2001:db8::9]:443 ttl=64] ttl=63",
        ),
        from(
            "an error about a ping",
            FROM_OVERLAY,
            unreachable("198.51.100.1", "10.10.0.11", ping("10.10.0.11", "198.51.100.9", 2000)),
        )
        .came_by("10.0.0.4 to-pod")
        .is("SENT_POD")
        .leaves_as(
            "host>pod error 3/3 198.51.100.1>10.244.1.10 about [ping 10.244.1.10>198.51.100.9 id=77 ttl=64] ttl=63",
        ),
        from(
            "a pod's error about an answer",
            FROM_POD,
            unreachable("10.244.1.10", "198.51.100.9", udp(OUTSIDE, POD)),
        )
        .is("SENT_OVERLAY")
        .leaves_as(
            "underlay>overlay error 3/3 10.10.0.11>198.51.100.9 \
             about [udp 198.51.100.9:443>10.10.0.11:2000 ttl=64] ttl=63",
        )
        .by("10.0.0.4 to-wire"),
        from(
            "a pod's error about an answer, IPv6",
            FROM_POD,
            unreachable("fd00:10:244:1::10", "2001:db8::9", udp(OUTSIDE6, POD6)),
        )
        .is("SENT_OVERLAY")
        .leaves_as(
            "underlay>overlay error 1/4 fd00:10:10::11>2001:db8::9 \
             about [udp [2001:db8::9]:443>[fd00:10:10::11]:2000 ttl=64] ttl=63",
        )
        .by("10.0.0.4 to-wire"),
        from(
            "and at the gateway out of the wire",
            FROM_OVERLAY,
            unreachable("10.10.0.11", "198.51.100.9", udp(OUTSIDE, EGRESS)),
        )
        .came_by("10.0.0.4 to-wire")
        .is("SENT_WIRE")
        .leaves_as(
            "wire>router error 3/3 10.10.0.11>198.51.100.9 \
             about [udp 198.51.100.9:443>10.10.0.11:2000 ttl=64] ttl=63",
        ),
        from(
            "an error as another node's port at the gateway",
            FROM_OVERLAY,
            unreachable("10.10.0.11", "198.51.100.9", udp(OUTSIDE, "10.10.0.11:2001")),
        )
        .came_by("10.0.0.4 to-wire")
        .is("DROP_NOT_LEASED"),
        from(
            "a pod's error about no flow",
            FROM_POD,
            unreachable("10.244.1.10", "198.51.100.9", udp("198.51.100.9:9", POD)),
        )
        .is("DROP_ICMP_UNMATCHED"),
        from(
            "a pod's error to where no rule is",
            FROM_POD,
            unreachable("10.244.1.10", "192.0.2.9", udp("192.0.2.9:9", POD)),
        )
        .is("PASS_ORDINARY"),
        from(
            "an error on the wire that quotes another source",
            FROM_WIRE,
            unreachable("198.51.100.1", "10.10.0.11", udp("10.10.0.12:2000", OUTSIDE)),
        )
        .is("DROP_ICMP_UNMATCHED"),
        from(
            "an error on the wire about a port that nobody leases",
            FROM_WIRE,
            unreachable("198.51.100.1", "10.10.0.11", udp("10.10.0.11:2999", OUTSIDE)),
        )
        .is("PASS_NOT_LEASED"),
        from(
            "an error at the node about no flow",
            FROM_OVERLAY,
            unreachable("198.51.100.1", "10.10.0.11", udp("10.10.0.11:2999", OUTSIDE)),
        )
        .came_by("10.0.0.4 to-pod")
        .is("DROP_ICMP_UNMATCHED"),
        from(
            "an error about an error",
            FROM_OVERLAY,
            unreachable("198.51.100.1", "10.10.0.11", unreachable("10.10.0.11", "198.51.100.9", udp(OUTSIDE, EGRESS))),
        )
        .came_by("10.0.0.4 to-pod")
        .is("DROP_ICMP_UNMATCHED"),
        from(
            "an error that quotes a later fragment",
            FROM_OVERLAY,
            unreachable("198.51.100.1", "10.10.0.11", udp(EGRESS, OUTSIDE).fragment(3, false)),
        )
        .came_by("10.0.0.4 to-pod")
        .is("DROP_ICMP_UNMATCHED"),
        from(
            "an error that quotes too little",
            FROM_OVERLAY,
            unreachable("198.51.100.1", "10.10.0.11", udp(EGRESS, OUTSIDE)).cut(66),
        )
        .came_by("10.0.0.4 to-pod")
        .is("DROP_MALFORMED"),
        from(
            "an error for a pod that is gone",
            FROM_OVERLAY,
            unreachable("198.51.100.1", "10.10.0.11", udp(EGRESS, OUTSIDE)),
        )
        .given(|w| {
            flows(w);
            w.pods.remove(&addr("10.244.1.10"));
        })
        .came_by("10.0.0.4 to-pod")
        .is("DROP_POD_GONE"),
    ]
}

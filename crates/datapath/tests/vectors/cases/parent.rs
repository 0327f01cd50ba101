//! What leaves by the parent of a pod's macvlan in another network: what the pod sends, and much that is nobody's.

use crate::case::{Case, FROM_OVERLAY, FROM_PARENT, Place, case};
use crate::packet::{Packet, arp, tcp, udp};
use crate::world::{RULES, World, net};

const POD: &str = "10.244.1.10:41000";
const OUTSIDE: &str = "198.51.100.9:443";

fn shared(world: &mut World) {
    world.pods.values_mut().for_each(|pod| pod.shared = 1);
}

fn parent(name: &'static str, frame: impl Into<Vec<u8>>) -> Case {
    at(name, FROM_PARENT, frame, |_| {})
}

fn at(name: &'static str, place: Place, frame: impl Into<Vec<u8>>, change: fn(&mut World)) -> Case {
    case(name, place, frame).given(move |world| {
        shared(world);
        change(world);
    })
}

/// It goes on as if Egret were not there, and is not counted.
fn nobodys(name: &'static str, frame: impl Into<Vec<u8>>, change: fn(&mut World)) -> Case {
    at(name, FROM_PARENT, frame, change)
}

/// An ARP request of the pod itself.
fn asks(asker: &str, target: &str) -> Vec<u8> {
    let mut frame = arp(1, asker, target);
    for at in [6, 22] {
        frame[at..at + 6].copy_from_slice(&crate::names::POD);
    }
    frame
}

fn to_outside() -> Packet {
    tcp(POD, OUTSIDE, "S")
}

pub fn cases() -> Vec<Case> {
    [router(), way_out(), of_others(), way_back()].into_iter().flatten().collect()
}

fn router() -> Vec<Case> {
    vec![
        parent("parent: the egress address is its pods' router", asks("10.244.1.10", "10.10.0.11"))
            .is("ANSWERED_ARP")
            .leaves_as("host>pod arp is-at from 10.10.0.11 host to 10.244.1.10 pod"),
        nobodys("parent: ARP for a neighbour", asks("10.244.1.10", "10.244.1.11"), |_| {}),
        nobodys("parent: ARP in the pod's name", arp(1, "10.244.1.10", "10.10.0.11"), |_| {}),
        nobodys("parent: ARP of a pod on another link", asks("10.244.1.9", "10.10.0.11"), |_| {}),
        nobodys("parent: ARP of a pod that no policy selects", asks("10.244.1.10", "10.10.0.11"), |world| {
            world.pods.values_mut().for_each(|pod| pod.rules = 0);
        }),
    ]
}

fn way_out() -> Vec<Case> {
    let entries = [
        "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 S",
        "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
    ];
    vec![
        parent("parent: a connection to the outside", to_outside())
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 S ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&entries),
        parent("parent: the pod takes the holder for its router", to_outside().eth("router", "pod"))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 S ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&entries),
        at("parent: a neighbour", FROM_PARENT, to_outside().eth("other", "pod"), |world| {
            world.rules.insert((RULES, net("198.51.100.0/28")), vec![(0, 0, 65535, None)]);
        })
        .is("PASS_ORDINARY"),
        parent("parent: inside the cluster", tcp(POD, "10.244.2.20:80", "S")).is("PASS_INSIDE"),
        parent("parent: in the pod's name", to_outside().eth("host", "other")).is("DROP_SPOOFED"),
        parent("parent: in the pod's name, to everybody", to_outside().eth("everyone", "other"))
            .is("DROP_SPOOFED"),
        parent("parent: onto the overlay", udp(POD, "10.0.0.4:8474")).is("DROP_OVERLAY_PORT"),
        parent("parent: a header cut short", udp(POD, OUTSIDE).cut(38)).is("DROP_MALFORMED"),
        parent("parent: the pod is told into the parent", to_outside().ttl(1))
            .is("TOLD_TTL")
            .leaves_as(
                "host>pod error 11/0 10.0.0.1>10.244.1.10 \
                 about [tcp 10.244.1.10:41000>198.51.100.9:443 S ttl=1] ttl=64",
            )
            .and(&entries),
    ]
}

fn of_others() -> Vec<Case> {
    vec![
        nobodys("parent: from an address that nobody knows", udp("192.0.2.1:1", OUTSIDE), |_| {}),
        nobodys(
            "parent: what the node forwards for another link's pod",
            udp("10.244.1.9:1", OUTSIDE),
            |world| {
                world.pods.values_mut().for_each(|pod| pod.rules = RULES);
            },
        ),
        nobodys("parent: a pod that no policy selects", udp(POD, OUTSIDE), |world| {
            world.pods.values_mut().for_each(|pod| pod.rules = 0);
        }),
        nobodys("parent: to everybody", udp(POD, OUTSIDE).eth("everyone", "pod"), |_| {}),
        nobodys("parent: what left as the egress address", udp("10.10.0.11:2000", OUTSIDE), |_| {}),
        nobodys("parent: a VLAN upon it", to_outside(), |world| world.vlan = 5),
    ]
}

fn way_back() -> Vec<Case> {
    vec![
        at(
            "what comes back goes into the parent",
            FROM_OVERLAY,
            tcp(OUTSIDE, "10.10.0.11:2000", "A").eth("overlay", "stranger"),
            |world| world.flow(6, POD, OUTSIDE, "10.10.0.11:2000", (0x12, 0x12), 5),
        )
        .came_by("10.0.0.4 to-pod")
        .is("SENT_POD")
        .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 A ttl=63"),
    ]
}

//! What a pod sends by its link into another network.

use crate::case::{Case, FROM_SECOND, case};
use crate::packet::{arp, tcp, udp};
use crate::world::{RULES, World, net};

const POD: &str = "10.244.1.10:41000";
const OUTSIDE: &str = "198.51.100.9:443";

/// The pod's neighbours are 198.51.100.0/28.
fn neighbours(world: &mut World) {
    world.rules.insert((RULES, net("198.51.100.0/28")), vec![(0, 0, 65535, None)]);
}

fn unselected(world: &mut World) {
    world.pods.values_mut().for_each(|pod| pod.rules = 0);
}

pub fn cases() -> Vec<Case> {
    vec![
        case(
            "another network: the egress address is its pods' router",
            FROM_SECOND,
            arp(1, "10.244.1.10", "10.10.0.11"),
        )
        .is("ANSWERED_ARP")
        .leaves_as("host>asker arp is-at from 10.10.0.11 host to 10.244.1.10 asker"),
        case("another network: ARP for a neighbour", FROM_SECOND, arp(1, "10.244.1.10", "10.244.1.11"))
            .is("PASS_NOT_IP"),
        case(
            "another network: ARP of a pod that no policy selects",
            FROM_SECOND,
            arp(1, "10.244.1.10", "10.10.0.11"),
        )
        .given(unselected)
        .is("PASS_NOT_IP"),
        case(
            "another network: ARP in the name of another link's pod",
            FROM_SECOND,
            arp(1, "10.244.1.9", "10.10.0.11"),
        )
        .is("PASS_NOT_IP"),
        case("another network: an ARP answer", FROM_SECOND, arp(2, "10.244.1.10", "10.10.0.11"))
            .is("PASS_NOT_IP"),
        case("another network: a connection to the outside", FROM_SECOND, tcp(POD, OUTSIDE, "S"))
            .is("SENT_OVERLAY")
            .leaves_as("underlay>overlay tcp 10.10.0.11:2000>198.51.100.9:443 S ttl=63")
            .by("10.0.0.4 to-wire")
            .and(&[
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 S",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
            ]),
        case(
            "another network: whomever the pod takes for its router",
            FROM_SECOND,
            udp(POD, OUTSIDE).eth("router", "pod"),
        )
        .is("SENT_OVERLAY")
        .leaves_as("underlay>overlay udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
        .by("10.0.0.4 to-wire")
        .and(&[
            "+ flow udp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000",
            "+ mapping udp 10.244.1.10:41000 = 10.10.0.11:2000 of 1",
            "+ return udp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
        ]),
        case("another network: a neighbour", FROM_SECOND, tcp(POD, OUTSIDE, "S").eth("other", "pod"))
            .given(neighbours)
            .is("PASS_ORDINARY"),
        case("another network: everybody there", FROM_SECOND, udp(POD, OUTSIDE).eth("everyone", "pod"))
            .is("PASS_NOT_IP"),
        case("another network: from an address that nobody knows", FROM_SECOND, udp("192.0.2.1:1", OUTSIDE))
            .is("PASS_UNSELECTED"),
        case("another network: a pod that no policy selects", FROM_SECOND, udp(POD, OUTSIDE))
            .given(unselected)
            .is("PASS_UNSELECTED"),
        case("another network: in the name of another link's pod", FROM_SECOND, udp("10.244.1.9:1", OUTSIDE))
            .is("DROP_SPOOFED"),
        case("another network: onto the overlay", FROM_SECOND, udp("192.0.2.1:1", "10.0.0.4:8474"))
            .is("DROP_OVERLAY_PORT"),
        case("another network: inside the cluster", FROM_SECOND, tcp(POD, "10.244.2.20:80", "S"))
            .is("PASS_INSIDE"),
        case("another network: a header cut short", FROM_SECOND, udp(POD, OUTSIDE).cut(38))
            .is("DROP_MALFORMED"),
    ]
}

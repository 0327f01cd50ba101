//! ARP and neighbour discovery for egress addresses that this node holds.

use crate::case::{Case, FROM_OTHER_WIRE, FROM_WIRE, case};
use crate::packet::{arp, who_has6};
use crate::world::World;

fn gateway(world: &mut World) {
    world.gateway();
}

fn not_holder(world: &mut World) {
    world.gateway();
    world.served.values_mut().for_each(|served| served.holder = 0);
}

pub fn cases() -> Vec<Case> {
    vec![
        case("ARP for a held address", FROM_WIRE, arp(1, "10.10.0.1", "10.10.0.11"))
            .given(gateway)
            .is("ANSWERED_ARP")
            .leaves_as("wire>asker arp is-at from 10.10.0.11 wire to 10.10.0.1 asker"),
        case("an ARP probe (RFC 5227)", FROM_WIRE, arp(1, "0.0.0.0", "10.10.0.11"))
            .given(gateway)
            .is("ANSWERED_ARP")
            .leaves_as("wire>asker arp is-at from 10.10.0.11 wire to 0.0.0.0 asker"),
        case("another gateway's announcement", FROM_WIRE, arp(1, "10.10.0.11", "10.10.0.11"))
            .given(gateway)
            .is("PASS_NOT_IP"),
        case("an ARP answer", FROM_WIRE, arp(2, "10.10.0.1", "10.10.0.11")).given(gateway).is("PASS_NOT_IP"),
        case("ARP for another address", FROM_WIRE, arp(1, "10.10.0.1", "10.10.0.101"))
            .given(gateway)
            .is("PASS_NOT_IP"),
        case("ARP for an address that another gateway holds", FROM_WIRE, arp(1, "10.10.0.1", "10.10.0.11"))
            .given(not_holder)
            .is("PASS_NOT_IP"),
        case("ARP on another wire", FROM_OTHER_WIRE, arp(1, "10.10.0.1", "10.10.0.11"))
            .given(gateway)
            .is("PASS_NOT_IP"),
        case("a solicitation for a held address", FROM_WIRE, who_has6("fd00:10:10::1", "fd00:10:10::11"))
            .given(gateway)
            .is("ANSWERED_NDP")
            .leaves_as("wire>asker advertisement fd00:10:10::11>fd00:10:10::1 of fd00:10:10::11 at wire 0x60 ttl=255"),
        case("duplicate address detection", FROM_WIRE, who_has6("::", "fd00:10:10::11"))
            .given(gateway)
            .is("ANSWERED_NDP")
            .leaves_as("wire>asker advertisement fd00:10:10::11>ff02::1 of fd00:10:10::11 at wire 0x20 ttl=255"),
        case("a solicitation for another address", FROM_WIRE, who_has6("fd00:10:10::1", "fd00:10:10::101"))
            .given(gateway)
            .is("PASS_NOT_EGRESS"),
        case("a solicitation for what another gateway holds", FROM_WIRE, who_has6("fd00:10:10::1", "fd00:10:10::11"))
            .given(not_holder)
            .is("PASS_NOT_EGRESS"),
        case(
            "a solicitation from off the link",
            FROM_WIRE,
            who_has6("fd00:10:10::1", "fd00:10:10::11").ttl(254),
        )
        .given(gateway)
        .is("PASS_NOT_EGRESS"),
        case("the kernel refuses to send the answer", FROM_WIRE, arp(1, "10.10.0.1", "10.10.0.11"))
            .given(|w| {
                w.gateway();
                w.kernel_refuses = true;
            })
            .is("DROP_KERNEL"),
    ]
}

//! Packet vectors: each program of the object in the kernel, one packet, and all that must come of it. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

mod case;
mod cases;
mod describe;
mod kernel;
mod names;
mod packet;
mod pieces;
#[path = "../model/sums.rs"]
#[allow(dead_code, reason = "the model uses all of it")]
mod sums;
#[path = "../support/mod.rs"]
mod support;
mod unfinished;
mod world;

use std::collections::BTreeSet;

use case::run;

#[test]
fn whose_packet_it_is() {
    run(cases::identity::cases());
}

#[test]
fn new_flows_of_a_selected_pod() {
    run(cases::opening::cases());
}

#[test]
fn the_way_out() {
    run(cases::leaving::cases());
}

#[test]
fn known_flows_of_a_selected_pod() {
    run(cases::carrying::cases());
}

#[test]
fn a_gateway_towards_the_outside() {
    run(cases::forwarding::cases());
}

#[test]
fn a_gateway_towards_the_nodes() {
    run(cases::steering::cases());
}

#[test]
fn back_onto_the_pods_link() {
    run(cases::returning::cases());
}

#[test]
fn icmp_errors() {
    run(cases::errors::cases());
}

#[test]
fn one_port_towards_everybody() {
    run(cases::mappings::cases());
}

#[test]
fn how_connections_close() {
    run(cases::closing::cases());
}

#[test]
fn senders_are_told() {
    run(cases::telling::cases());
}

#[test]
fn packets_that_may_be_cut() {
    run(cases::cutting::cases());
}

#[test]
fn datagrams_in_pieces() {
    run(cases::fragments::cases());
}

#[test]
fn what_the_rfcs_ask() {
    run(cases::rfc::cases());
}

#[test]
fn answers_for_held_addresses() {
    run(cases::neighbours::cases());
}

#[test]
fn probes() {
    run(cases::probes::cases());
}

#[test]
fn nodes_on_one_link() {
    run(cases::underlay::cases());
}

#[test]
fn a_gateways_own_address() {
    run(cases::own_address::cases());
}

#[test]
fn links_into_another_network() {
    run(cases::second::cases());
}

#[test]
fn the_parent_of_macvlans() {
    run(cases::parent::cases());
}

/// The list of verdicts in bpf/lib/reason.h and these vectors may not drift apart.
#[test]
fn every_verdict_has_a_vector() {
    let covered: BTreeSet<&str> = cases::all().iter().map(case::Case::verdict).collect();
    let missing: Vec<&str> = egret_datapath::REASONS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !covered.contains(name))
        .collect();
    assert!(missing.is_empty(), "no vector ends in {}", missing.join(", "));
}

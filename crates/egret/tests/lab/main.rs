//! Claims about the whole product, shown by the real programs on real packets in a lab of network namespaces.
//! They need root, and fail without it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod api_server;
mod applications;
mod attackers;
mod cluster;
mod diagnosis;
mod dialects;
mod exchange;
mod exhaustion;
mod fail_closed;
mod families;
mod flows;
mod growth;
mod hairpin;
mod harness;
mod house;
mod input;
mod installed;
mod leases;
mod local_traffic;
mod macvlan;
mod mtu;
mod neighbours;
mod node_addresses;
mod permissions;
mod removals;
mod scale;
mod sources;
mod survival;
mod switch;

//! What the requirements of RFC 4787, 5382, 5508, 6888 and 7857 ask of single packets. docs/nat.md names these vectors,
//! one row for each requirement.

mod connections;
mod datagrams;
mod ending;
mod filtering;
mod fragments;
mod hairpin;
mod icmp;
mod mapping;
mod node;
mod ports;
mod tcp;
mod told;

use crate::case::Case;
use crate::world::World;

const POD: &str = "10.244.1.10:41000";
const POD6: &str = "[fd00:10:244:1::10]:41000";
const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";
const EGRESS: &str = "10.10.0.11:2000";
const EGRESS6: &str = "[fd00:10:10::11]:2000";
const S: u8 = 0x02;
const SA: u8 = 0x12;

/// One flow of each kind, of both families, by the one port of the block.
fn flows(world: &mut World) {
    world.flow(6, POD, OUTSIDE, EGRESS, (SA, SA), 5);
    world.flow(6, POD6, OUTSIDE6, EGRESS6, (SA, SA), 5);
    world.flow(17, POD, OUTSIDE, EGRESS, (0, 0), 5);
    world.flow(17, POD6, OUTSIDE6, EGRESS6, (0, 0), 5);
    world.flow(1, "10.244.1.10:77", "198.51.100.9:0", EGRESS, (0, 0), 5);
    world.flow(58, "[fd00:10:244:1::10]:77", "[2001:db8::9]:0", EGRESS6, (0, 0), 5);
}

/// Every vector.
pub fn cases() -> Vec<Case> {
    [
        mapping::cases(),
        filtering::cases(),
        tcp::cases(),
        icmp::cases(),
        told::cases(),
        fragments::cases(),
        hairpin::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

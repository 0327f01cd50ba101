//! The vectors, by the question they are about.

pub mod carrying;
pub mod closing;
pub mod cutting;
pub mod errors;
mod exhaustion;
pub mod forwarding;
pub mod fragments;
mod gateway_memory;
pub mod identity;
pub mod leaving;
pub mod mappings;
pub mod neighbours;
pub mod opening;
pub mod own_address;
pub mod parent;
pub mod probes;
mod recording;
pub mod returning;
pub mod rfc;
pub mod second;
pub mod steering;
mod sweep;
pub mod telling;
pub mod underlay;

use crate::case::Case;

/// Every vector.
pub fn all() -> Vec<Case> {
    [
        identity::cases(),
        opening::cases(),
        leaving::cases(),
        carrying::cases(),
        forwarding::cases(),
        steering::cases(),
        returning::cases(),
        errors::cases(),
        mappings::cases(),
        closing::cases(),
        telling::cases(),
        cutting::cases(),
        fragments::cases(),
        neighbours::cases(),
        probes::cases(),
        underlay::cases(),
        rfc::cases(),
        own_address::cases(),
        second::cases(),
        parent::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

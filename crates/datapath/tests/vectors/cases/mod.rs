//! The vectors, by the question they are about.

pub mod carrying;
pub mod errors;
pub mod forwarding;
mod gateway_memory;
pub mod identity;
pub mod leaving;
pub mod neighbours;
pub mod opening;
pub mod probes;
pub mod returning;
pub mod steering;
mod sweep;
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
        neighbours::cases(),
        probes::cases(),
        underlay::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

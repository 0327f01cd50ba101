//! What the controller decides: whose an address is, whose its ports are, and what each object is told.

mod candidates;
mod claims;
mod decider;
mod leases;
mod own;
mod preferred;
mod record;
mod status;

use std::collections::BTreeMap;

use egret_api::{EgressAddressSpec, ObjectKey};
use jiff::Timestamp;

use crate::inside::ClusterSettings;
use crate::world::World;

pub(crate) use claims::Claims;
pub use decider::Decider;
pub use leases::{OWN_PORTS, QUARANTINE};

/// What the controller writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Every EgressAddress that must exist, by the record's name. What is not here must not exist.
    pub addresses: BTreeMap<String, EgressAddressSpec>,
    /// The whole `.status` of every pool and policy; of a Service our conditions only.
    pub statuses: BTreeMap<ObjectKey, serde_json::Value>,
    /// When time alone changes the decision.
    pub wake: Option<Timestamp>,
}

/// Decides from scratch. [`Decider`] decides the same, and looks only at what changed.
pub fn decide(world: &World, _settings: &ClusterSettings, now: Timestamp) -> Decision {
    let mut decider = Decider::default();
    decider.everything(world, now);
    decider.into_decision()
}

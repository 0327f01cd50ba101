//! Which of the policies that select a pod decides about a packet, made ready for many packets.

use std::sync::Arc;

use super::{Packet, captures};
use crate::intent::Intent;
use crate::node::{families, verdict};
use crate::pods::PodFacts;
use crate::world::World;

/// The policies that select a pod, in the order of precedence, with the families that each captures now.
#[derive(Clone, Debug, Default)]
pub struct Deciders(Vec<(Arc<Intent>, (bool, bool))>);

impl Deciders {
    /// Those of a pod.
    pub fn of(world: &World, pod: &PodFacts) -> Self {
        let captured = |intent: &Arc<Intent>| {
            (intent.clone(), families(world, intent, verdict(world, intent, |_, _| true)))
        };
        Self(pod.policies.iter().map(captured).collect())
    }

    /// The policy that decides about a packet to the outside.
    pub fn decider(&self, packet: Packet) -> Option<&Intent> {
        let found = self.0.iter().find(|(intent, families)| captures(intent, *families, Some(packet)));
        found.map(|(intent, _)| &**intent)
    }
}

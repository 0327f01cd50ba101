//! Records that others removed, and definitions that do not keep all of one: what is written must not be lost by
//! what happens to its definition.

use std::collections::BTreeSet;

use egret_api::{Kind, ObjectKey};
use serde_json::Value;

use super::super::pruned;
use super::{Cache, Keep, Place};
use crate::Problem;
use crate::decode::is_record;

impl Cache {
    /// Keeps a record that is gone and was meant to be there; false if it was not. `taken`: nobody meant to remove it;
    /// else only one that was lost before stays.
    pub(super) fn lose(&mut self, kind: Kind, place: &Place, taken: bool) -> bool {
        let Some(entry) = self.kinds.get_mut(&kind).and_then(|l| l.entries.get_mut(place)) else {
            return false;
        };
        if taken && entry.meant && !entry.lost {
            (entry.lost, entry.version, entry.own) = (true, 0, 0);
            self.fresh = true;
        }
        entry.lost
    }

    /// Records that are gone, and in force.
    pub(super) fn lost(&self) -> BTreeSet<ObjectKey> {
        let mut lost = BTreeSet::new();
        for (kind, listing) in self.kinds.iter().filter(|(kind, _)| is_record(**kind)) {
            for (place, _) in listing.entries.iter().filter(|(_, entry)| entry.lost) {
                let (namespace, name) = (place.0.to_string(), place.1.to_string());
                lost.insert(ObjectKey { kind: *kind, namespace, name });
            }
        }
        lost
    }

    /// A record was written, and this is what the server kept of it; its definition may not keep all. Returns whether
    /// that is news.
    pub(crate) fn outdated(&mut self, kind: Kind, problem: Option<Problem>, kept: &Value) -> bool {
        let listing = self.kinds.entry(kind).or_default();
        match (&listing.outdated, problem) {
            (None, Some(problem)) => listing.outdated = Some(problem),
            // Not every record has every field.
            (Some(before), None) if before.field.as_deref().is_some_and(|field| pruned::has(kept, field)) => {
                listing.outdated = None;
            }
            _ => return false,
        }
        self.fresh = true;
        listing.outdated.is_some()
    }
}

/// A record that says of itself that it is needed: who removes one says before that it is not. A definition that is
/// removed, and people who remove a record by mistake, do not.
pub(super) fn is_meant(kind: Kind, value: &Value, keep: Keep) -> bool {
    match kind {
        Kind::EgressAddress => {
            let leases = value.pointer("/spec/leases").and_then(Value::as_array);
            keep.addresses || leases.is_some_and(|leases| !leases.is_empty())
        }
        Kind::EgressNode => value.pointer("/spec/ready") == Some(&Value::Bool(true)),
        Kind::EgressDialect => true,
        _ => false,
    }
}

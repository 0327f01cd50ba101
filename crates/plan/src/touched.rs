//! What changed in the world since a decision was last made from it, so that the next need not look at the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::{Kind, ObjectKey};

use crate::facts::{Record, Report};

/// What changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    /// Somebody asks; else nothing is noted.
    asked: bool,
    /// More than can be told one by one.
    pub everything: bool,
    /// Policies that are new, changed or gone, or whose namespace's labels changed.
    pub policies: BTreeSet<ObjectKey>,
    /// Policies that began or ceased to select pods on a node.
    pub used: BTreeSet<ObjectKey>,
    /// Addresses whose record changed, or of which a node reports something else.
    pub addresses: BTreeSet<IpAddr>,
    /// Policies and pools of which nothing but the status may differ.
    pub statuses: BTreeSet<ObjectKey>,
}

impl Touched {
    /// What changed since the last call.
    pub fn take(&mut self) -> Touched {
        let mut taken = std::mem::take(self);
        taken.everything |= !taken.asked;
        self.asked = true;
        taken
    }

    fn notes(&self) -> bool {
        self.asked && !self.everything
    }

    pub fn everything(&mut self) {
        self.everything = true;
    }

    pub fn policies<'a>(&mut self, keys: impl IntoIterator<Item = &'a ObjectKey>) {
        if self.notes() {
            self.policies.extend(keys.into_iter().cloned());
        }
    }

    pub fn used<'a>(&mut self, keys: impl IntoIterator<Item = &'a ObjectKey>) {
        if self.notes() {
            self.used.extend(keys.into_iter().cloned());
        }
    }

    pub fn addresses<'a>(&mut self, addresses: impl IntoIterator<Item = &'a IpAddr>) {
        if self.notes() {
            self.addresses.extend(addresses);
        }
    }

    pub fn status(&mut self, key: &ObjectKey) {
        if self.notes() {
            self.statuses.insert(key.clone());
        }
    }

    /// A record is new or gone, or about to change: so are the claims that it keeps.
    pub fn record(&mut self, record: &Record) {
        if self.notes() {
            self.addresses.insert(record.address);
            self.policies.extend(record.spec.claims.iter().filter_map(|claim| {
                let kind = Kind::ALL.iter().find(|k| k.as_str() == claim.kind)?;
                Some(ObjectKey { kind: *kind, namespace: claim.namespace.clone(), name: claim.name.clone() })
            }));
        }
    }

    /// A node reports something else.
    pub fn report(&mut self, old: Option<&Report>, new: Option<&Report>) {
        if !self.notes() {
            return;
        }
        let wires = |report: Option<&Report>| report.map(|r| r.wires.clone()).unwrap_or_default();
        if wires(old) != wires(new) {
            return self.everything();
        }
        let (none, before, after) = (Report::default(), old, new);
        let (before, after) = (before.unwrap_or(&none), after.unwrap_or(&none));
        self.addresses.extend(before.holds.symmetric_difference(&after.holds));
        self.addresses.append(&mut differing(&before.programmed, &after.programmed));
        self.addresses.append(&mut differing(&before.ports, &after.ports));
        self.addresses.append(&mut differing(&before.holders, &after.holders));
    }
}

/// The addresses whose values differ.
pub(crate) fn differing<V: PartialEq>(
    before: &BTreeMap<IpAddr, V>,
    after: &BTreeMap<IpAddr, V>,
) -> BTreeSet<IpAddr> {
    if before == after {
        return BTreeSet::new();
    }
    let changed = before.iter().filter(|(address, value)| after.get(address) != Some(value));
    let new = after.keys().filter(|address| !before.contains_key(address));
    changed.map(|(address, _)| address).chain(new).copied().collect()
}

//! Decisions one after the other: what did not change since the last is not decided again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::{Kind, ObjectKey};
use jiff::Timestamp;

use super::Decision;
use super::candidates::Candidates;
use super::claims::Claims;
use super::record;
use super::status;
use crate::facts::record_name;
use crate::inside::ClusterSettings;
use crate::spread::answers;
use crate::touched::Touched;
use crate::world::World;

/// Decides for one world, again and again.
#[derive(Clone, Debug, Default)]
pub struct Decider {
    decision: Decision,
    pub(super) claims: Claims,
    candidates: Candidates,
    /// What is known of each address besides its record.
    pub(super) standings: BTreeMap<IpAddr, record::Standing>,
    /// When time alone changes a record.
    wakes: BTreeMap<IpAddr, Timestamp>,
    /// Addresses whose record is not as decided yet.
    unwritten: BTreeSet<IpAddr>,
    /// Objects whose status is not as decided yet.
    untold: BTreeSet<ObjectKey>,
    /// Objects whose status was decided in the last decision; absent: all of them.
    looked_at: Option<BTreeSet<ObjectKey>>,
}

impl Decider {
    /// Decides anew about what changed in the world since the last call. Only the world that was given at the
    /// first call may be given again.
    pub fn decide(&mut self, world: &mut World, _settings: &ClusterSettings, now: Timestamp) -> &Decision {
        let touched = world.take_touched();
        if touched.everything || !self.changes(world, &touched, now) {
            self.everything(world, now);
        }
        &self.decision
    }

    /// The last decision.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    pub(super) fn into_decision(self) -> Decision {
        self.decision
    }

    /// Names of records that the store does not hold as decided: to be written, or deleted if the decision has
    /// none of that name.
    pub fn unwritten(&self) -> impl Iterator<Item = String> {
        self.unwritten.iter().map(|address| record_name(*address))
    }

    /// Objects whose status the store does not hold as decided.
    pub fn untold(&self) -> impl Iterator<Item = &ObjectKey> {
        self.untold.iter()
    }

    /// Objects whose status may be another by the last decision; `None`: any may be.
    pub fn looked_at(&self) -> Option<&BTreeSet<ObjectKey>> {
        self.looked_at.as_ref()
    }

    /// The address of a policy, and the node that holds it, by what nodes report.
    pub fn served(&self, policy: &ObjectKey) -> Option<(IpAddr, Option<&str>)> {
        let address = self.claims.address(policy)?;
        let standing = self.standings.get(&address)?;
        Some((address, standing.holder.as_deref()))
    }

    /// Decides about everything.
    pub(super) fn everything(&mut self, world: &World, now: Timestamp) {
        *self = Decider { candidates: Candidates::new(world), ..Decider::default() };
        self.claims.settle(world);
        let mut addresses: BTreeSet<IpAddr> = self.claims.by_address.keys().copied().collect();
        addresses.extend(world.records().keys());
        let addresses: Vec<IpAddr> = addresses.into_iter().collect();
        let decide = |address: &IpAddr| record::decide(world, &self.claims, &self.candidates, *address, now);
        for (address, decided) in addresses.iter().zip(answers(&addresses, decide)) {
            self.keep_record(*address, decided);
        }
        let objects: Vec<&ObjectKey> = world.policies().keys().chain(world.pools().keys()).collect();
        let teller = status::Teller { world, now, decision: &self.decision, decider: self };
        let tell = |key: &&ObjectKey| teller.of(key);
        for (key, status) in objects.iter().zip(answers(&objects, tell)) {
            self.keep_status(key, status);
        }
        self.decision.wake = self.wakes.values().min().copied();
    }

    /// Decides about what changed; false if that cannot be told apart from the rest.
    fn changes(&mut self, world: &World, touched: &Touched, now: Timestamp) -> bool {
        let mut addresses = touched.addresses.clone();
        let Some(claimed) = self.claims.again(world, &touched.policies) else { return false };
        addresses.extend(claimed);
        let used = touched.used.iter().chain(&touched.policies);
        addresses.extend(used.flat_map(|key| self.claims.addresses(key)));
        addresses.extend(self.unwritten.iter());
        addresses.extend(self.wakes.iter().filter(|(_, at)| **at <= now).map(|(address, _)| *address));

        let mut told: BTreeSet<ObjectKey> =
            touched.policies.iter().chain(&touched.statuses).cloned().collect();
        told.extend(self.untold.iter().cloned());
        told.extend(self.claims.take_changed());
        for address in addresses {
            self.record(world, address, now);
            let used = self.claims.by_address.get(&address);
            told.extend(used.into_iter().flat_map(|u| &u.ranks).map(|rank| rank.key.clone()));
            // Its status tells of the one address that it has.
            told.extend(used.map(|u| u.pool.clone()).filter(|pool| pool.kind == Kind::EgressGateway));
            told.extend(self.claims.own.pools_with(address).cloned());
        }
        // Whether a policy comes second in a family depends on the address of the first.
        let second: Vec<ObjectKey> = told.iter().flat_map(|key| world.outranked_by(key)).cloned().collect();
        told.extend(second);
        for key in &told {
            self.tell(world, key, now);
        }
        self.looked_at = Some(told);
        self.decision.wake = self.wakes.values().min().copied();
        true
    }

    /// Decides the record of an address.
    fn record(&mut self, world: &World, address: IpAddr, now: Timestamp) {
        let decided = record::decide(world, &self.claims, &self.candidates, address, now);
        self.keep_record(address, decided);
    }

    fn keep_record(&mut self, address: IpAddr, decided: record::Decided) {
        let name = record_name(address);
        self.wakes.remove(&address);
        self.unwritten.remove(&address);
        if !decided.written {
            self.unwritten.insert(address);
        }
        if let Some(wake) = decided.wake {
            self.wakes.insert(address, wake);
        }
        match decided.spec {
            Some(spec) => {
                self.decision.addresses.insert(name, spec);
                self.standings.insert(address, decided.standing);
            }
            None => {
                self.decision.addresses.remove(&name);
                self.standings.remove(&address);
            }
        }
    }

    /// Decides the status of a policy or pool.
    fn tell(&mut self, world: &World, key: &ObjectKey, now: Timestamp) {
        let status = status::Teller { world, now, decision: &self.decision, decider: self }.of(key);
        self.keep_status(key, status);
    }

    fn keep_status(&mut self, key: &ObjectKey, told: Option<status::Told>) {
        self.untold.remove(key);
        let Some(status::Told { status, written }) = told else {
            self.decision.statuses.remove(key);
            return;
        };
        if !written {
            self.untold.insert(key.clone());
        }
        self.decision.statuses.insert(key.clone(), status);
    }
}

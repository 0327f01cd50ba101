//! One pass: decide, write what differs, say how far we are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use egret_api::{
    Dialect, EgressAddress, EgressAddressSpec, EgressDialect, EgressDialectSpec, Kind, Mode, Modes, Object,
    ObjectKey,
};
use egret_plan::allocate::Decider;
use egret_plan::{ClusterSettings, World};
use egret_store::{Changes, Progress, Recorder, StoreError};
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::complaints::Complaints;
use crate::events::{self, Told};
use crate::failing::Failing;
use crate::metrics::Metrics;
use crate::rivals::{Rivals, earlier};

/// What is known, and what was decided of it last.
pub(crate) struct Controller {
    settings: ClusterSettings,
    world: World,
    decider: Decider,
    /// The records of addresses as they are in the store.
    records: BTreeMap<String, EgressAddress>,
    /// How far other systems' objects count.
    modes: Modes,
    /// What the store says of that: agents obey it.
    published: BTreeMap<String, Mode>,
    complaints: Complaints,
    rivals: Rivals,
    /// What could not be written.
    failing: Failing,
    /// Records that somebody else removed.
    lost: BTreeSet<ObjectKey>,
    /// What people were told of by events.
    events: Told,
    stale_statuses: BTreeSet<ObjectKey>,
    /// What the world was made of.
    read: Progress,
    /// What others were told.
    told: Option<Progress>,
}

/// What a pass leaves to be done.
pub(crate) struct Outcome {
    /// Something could not be written: try again soon.
    pub failed: bool,
    /// When time alone changes the decision.
    pub wake: Option<Timestamp>,
}

impl Controller {
    pub(crate) fn new(settings: ClusterSettings, modes: Modes) -> Self {
        Self {
            settings,
            world: World::with_modes(modes.clone()),
            modes,
            published: BTreeMap::new(),
            decider: Decider::default(),
            records: BTreeMap::new(),
            complaints: Complaints::default(),
            rivals: Rivals::default(),
            failing: Failing::default(),
            lost: BTreeSet::new(),
            events: Told::default(),
            stale_statuses: BTreeSet::new(),
            read: Progress::default(),
            told: None,
        }
    }

    /// Takes over what changed in the store.
    pub(crate) fn take(&mut self, changes: Changes) {
        self.complaints.of_manifests(&changes.problems);
        for key in &changes.deleted {
            self.delete(key);
        }
        // Pods last: each then looks for its policies once, instead of each policy for its pods.
        let (pods, others): (Vec<_>, Vec<_>) =
            changes.applied.into_iter().partition(|object| object.kind() == Kind::Pod);
        for object in others.into_iter().chain(pods) {
            self.apply(object);
        }
        self.stale_statuses = changes.stale_statuses;
        // Where a system is not on, its objects are its own.
        self.stale_statuses.retain(|key| self.world.mode(key.kind) == Mode::On);
        self.lost = changes.lost;
        self.read =
            Progress { observed_objects: changes.objects_digest, addresses: changes.addresses_digest };
    }

    fn apply(&mut self, object: Arc<Object>) {
        if let Object::EgressAddress(record) = &*object {
            self.records.insert(object.key().name, (**record).clone());
        }
        if let Object::EgressDialect(dialect) = &*object {
            // Who says it does not obey it.
            self.published.insert(object.key().name, dialect.spec.mode);
            return;
        }
        self.world.apply_shared(object);
    }

    fn delete(&mut self, key: &ObjectKey) {
        if key.kind == Kind::EgressAddress {
            self.records.remove(&key.name);
        }
        self.events.forget(key);
        if key.kind == Kind::EgressDialect {
            self.published.remove(&key.name);
            return;
        }
        self.world.delete(key);
    }

    /// Decides, and writes. `origin` says where people wrote an object.
    pub(crate) async fn pass(
        &mut self,
        recorder: &impl Recorder,
        origin: impl Fn(&ObjectKey) -> Option<String>,
        now: Timestamp,
        metrics: &Metrics,
    ) -> Outcome {
        let begun = Instant::now();
        self.decider.decide(&mut self.world, &self.settings, now);
        let (statuses, looked_at) = (&self.decider.decision().statuses, self.decider.looked_at());
        self.complaints.of_statuses(statuses, looked_at, origin);
        metrics.decided(begun.elapsed(), self.complaints.count());

        let news = self.events.news(&self.world, &self.decider, &self.records);

        let (mut writes, mut published, mut later) = (Writes::default(), Writes::default(), None);
        // Before all else: what an address is given for must be captured, and what is captured be given an address.
        self.publish(recorder, now, &mut published).await;
        self.write_addresses(recorder, now, &mut writes).await;
        let unchanged = writes.count + published.count == 0;
        // What waits for its turn has failed before.
        if writes.failures + writes.postponed == 0 {
            later = self.write_statuses(recorder, now, &mut writes).await;
            for event in self.events.tell(news) {
                // Of what is at fault the log says more already.
                if events::EVENTS.iter().any(|(reason, _)| *reason == event.reason) {
                    tracing::info!(object = %event.regarding, reason = event.reason, "{}", event.note);
                }
                recorder.tell(event);
            }
        }
        if writes.failures + writes.postponed == 0 && unchanged && self.told.as_ref() != Some(&self.read) {
            // What was just written is read first: then the records are those that others see.
            let progress = self.read.clone();
            match recorder.write_progress(&progress).await {
                Ok(()) => self.told = Some(progress),
                failed => drop(writes.note(failed)),
            }
        }
        metrics.written(writes.failures + published.failures);
        let failures = writes.failures + writes.postponed + published.failures + published.postponed;
        Outcome { failed: failures > 0, wake: earlier(later, self.decider.decision().wake) }
    }

    /// Something was read: there is something to decide about.
    pub(crate) fn has_read(&self) -> bool {
        !self.read.observed_objects.is_empty()
    }

    /// Others may have decided since.
    pub(crate) fn begin_term(&mut self) {
        self.told = None;
        self.events.begin_term();
    }

    /// Says how far other systems' objects count.
    async fn publish(&mut self, recorder: &impl Recorder, now: Timestamp, writes: &mut Writes) {
        for dialect in Dialect::ALL {
            let (name, mode) = (dialect.name(), self.modes.of(dialect));
            let record = EgressDialect::new(name, EgressDialectSpec { mode });
            let record = Object::EgressDialect(Box::new(record));
            let key = record.key();
            if self.published.get(name) == Some(&mode) && !self.lost.contains(&key) {
                continue;
            }
            if !self.failing.is_due(&key, now) {
                writes.postponed += 1;
                continue;
            }
            let well = writes.note(recorder.write_record(&record).await);
            self.failing.note(&key, well, now);
            if well {
                self.lost.remove(&key);
                tracing::info!(dialect = name, mode = mode.name(), "how far its objects count");
                self.apply(Arc::new(record));
            }
        }
    }

    async fn write_addresses(&mut self, recorder: &impl Recorder, now: Timestamp, writes: &mut Writes) {
        let decision = self.decider.decision();
        let (mut records, mut gone) = (Vec::new(), Vec::new());
        let lost = self.lost.iter().filter(|key| key.kind == Kind::EgressAddress);
        let names: BTreeSet<String> =
            self.decider.unwritten().chain(lost.map(|key| key.name.clone())).collect();
        for name in names {
            let key = ObjectKey { kind: Kind::EgressAddress, namespace: String::new(), name };
            if !self.failing.is_due(&key, now) {
                writes.postponed += 1;
                continue;
            }
            let name = &key.name;
            let old = self.records.get(name);
            let Some(spec) = decision.addresses.get(name) else {
                gone.push((old.filter(|old| !old.spec.leases.is_empty()).map(emptied), key));
                continue;
            };
            tell(old.map(|old| &old.spec), spec);
            let mut record = EgressAddress::new(name, spec.clone());
            match old {
                Some(old) => record.metadata = old.metadata.clone(),
                None => record.metadata.creation_timestamp = Some(Time(now)),
            }
            records.push(Object::EgressAddress(Box::new(record)));
        }
        let written = at_once(records, async |record| (recorder.write_record(&record).await, record)).await;
        let remove = async |(emptied, key): (Option<Object>, ObjectKey)| {
            if let Some(emptied) = emptied
                && let Err(error) = recorder.write_record(&emptied).await
            {
                return (Err(error), key);
            }
            (recorder.delete_record(&key).await, key)
        };
        let removed = at_once(gone, remove).await;
        // Known at once: no decision may be made as if it had not been written.
        for (result, record) in written {
            let (key, well) = (record.key(), writes.note(result));
            self.failing.note(&key, well, now);
            if well {
                self.lost.remove(&key);
                self.apply(Arc::new(record));
            }
        }
        for (result, key) in removed {
            let well = writes.note(result);
            self.failing.note(&key, well, now);
            if well {
                self.lost.remove(&key);
                tracing::info!(record = key.name, "egress address given back");
                let record = self.records.get(&key.name);
                if let Some(event) = record.and_then(|record| events::released(&record.spec)) {
                    recorder.tell(event);
                }
                self.delete(&key);
            }
        }
    }

    /// Tells what the store does not hold yet. Returns when to go on, if something has to wait.
    async fn write_statuses(
        &mut self,
        recorder: &impl Recorder,
        now: Timestamp,
        writes: &mut Writes,
    ) -> Option<Timestamp> {
        let statuses = &self.decider.decision().statuses;
        self.rivals.keep(statuses);
        self.failing.keep(|key| {
            matches!(key.kind, Kind::EgressAddress | Kind::EgressDialect) || statuses.contains_key(key)
        });
        let untold = self.decider.untold().filter_map(|key| Some((key, statuses.get(key)?)));
        let (mut due, mut later) = (Vec::new(), None);
        for (key, status) in untold {
            if !self.failing.is_due(key, now) {
                writes.postponed += 1;
                continue;
            }
            match self.rivals.later(key, status, now) {
                None => due.push((key, status)),
                at => later = earlier(later, at),
            }
        }
        let write = async |(key, status)| (recorder.write_status(key, status).await, key, status);
        for (result, key, status) in at_once(due, write).await {
            let well = writes.note(result);
            self.failing.note(key, well, now);
            if well {
                self.rivals.wrote(key, status, now);
            }
        }
        for key in std::mem::take(&mut self.stale_statuses) {
            writes.note(recorder.delete_status(&key).await);
        }
        later
    }
}

/// Does for each what is to be done, several at a time: an API server takes a while to answer each, and has time for
/// others meanwhile.
async fn at_once<T, R, F: Future<Output = R>>(of: Vec<T>, each: impl Fn(T) -> F) -> Vec<R> {
    const AT_ONCE: usize = 16;
    stream::iter(of).map(each).buffer_unordered(AT_ONCE).collect().await
}

#[derive(Default)]
struct Writes {
    count: u64,
    failures: u64,
    /// Writes that have failed, and whose turn has not come.
    postponed: u64,
}

impl Writes {
    /// Notes how a write went; true if it went well.
    fn note(&mut self, result: Result<(), StoreError>) -> bool {
        self.count += 1;
        if let Err(error) = &result {
            tracing::error!("{error}");
            self.failures += 1;
        }
        result.is_ok()
    }
}

/// A record that says that nobody needs it any more: then its end is known for what it is.
fn emptied(record: &EgressAddress) -> Object {
    let spec = EgressAddressSpec { claims: Vec::new(), leases: Vec::new(), ..record.spec.clone() };
    Object::EgressAddress(Box::new(EgressAddress::new(
        record.metadata.name.as_deref().unwrap_or_default(),
        spec,
    )))
}

/// What changes about an address, for those who read logs.
fn tell(old: Option<&EgressAddressSpec>, new: &EgressAddressSpec) {
    let claims: Vec<_> = new.claims.iter().map(|claim| format!("{} {}", claim.kind, claim.name)).collect();
    match old {
        None => {
            tracing::info!(address = new.address, pool = new.pool, claims = claims.join(", "), "allocated")
        }
        Some(old) if old.candidates != new.candidates => {
            tracing::info!(address = new.address, candidates = new.candidates.join(", "), "gateways changed");
        }
        Some(old) if old.leases != new.leases => {
            tracing::info!(
                address = new.address,
                leases = new.leases.len(),
                revision = new.revision,
                "leases changed"
            );
        }
        Some(_) => tracing::debug!(address = new.address, "record changed"),
    }
}

#[cfg(test)]
mod tests;

//! One pass: decide, write what differs, say how far we are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use egret_api::{EgressAddress, EgressAddressSpec, Kind, Object, ObjectKey};
use egret_plan::allocate::Decider;
use egret_plan::{ClusterSettings, World};
use egret_store::{Changes, Progress, Recorder, StoreError};
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::complaints::Complaints;
use crate::events::{self, Told};
use crate::metrics::Metrics;

/// What is known, and what was decided of it last.
pub(crate) struct Controller {
    settings: ClusterSettings,
    world: World,
    decider: Decider,
    /// The records of addresses as they are in the store.
    records: BTreeMap<String, EgressAddress>,
    complaints: Complaints,
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
    pub(crate) fn new(settings: ClusterSettings) -> Self {
        Self {
            settings,
            world: World::default(),
            decider: Decider::default(),
            records: BTreeMap::new(),
            complaints: Complaints::default(),
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
            self.apply(Arc::unwrap_or_clone(object));
        }
        self.stale_statuses = changes.stale_statuses;
        self.read =
            Progress { observed_objects: changes.objects_digest, addresses: changes.addresses_digest };
    }

    fn apply(&mut self, object: Object) {
        if let Object::EgressAddress(record) = &object {
            self.records.insert(object.key().name, (**record).clone());
        }
        self.world.apply(object);
    }

    fn delete(&mut self, key: &ObjectKey) {
        if key.kind == Kind::EgressAddress {
            self.records.remove(&key.name);
        }
        self.events.forget(key);
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
        self.complaints.of_statuses(&self.decider.decision().statuses, origin);
        metrics.decided(begun.elapsed(), self.complaints.count());

        let news = self.events.news(&self.world, &self.decider, &self.records);

        let mut writes = Writes::default();
        self.write_addresses(recorder, now, &mut writes).await;
        let unchanged = writes.count == 0;
        if writes.failures == 0 {
            self.write_statuses(recorder, &mut writes).await;
            for event in self.events.tell(news) {
                // Of what is at fault the log says more already.
                if events::EVENTS.iter().any(|(reason, _)| *reason == event.reason) {
                    tracing::info!(object = %event.regarding, reason = event.reason, "{}", event.note);
                }
                recorder.tell(event);
            }
        }
        if writes.failures == 0 && unchanged && self.told.as_ref() != Some(&self.read) {
            // What was just written is read first: then the records are those that others see.
            let progress = self.read.clone();
            match recorder.write_progress(&progress).await {
                Ok(()) => self.told = Some(progress),
                failed => drop(writes.note(failed)),
            }
        }
        metrics.written(writes.failures);
        Outcome { failed: writes.failures > 0, wake: self.decider.decision().wake }
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

    async fn write_addresses(&mut self, recorder: &impl Recorder, now: Timestamp, writes: &mut Writes) {
        let decision = self.decider.decision();
        let (mut records, mut gone) = (Vec::new(), Vec::new());
        for name in self.decider.unwritten() {
            let old = self.records.get(&name);
            let Some(spec) = decision.addresses.get(&name) else {
                gone.push(ObjectKey { kind: Kind::EgressAddress, namespace: String::new(), name });
                continue;
            };
            tell(old.map(|old| &old.spec), spec);
            let mut record = EgressAddress::new(&name, spec.clone());
            match old {
                Some(old) => record.metadata = old.metadata.clone(),
                None => record.metadata.creation_timestamp = Some(Time(now)),
            }
            records.push(Object::EgressAddress(Box::new(record)));
        }
        let written = at_once(records, async |record| (recorder.write_record(&record).await, record)).await;
        let removed = at_once(gone, async |key| (recorder.delete_record(&key).await, key)).await;
        // Known at once: no decision may be made as if it had not been written.
        for (result, record) in written {
            if writes.note(result) {
                self.apply(record);
            }
        }
        for (result, key) in removed {
            if writes.note(result) {
                tracing::info!(record = key.name, "egress address given back");
                let record = self.records.get(&key.name);
                if let Some(event) = record.and_then(|record| events::released(&record.spec)) {
                    recorder.tell(event);
                }
                self.delete(&key);
            }
        }
    }

    async fn write_statuses(&mut self, recorder: &impl Recorder, writes: &mut Writes) {
        let statuses = &self.decider.decision().statuses;
        let untold: Vec<_> =
            self.decider.untold().filter_map(|key| Some((key, statuses.get(key)?))).collect();
        for result in at_once(untold, async |(key, status)| recorder.write_status(key, status).await).await {
            writes.note(result);
        }
        for key in std::mem::take(&mut self.stale_statuses) {
            writes.note(recorder.delete_status(&key).await);
        }
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

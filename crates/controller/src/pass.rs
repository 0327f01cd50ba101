//! One pass: read, decide, write what differs, say how far we are.

use std::time::Instant;

use egret_api::{EgressAddress, EgressAddressSpec, Kind, Object, ObjectKey};
use egret_plan::ClusterSettings;
use egret_plan::allocate::Decider;
use egret_store::{Progress, Recorder, Store, StoreError};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::cluster::Cluster;
use crate::complaints::Complaints;
use crate::metrics::Metrics;

/// What is kept between passes, to do less in the next; nothing of it is needed.
pub(crate) struct Controller {
    settings: ClusterSettings,
    cluster: Cluster,
    decider: Decider,
    complaints: Complaints,
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
        let (cluster, decider, complaints) = Default::default();
        Self { settings, cluster, decider, complaints }
    }

    pub(crate) async fn pass<S: Store>(&mut self, store: &S, now: Timestamp, metrics: &Metrics) -> Outcome {
        let recorder = store.recorder();
        let snapshot = store.snapshot();
        self.complaints.of_manifests(&snapshot.problems);
        self.cluster.update(&snapshot);
        let begun = Instant::now();
        let decision = self.decider.decide(self.cluster.world(), &self.settings, now);
        let wake = decision.wake;
        self.complaints.of_statuses(&decision.statuses, |key| store.origin(key));
        metrics.decided(begun.elapsed(), self.complaints.count());

        let mut writes = Writes::default();
        self.write_addresses(&recorder, now, &mut writes).await;
        if writes.failures == 0 {
            // Taken after the writing: it is what the agents will see.
            let addresses = match self.decider.unwritten().next() {
                Some(_) => store.snapshot().addresses_digest,
                None => snapshot.addresses_digest,
            };
            let progress = Progress { observed_objects: snapshot.objects_digest, addresses };
            self.write_statuses(&recorder, &mut writes).await;
            for key in snapshot.stale_statuses {
                writes.note(recorder.delete_status(&key).await);
            }
            writes.note(recorder.write_progress(&progress).await);
        }
        metrics.written(writes.failures);
        Outcome { failed: writes.failures > 0, wake }
    }

    async fn write_addresses(&self, recorder: &impl Recorder, now: Timestamp, writes: &mut Writes) {
        for name in self.decider.unwritten() {
            let old = self.cluster.addresses().get(&name);
            let Some(spec) = self.decider.decision().addresses.get(&name) else {
                tracing::info!(record = name, "egress address given back");
                let key = ObjectKey { kind: Kind::EgressAddress, namespace: String::new(), name };
                writes.note(recorder.delete_record(&key).await);
                continue;
            };
            tell(old.map(|old| &old.spec), spec);
            let mut record = EgressAddress::new(&name, spec.clone());
            match old {
                Some(old) => record.metadata = old.metadata.clone(),
                None => record.metadata.creation_timestamp = Some(Time(now)),
            }
            writes.note(recorder.write_record(&Object::EgressAddress(Box::new(record))).await);
        }
    }

    async fn write_statuses(&self, recorder: &impl Recorder, writes: &mut Writes) {
        for key in self.decider.untold() {
            if let Some(status) = self.decider.decision().statuses.get(key) {
                writes.note(recorder.write_status(key, status).await);
            }
        }
    }
}

#[derive(Default)]
struct Writes {
    failures: u64,
}

impl Writes {
    fn note(&mut self, result: Result<(), StoreError>) {
        if let Err(error) = result {
            tracing::error!("{error}");
            self.failures += 1;
        }
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

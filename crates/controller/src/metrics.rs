//! The controller's figures.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use egret_status::Report;
use egret_store::Reading;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Figures, and whether there has been a decision at all.
pub(crate) struct Metrics {
    registry: Registry,
    decision: Histogram,
    faults: Gauge,
    failures: Counter,
    decided: AtomicBool,
    standby: Mutex<Option<Reading>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let decision = Histogram::new(exponential_buckets(0.000_1, 4.0, 10));
        let (faults, failures) = (Gauge::default(), Counter::default());
        registry.register(
            "egret_build",
            "Version of the program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register(
            "egret_decision_seconds",
            "Time for one decision over the whole cluster",
            decision.clone(),
        );
        registry.register(
            "egret_faulty_objects",
            "Objects and manifests that people should correct",
            faults.clone(),
        );
        registry.register("egret_store_failures", "Writes to the store that failed", failures.clone());
        Self {
            registry,
            decision,
            faults,
            failures,
            decided: AtomicBool::new(false),
            standby: Mutex::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn decided(&self, took: Duration, faults: usize) {
        self.decision.observe(took.as_secs_f64());
        self.faults.set(i64::try_from(faults).unwrap_or(i64::MAX));
    }

    /// It is another controller's turn, or this one's again.
    pub(crate) fn stands_by(&self, reading: Option<Reading>) {
        *self.standby.lock().unwrap_or_else(PoisonError::into_inner) = reading;
    }

    /// A pass has come to its end; `failures` writes of it did not succeed.
    pub(crate) fn written(&self, failures: u64) {
        self.failures.inc_by(failures);
        if failures == 0 {
            self.decided.store(true, Ordering::Relaxed);
        }
    }
}

impl Report for Metrics {
    fn metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        // Who has read everything can take over at once.
        let standby = self.standby.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(reading) = standby {
            return match reading.is_complete() {
                true => Ok(()),
                false => Err("the API server has not told everything yet".into()),
            };
        }
        match self.decided.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("no decision is in force yet: the store has not been written, or another controller is at work".into()),
        }
    }
}

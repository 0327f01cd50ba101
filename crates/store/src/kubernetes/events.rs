//! Events as `kubectl describe` shows them, apart from what matters: told by a task of its own, never waited for, and
//! never more than so many.
//!
//! kube's own recorder takes events for the same that differ in what they say, and repeats the first: where a gateway
//! changes twice, the second change would be lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event as Published, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::shared::Shared;
use super::words::chain;
use super::write::ANSWER;
use crate::seam::Event;

/// So many wait to be told; more are let go.
const QUEUE: usize = 512;
/// So many are told at once, and then one in each [`EVERY`].
const BURST: u32 = 100;
const EVERY: Duration = Duration::from_millis(200);
/// What happens again within this time is the same event once more.
const SAME: Duration = Duration::from_secs(600);
/// How often it happened is told again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// The most characters of a note, by the schema of events.
const NOTE: usize = 1024;

/// Where events are put.
pub(crate) type Sender = mpsc::Sender<Event>;

/// Begins to tell what is put into the returned end.
pub(crate) fn start(client: Client, reporter: &'static str, shared: Arc<Shared>) -> Sender {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(follow(client, reporter, shared, receiver));
    sender
}

/// What to do about an event.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is new.
    Create,
    /// It is the event of this name, so many times now.
    Repeat(String, i32),
    /// It was told a moment ago, or too many are.
    LetGo,
}

/// An event that was told.
struct Told {
    /// Its name, once it has one.
    name: String,
    count: i32,
    last: Instant,
    written: Instant,
}

/// What was told, and how much more may be.
struct Ledger {
    told: BTreeMap<Event, Told>,
    credit: u32,
    since: Instant,
}

impl Ledger {
    fn new(now: Instant) -> Self {
        Self { told: BTreeMap::new(), credit: BURST, since: now }
    }

    fn next(&mut self, event: &Event, now: Instant) -> Step {
        let earned = u32::try_from(now.duration_since(self.since).as_millis() / EVERY.as_millis());
        let earned = earned.unwrap_or(BURST);
        self.since = if earned >= BURST { now } else { self.since + EVERY * earned };
        self.credit = self.credit.saturating_add(earned).min(BURST);
        self.told.retain(|_, told| now.duration_since(told.last) < SAME);
        if let Some(told) = self.told.get_mut(event) {
            (told.count, told.last) = (told.count.saturating_add(1), now);
            if now.duration_since(told.written) < AGAIN || self.credit == 0 {
                return Step::LetGo;
            }
            self.credit -= 1;
            told.written = now;
            return Step::Repeat(told.name.clone(), told.count);
        }
        if self.credit == 0 {
            return Step::LetGo;
        }
        self.credit -= 1;
        Step::Create
    }

    fn created(&mut self, event: Event, name: String, now: Instant) {
        self.told.insert(event, Told { name, count: 1, last: now, written: now });
    }
}

async fn follow(
    client: Client,
    reporter: &'static str,
    shared: Arc<Shared>,
    mut receiver: mpsc::Receiver<Event>,
) {
    let mut ledger = Ledger::new(Instant::now());
    let mut complained = String::new();
    while let Some(event) = receiver.recv().await {
        let api: Api<Published> = Api::namespaced(client.clone(), namespace(&event));
        let step = ledger.next(&event, Instant::now());
        let written = async {
            match &step {
                Step::LetGo => Ok(None),
                Step::Create => {
                    let uid = shared.with(|cache| cache.uid(&event.regarding).map(str::to_owned));
                    let made = api.create(&PostParams::default(), &published(&event, uid, reporter)).await?;
                    Ok(made.metadata.name)
                }
                Step::Repeat(name, count) => {
                    let series =
                        EventSeries { count: *count, last_observed_time: MicroTime(Timestamp::now()) };
                    let patch = Patch::Merge(json!({"series": series}));
                    api.patch(name, &PatchParams::default(), &patch).await.map(|_| None)
                }
            }
        };
        let error = match timeout(ANSWER, written).await {
            Ok(Ok(name)) => {
                if let Some(name) = name {
                    ledger.created(event, name, Instant::now());
                }
                complained.clear();
                continue;
            }
            Ok(Err(error)) => chain(&error),
            Err(_) => format!("no answer for {} s", ANSWER.as_secs()),
        };
        // Nothing depends on it, and what happened is in the log.
        ledger.told.remove(&event);
        if error != complained {
            tracing::warn!("events are not told: {error}");
            complained = error;
        }
    }
}

/// Of what has none, the namespace where everybody looks.
fn namespace(event: &Event) -> &str {
    match event.regarding.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    }
}

fn published(event: &Event, uid: Option<String>, reporter: &str) -> Published {
    let (key, now) = (&event.regarding, Timestamp::now());
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Published {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", key.name, now.as_nanosecond())),
            namespace: Some(namespace(event).to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(event.reason.clone()),
        action: Some(event.action.to_owned()),
        note: Some(event.note.chars().take(NOTE).collect()),
        regarding: Some(ObjectReference {
            api_version: Some(key.kind.api_versions()[0].to_owned()),
            kind: Some(key.kind.in_manifests().to_owned()),
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            uid,
            ..ObjectReference::default()
        }),
        reporting_controller: Some(format!("egret.dev/{reporter}")),
        reporting_instance: Some(match own.trim() {
            "" => reporter.to_owned(),
            own => own.chars().take(128).collect(),
        }),
        ..Published::default()
    }
}

#[cfg(test)]
mod tests {
    use egret_api::{Kind, ObjectKey};

    use super::*;

    fn event(name: &str, note: &str) -> Event {
        let regarding = ObjectKey { kind: Kind::EgressPolicy, namespace: "a".into(), name: name.into() };
        Event {
            regarding,
            warning: false,
            reason: "GatewayChanged".into(),
            action: "Elect",
            note: note.into(),
        }
    }

    #[test]
    fn the_same_again_is_counted_and_what_differs_is_another() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ledger = Ledger::new(start);
        assert_eq!(ledger.next(&event("web", "to node-5"), at(0)), Step::Create);
        ledger.created(event("web", "to node-5"), "first".into(), at(0));
        assert_eq!(ledger.next(&event("web", "to node-4"), at(1)), Step::Create, "says something else");
        assert_eq!(ledger.next(&event("web", "to node-5"), at(2)), Step::LetGo, "a moment ago");
        assert_eq!(ledger.next(&event("web", "to node-5"), at(40)), Step::Repeat("first".into(), 3));
        assert_eq!(ledger.next(&event("web", "to node-5"), at(41)), Step::LetGo);
        assert_eq!(ledger.next(&event("web", "to node-5"), at(700)), Step::Create, "long ago");
    }

    #[test]
    fn a_flood_is_let_go_and_a_few_are_told_each_second_afterwards() {
        let start = Instant::now();
        let mut ledger = Ledger::new(start);
        let told = |ledger: &mut Ledger, from: u32, now| {
            (from..from + 1000)
                .filter(|n| ledger.next(&event(&n.to_string(), ""), now) == Step::Create)
                .count()
        };
        assert_eq!(told(&mut ledger, 0, start), 100);
        assert_eq!(told(&mut ledger, 1000, start), 0);
        assert_eq!(told(&mut ledger, 2000, start + Duration::from_secs(2)), 10);
        assert_eq!(told(&mut ledger, 3000, start + Duration::from_millis(2100)), 0, "half of what one costs");
        assert_eq!(told(&mut ledger, 4000, start + Duration::from_millis(2200)), 1);
        assert_eq!(told(&mut ledger, 5000, start + Duration::from_secs(3600)), 100);
    }
}

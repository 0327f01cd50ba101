//! Others that write the same statuses: whoever had to write the same again gives way for a while, and for longer each
//! time, so that two writers do not keep an API server busy.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use egret_api::ObjectKey;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// How long to give way at most, and how long must pass until the past is forgotten.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// People are told when the same was written so often in vain.
const TELL: u32 = 4;

/// What was written last to each status.
#[derive(Default)]
pub(crate) struct Rivals(BTreeMap<ObjectKey, Last>);

struct Last {
    digest: u64,
    /// How often the same was written again.
    again: u32,
    at: Timestamp,
}

impl Last {
    fn not_before(&self) -> Timestamp {
        let wait = match self.again {
            0 => SignedDuration::ZERO,
            again => LONGEST.min(SignedDuration::from_secs(1 << again.min(12))),
        };
        self.at.saturating_add(wait).unwrap_or(self.at)
    }
}

impl Rivals {
    /// When the status may be written, if not now.
    pub(crate) fn later(&self, key: &ObjectKey, status: &Value, now: Timestamp) -> Option<Timestamp> {
        let last = self.0.get(key).filter(|last| last.digest == digest(status))?;
        Some(last.not_before()).filter(|at| *at > now)
    }

    /// The status was written.
    pub(crate) fn wrote(&mut self, key: &ObjectKey, status: &Value, now: Timestamp) {
        let digest = digest(status);
        let before = self.0.get(key).filter(|last| last.digest == digest);
        let recent = before.filter(|last| now.duration_since(last.not_before()) < LONGEST);
        let again = recent.map_or(0, |last| last.again.saturating_add(1));
        if again == TELL {
            let way = key
                .kind
                .dialect()
                .map(|d| format!("--dialect {}=observe leaves its objects alone", d.name()));
            tracing::warn!(
                object = %key,
                "somebody else writes its status, too; it is written ever more seldom: stop the other{}",
                way.map(|way| format!(", or start the controller anew: {way}")).unwrap_or_default()
            );
        }
        self.0.insert(key.clone(), Last { digest, again, at: now });
    }

    /// Forgets objects that are gone.
    pub(crate) fn keep(&mut self, statuses: &BTreeMap<ObjectKey, Value>) {
        if self.0.len() > statuses.len() {
            self.0.retain(|key, _| statuses.contains_key(key));
        }
    }
}

/// What a status says, whenever it began to.
fn digest(status: &Value) -> u64 {
    let mut status = status.clone();
    for condition in
        status["conditions"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut)
    {
        condition.remove("lastTransitionTime");
        condition.remove("lastHeartbeatTime");
    }
    let mut hash = DefaultHasher::new();
    status.to_string().hash(&mut hash);
    hash.finish()
}

/// The earlier of two times.
pub(crate) fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use egret_api::Kind;
    use serde_json::json;

    use super::*;

    #[test]
    fn who_is_always_overwritten_writes_ever_more_seldom_and_news_are_told_at_once() {
        let key = ObjectKey { kind: Kind::Egress, namespace: String::new(), name: "e".into() };
        let status = |node: &str, time: i64| json!({"egressNode": node, "conditions": [{"type": "IPAssigned", "lastTransitionTime": time}]});
        let (mut rivals, mut writes) = (Rivals::default(), 0);
        for second in 0..3600 {
            let now = Timestamp::from_second(second).unwrap();
            if rivals.later(&key, &status("node-4", second), now).is_none() {
                rivals.wrote(&key, &status("node-4", second), now);
                writes += 1;
            }
        }
        assert!((10..=14).contains(&writes), "{writes} writes in an hour");
        let now = Timestamp::from_second(3600).unwrap();
        assert!(rivals.later(&key, &status("node-4", 0), now).is_some());
        assert!(rivals.later(&key, &status("node-5", 0), now).is_none(), "another node is news");
    }
}

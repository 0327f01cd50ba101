//! Writes that fail: each is tried again by itself, ever more seldom, and holds up no other.

use std::collections::BTreeMap;

use egret_api::ObjectKey;
use jiff::{SignedDuration, Timestamp};

/// A write that failed is tried again after this, and after twice as long each time.
const FIRST: SignedDuration = SignedDuration::from_secs(1);
const LAST: SignedDuration = SignedDuration::from_secs(16);

/// Objects that could not be written.
#[derive(Default)]
pub(crate) struct Failing(BTreeMap<ObjectKey, Next>);

struct Next {
    at: Timestamp,
    pause: SignedDuration,
}

impl Failing {
    /// Whether an object may be written now.
    pub(crate) fn is_due(&self, key: &ObjectKey, now: Timestamp) -> bool {
        self.0.get(key).is_none_or(|next| next.at <= now)
    }

    /// Notes how a write went.
    pub(crate) fn note(&mut self, key: &ObjectKey, well: bool, now: Timestamp) {
        if well {
            self.0.remove(key);
            return;
        }
        let pause = self.0.get(key).map_or(FIRST, |next| LAST.min(next.pause * 2));
        let at = now.saturating_add(pause).unwrap_or(now);
        self.0.insert(key.clone(), Next { at, pause });
    }

    /// Nobody wants to write these any more.
    pub(crate) fn keep(&mut self, wanted: impl Fn(&ObjectKey) -> bool) {
        self.0.retain(|key, _| wanted(key));
    }
}

#[cfg(test)]
mod tests {
    use egret_api::Kind;

    use super::*;

    #[test]
    fn what_fails_again_and_again_is_tried_ever_more_seldom_and_alone() {
        let key =
            |name: &str| ObjectKey { kind: Kind::EgressAddress, namespace: "".into(), name: name.into() };
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut failing = Failing::default();
        let mut tried = Vec::new();
        for second in 0..80 {
            if failing.is_due(&key("a"), at(second)) {
                tried.push(second);
                failing.note(&key("a"), false, at(second));
            }
            assert!(failing.is_due(&key("b"), at(second)));
        }
        assert_eq!(tried, [0, 1, 3, 7, 15, 31, 47, 63, 79]);
        failing.note(&key("a"), true, at(80));
        assert!(failing.is_due(&key("a"), at(80)) && failing.0.is_empty());
        failing.note(&key("b"), false, at(81));
        failing.keep(|key| key.name != "b");
        assert!(failing.0.is_empty());
    }
}

//! Reads the store in a task of its own, and passes on only what changed.

use std::sync::Arc;

use egret_api::{Object, ObjectKey};
use egret_store::{Snapshot, Store};
use tokio::sync::mpsc;

/// What changed in the store, and what it says of itself since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// Objects that are new or other than before.
    pub applied: Vec<Arc<Object>>,
    /// Objects that are gone.
    pub deleted: Vec<ObjectKey>,
    /// Digest of what people wrote.
    pub objects_digest: String,
    /// Digest of the EgressAddress records.
    pub addresses_digest: String,
}

/// Objects as they were passed on last.
#[derive(Default)]
pub(crate) struct Differences {
    objects: Vec<Arc<Object>>,
    digests: Option<(String, String)>,
}

impl Differences {
    /// What a snapshot changes, if it changes anything.
    pub(crate) fn of(&mut self, snapshot: Snapshot) -> Option<Batch> {
        let (applied, deleted) = snapshot.since(&self.objects);
        let applied: Vec<_> = applied.into_iter().cloned().collect();
        let Snapshot { objects, objects_digest, addresses_digest, .. } = snapshot;
        self.objects = objects;
        let digests = Some((objects_digest.clone(), addresses_digest.clone()));
        let same = applied.is_empty() && deleted.is_empty() && self.digests == digests;
        self.digests = digests;
        (!same).then_some(Batch { applied, deleted, objects_digest, addresses_digest })
    }
}

/// Reads until nobody listens any more.
pub(crate) async fn follow<S: Store>(
    mut store: S,
    mut differences: Differences,
    batches: mpsc::UnboundedSender<Batch>,
) {
    loop {
        let snapshot = tokio::task::block_in_place(|| store.snapshot());
        for problem in &snapshot.problems {
            // The controller tells people; here it is for those who look for the reason on this node.
            tracing::debug!("{problem}");
        }
        if let Some(batch) = differences.of(snapshot)
            && batches.send(batch).is_err()
        {
            return;
        }
        store.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_api::{EgressNode, EgressNodeSpec};

    fn snapshot(names: &[(&str, bool)], digest: &str) -> Snapshot {
        let object = |(name, ready): &(&str, bool)| {
            Arc::new(Object::EgressNode(Box::new(EgressNode::new(
                name,
                EgressNodeSpec { ready: *ready, ..EgressNodeSpec::default() },
            ))))
        };
        Snapshot {
            objects: names.iter().map(object).collect(),
            objects_digest: digest.to_owned(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn only_what_differs_is_passed_on() {
        let mut differences = Differences::default();
        let first = differences.of(snapshot(&[("a", false), ("b", false)], "1")).unwrap();
        assert_eq!((first.applied.len(), first.deleted.len()), (2, 0));
        assert!(differences.of(snapshot(&[("a", false), ("b", false)], "1")).is_none());
        let second = differences.of(snapshot(&[("a", true), ("c", false)], "1")).unwrap();
        assert_eq!(second.applied.iter().map(|o| o.key().name).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(second.deleted.iter().map(|k| k.name.as_str()).collect::<Vec<_>>(), ["b"]);
        let third = differences.of(snapshot(&[("a", true), ("c", false)], "2")).unwrap();
        assert_eq!(
            (third.applied.len(), third.objects_digest.as_str()),
            (0, "2"),
            "the text changed, no object did"
        );
    }
}

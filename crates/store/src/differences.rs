//! From one snapshot to the next: only what changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use egret_api::{Object, ObjectKey};

use crate::{Changes, Problem, Snapshot};

/// What was told last.
#[derive(Default)]
pub(crate) struct Differences {
    objects: Vec<Arc<Object>>,
    rest: Option<Rest>,
}

/// What a store says of itself.
#[derive(PartialEq)]
struct Rest {
    problems: Vec<Problem>,
    digests: (String, String),
    stale_statuses: BTreeSet<ObjectKey>,
}

impl Differences {
    /// Nothing was ever told.
    pub(crate) fn is_new(&self) -> bool {
        self.rest.is_none()
    }

    /// What a snapshot changes, if it changes anything.
    pub(crate) fn of(&mut self, snapshot: Snapshot) -> Option<Changes> {
        let (applied, deleted) = snapshot.since(&self.objects);
        let applied: Vec<_> = applied.into_iter().cloned().collect();
        let rest = Rest {
            problems: snapshot.problems.clone(),
            digests: (snapshot.objects_digest.clone(), snapshot.addresses_digest.clone()),
            stale_statuses: snapshot.stale_statuses.clone(),
        };
        let same = applied.is_empty() && deleted.is_empty() && self.rest.as_ref() == Some(&rest);
        self.objects = snapshot.objects;
        self.rest = Some(rest);
        (!same).then_some(Changes {
            applied,
            deleted,
            problems: snapshot.problems,
            objects_digest: snapshot.objects_digest,
            addresses_digest: snapshot.addresses_digest,
            stale_statuses: snapshot.stale_statuses,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_api::{EgressNode, EgressNodeSpec};

    fn snapshot(names: &[(&str, bool)], digest: &str) -> Snapshot {
        let object = |(name, ready): &(&str, bool)| {
            let spec = EgressNodeSpec { ready: *ready, ..EgressNodeSpec::default() };
            Arc::new(Object::EgressNode(Box::new(EgressNode::new(name, spec))))
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

    #[test]
    fn a_snapshot_that_is_kept_up_to_date_is_as_one_that_is_taken_anew() {
        let mut differences = Differences::default();
        let mut kept = Snapshot::default();
        for (names, digest) in [
            (&[("b", false), ("d", false)][..], "1"),
            (&[("a", true), ("b", true), ("c", false)][..], "2"),
            (&[("c", false)][..], "3"),
        ] {
            let taken = snapshot(names, digest);
            kept.update(differences.of(taken.clone()).unwrap());
            assert_eq!((&kept.objects, &kept.objects_digest), (&taken.objects, &taken.objects_digest));
        }
    }
}

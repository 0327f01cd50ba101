//! What was read of a directory, as its readers are told it: objects with their statuses, and what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use egret_api::{Kind, Object, ObjectKey};
use egret_plan::intent::Intent;
use serde_json::Value;

use crate::accepted::Accepted;
use crate::decode::{is_record, put_status, typed};
use crate::manifests::Manifests;
use crate::news::News;
use crate::noticed::Changed;
use crate::records::OWN;
use crate::written::Written;
use crate::{Changes, Problem, Snapshot};

/// Everything that was read.
pub(crate) struct Read {
    manifests: Manifests,
    pub(crate) accepted: Accepted,
    written: Written,
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    /// Objects whose status cannot be theirs.
    misfits: BTreeMap<ObjectKey, Problem>,
    stale_statuses: BTreeSet<ObjectKey>,
    news: News,
    /// What was told last besides objects.
    told: Option<Rest>,
}

/// What a store says of itself.
#[derive(Clone, PartialEq)]
struct Rest {
    problems: Vec<Problem>,
    digests: (u64, u64),
    stale_statuses: BTreeSet<ObjectKey>,
}

impl Read {
    pub(crate) fn new(accepted: Accepted) -> Self {
        Self {
            manifests: Manifests::default(),
            accepted,
            written: Written::default(),
            objects: BTreeMap::new(),
            misfits: BTreeMap::new(),
            stale_statuses: BTreeSet::new(),
            news: News::default(),
            told: None,
        }
    }

    /// Reads again what changed, of what people wrote and of what Egret did.
    pub(crate) fn refresh(&mut self, root: &Path, manifests: &Changed, written: &Changed) {
        let mut touched = self.manifests.refresh(root, manifests, &self.accepted);
        touched.append(&mut self.written.refresh(root, written));
        for key in touched {
            self.put(key);
        }
    }

    /// An object may be another now, or its status.
    fn put(&mut self, key: ObjectKey) {
        let object = match is_record(key.kind) {
            true => self.written.record(&key),
            false => self.manifests.object(&key),
        };
        self.misfits.remove(&key);
        self.stale_statuses.remove(&key);
        let mut whole = object.cloned();
        if let Some(status) = self.written.status(&key) {
            // Most Services are nobody's business; one that was may be so no longer.
            let told = |object: &&Arc<Object>| key.kind != Kind::Service || Intent::read(object).is_some();
            match object.filter(told).map(|object| with_status(object, status)) {
                None => drop(self.stale_statuses.insert(key.clone())),
                Some(Ok(object)) => whole = Some(Arc::new(object)),
                Some(Err(problem)) => drop(self.misfits.insert(key.clone(), *problem)),
            }
        }
        match (whole, self.objects.get(&key)) {
            (Some(new), old) if old.is_none_or(|old| *old != new) => {
                self.objects.insert(key.clone(), new.clone());
                self.news.applied(key, new);
            }
            (None, Some(_)) => {
                self.objects.remove(&key);
                self.news.deleted(key);
            }
            _ => {}
        }
    }

    fn rest(&self) -> Rest {
        let mut problems = self.manifests.problems().to_vec();
        problems.extend(self.written.problems());
        problems.extend(self.misfits.values().cloned());
        let digests = (self.manifests.digest(), self.written.digest(Kind::EgressAddress));
        Rest { problems, digests, stale_statuses: self.stale_statuses.clone() }
    }

    /// Everything.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let Rest { problems, digests, stale_statuses } = self.rest();
        Snapshot {
            objects: self.objects.values().cloned().collect(),
            problems,
            objects_digest: hexadecimal(digests.0),
            addresses_digest: hexadecimal(digests.1),
            stale_statuses,
            lost: BTreeSet::new(),
        }
    }

    /// What changed since this was asked last, if anything did; everything at first.
    pub(crate) fn changes(&mut self) -> Option<Changes> {
        let (applied, deleted) = self.news.take();
        let rest = self.rest();
        if applied.is_empty() && deleted.is_empty() && self.told.as_ref() == Some(&rest) {
            return None;
        }
        self.told = Some(rest.clone());
        let Rest { problems, digests, stale_statuses } = rest;
        Some(Changes {
            applied,
            deleted,
            problems,
            objects_digest: hexadecimal(digests.0),
            addresses_digest: hexadecimal(digests.1),
            stale_statuses,
            lost: BTreeSet::new(),
            more: false,
        })
    }

    /// Everything was told once.
    pub(crate) fn has_told(&self) -> bool {
        self.told.is_some()
    }

    /// Some file is being written; it must be looked at again soon.
    pub(crate) fn is_settling(&self) -> bool {
        self.manifests.is_settling()
    }

    /// The file that an object in force is from.
    pub(crate) fn origin(&self, key: &ObjectKey) -> Option<&Path> {
        self.manifests.origin(key)
    }
}

fn hexadecimal(digest: u64) -> String {
    format!("{digest:016x}")
}

fn with_status(object: &Object, status: &Value) -> Result<Object, Box<Problem>> {
    let problem = |field, message| {
        Box::new(Problem {
            file: PathBuf::from(OWN),
            document: 0,
            object: Some(object.key().to_string()),
            field,
            message,
            cure: "Remove the object's file below .egret/status; the controller makes it again.".to_owned(),
        })
    };
    let mut value = object.encode().map_err(|error| problem(None, error.to_string()))?;
    put_status(object.kind(), &mut value, status.clone());
    typed(object.kind(), value).map_err(|(field, message)| problem(field, message))
}

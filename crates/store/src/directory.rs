//! A directory of manifests as a store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use egret_api::{Kind, Object, ObjectKey};
use egret_plan::intent::Intent;
use serde_json::Value;
use tokio::time::Instant;

use crate::accepted::Accepted;
use crate::decode::{put_status, typed};
use crate::differences::Differences;
use crate::manifests::{Manifests, is_manifest};
use crate::noticed::Noticed;
use crate::records::{Files, OWN};
use crate::seam::{Changes, Progress, Snapshot, Store};
use crate::texts::SETTLE;
use crate::watch::Watch;
use crate::written::Written;
use crate::{Problem, StoreError};

/// A directory of manifests, watched.
///
/// `DIR/**/*.yaml|yml|json` are people's; `DIR/.egret` is Egret's: `records/KIND/NAME.json`,
/// `status/KIND/NAMESPACE or _/NAME.json` and `controller.json`.
pub struct Directory {
    root: PathBuf,
    files: Files,
    watch: Watch,
    noticed: Noticed,
    read: Mutex<Read>,
    differences: Differences,
}

struct Read {
    manifests: Manifests,
    accepted: Accepted,
    written: Written,
    /// Objects with their statuses, as the last snapshot had them.
    with_status: BTreeMap<ObjectKey, WithStatus>,
    settles: Option<Instant>,
}

impl Directory {
    /// Opens a directory, which is made if it is not there. `writer` names this process in temporary files.
    ///
    /// # Errors
    /// When the directory cannot be made or watched.
    pub fn open(path: impl AsRef<Path>, writer: &str) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let noticed = Noticed::new();
        // Makes the directory, which has a canonical name only then.
        Files::open(path, writer, noticed.clone())?;
        let root = path.canonicalize().map_err(StoreError::io("open", path))?;
        let files = Files::open(&root, writer, noticed.clone())?;
        let watch = Watch::open(&root, noticed.clone())?;
        let read = Read {
            manifests: Manifests::default(),
            accepted: Accepted::new(root.join(OWN).join("accepted")),
            written: Written::default(),
            with_status: BTreeMap::new(),
            settles: None,
        };
        Ok(Self { root, files, watch, noticed, read: Mutex::new(read), differences: Differences::default() })
    }

    /// Keeps copies, in the store, of what is in force of files that are broken, so that a process that starts
    /// while they are knows it too. At most one process of a store should do so: the controller.
    pub fn keep_accepted(&mut self) {
        let files = self.files.clone();
        self.read.get_mut().unwrap_or_else(PoisonError::into_inner).accepted.writer = Some(files);
    }

    /// Reads everything that changed since the last time, and returns everything.
    pub fn snapshot(&self) -> Snapshot {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let Read { manifests, accepted, written, with_status, settles } = &mut *read;
        let unreadable = manifests.refresh(&self.root, accepted);
        let mut broken_records = written.refresh(&self.root, &self.noticed.take());
        *settles = manifests.settling.then(|| Instant::now() + SETTLE);
        let (mut objects, mut problems) = manifests.objects();
        problems.extend(unreadable);
        problems.append(&mut broken_records);
        let (mut stale, mut before) = (BTreeSet::new(), std::mem::take(with_status));
        for (key, status) in written.statuses() {
            // Most Services are nobody's business; one that was may be so no longer.
            let told =
                |object: &&mut Arc<Object>| key.kind != Kind::Service || Intent::read(object).is_some();
            let Some(object) = objects.get_mut(key).filter(told) else {
                stale.insert(key.clone());
                continue;
            };
            let known = before.remove(key);
            let known = known
                .filter(|known| Arc::ptr_eq(&known.object, object) && Arc::ptr_eq(&known.status, status));
            let whole = known.map_or_else(|| WithStatus::new(object, status), Ok);
            match whole {
                Ok(known) => {
                    *object = known.whole.clone();
                    with_status.insert(key.clone(), known);
                }
                Err(problem) => problems.push(*problem),
            }
        }
        objects.extend(written.records().map(|(key, object)| (key.clone(), object.clone())));
        Snapshot {
            objects: objects.into_values().collect(),
            problems,
            objects_digest: manifests.digest(),
            addresses_digest: written.digest(Kind::EgressAddress),
            stale_statuses: stale,
        }
    }

    /// Resolves after something may have changed: at a write of anybody, within a few milliseconds, and every
    /// ten seconds. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        let settles = self.read.get_mut().unwrap_or_else(PoisonError::into_inner).settles;
        self.watch.changed(settles).await;
    }

    /// Creates or replaces a record (EgressAddress, EgressNode).
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_record(&self, object: &Object) -> Result<(), StoreError> {
        self.files.put_record(object)
    }

    /// Removes a record, if it is there.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn delete_record(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.files.remove_record(key)
    }

    /// Sets the whole `.status` of an object.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_status(&self, key: &ObjectKey, status: &Value) -> Result<(), StoreError> {
        self.files.put_status(key, status)
    }

    /// Forgets the status of an object.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn delete_status(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.files.remove_status(key)
    }

    /// Waits until no other process has the lock of this name, and takes it for as long as the file lives.
    ///
    /// # Errors
    /// When the lock's file cannot be made.
    pub fn lock(&self, name: &str) -> Result<std::fs::File, StoreError> {
        self.files.lock(name)
    }

    /// How far the controller has come, if it ever said so.
    pub fn progress(&self) -> Option<Progress> {
        self.files.progress()
    }

    /// Puts a manifest of people's in place, whole at once.
    ///
    /// # Errors
    /// When the name leads elsewhere, or the file cannot be written.
    pub fn write_manifest(&self, name: &str, text: &str) -> Result<(), StoreError> {
        self.files.put(&self.manifest_path(name)?, text)
    }

    /// Removes a manifest of people's, if it is there.
    ///
    /// # Errors
    /// When the name leads elsewhere, or the file cannot be removed.
    pub fn remove_manifest(&self, name: &str) -> Result<(), StoreError> {
        self.files.remove(&self.manifest_path(name)?)
    }

    fn manifest_path(&self, name: &str) -> Result<PathBuf, StoreError> {
        let path = Path::new(name);
        let plain = path.components().all(
            |part| matches!(part, Component::Normal(part) if !part.as_encoded_bytes().starts_with(b".")),
        );
        if !plain || !is_manifest(path) {
            return Err(StoreError::Name { name: name.to_owned() });
        }
        Ok(self.root.join(path))
    }
}

impl Store for Directory {
    type Recorder = Files;

    async fn changes(&mut self) -> Changes {
        loop {
            if !self.differences.is_new() {
                self.changed().await;
            }
            let snapshot = self.snapshot();
            if let Some(changes) = self.differences.of(snapshot) {
                return changes;
            }
        }
    }
    fn origin(&self, key: &ObjectKey) -> Option<String> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.manifests.origin(key).map(|path| path.display().to_string())
    }
    fn recorder(&self) -> Files {
        self.files.clone()
    }
}

/// An object with its status, and what it is made of.
struct WithStatus {
    object: Arc<Object>,
    status: Arc<Value>,
    whole: Arc<Object>,
}

impl WithStatus {
    fn new(object: &Arc<Object>, status: &Arc<Value>) -> Result<Self, Box<Problem>> {
        let problem = |field, message| {
            Box::new(Problem {
                file: PathBuf::from(OWN),
                document: 0,
                object: Some(object.key().to_string()),
                field,
                message,
                cure: "Remove the object's file below .egret/status; the controller makes it again."
                    .to_owned(),
            })
        };
        let mut value = object.encode().map_err(|error| problem(None, error.to_string()))?;
        put_status(object.kind(), &mut value, Value::clone(status));
        let whole = typed(object.kind(), value).map_err(|(field, message)| problem(field, message))?;
        Ok(Self { object: object.clone(), status: status.clone(), whole: Arc::new(whole) })
    }
}

//! A directory of manifests as a store.

use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use egret_api::{Object, ObjectKey};
use serde_json::Value;
use tokio::time::Instant;

use crate::StoreError;
use crate::accepted::Accepted;
use crate::manifests::is_manifest;
use crate::noticed::{Changed, Noticed};
use crate::read::Read;
use crate::records::{Files, OWN};
use crate::seam::{Changes, Progress, Snapshot, Store};
use crate::texts::SETTLE;
use crate::watch::Watch;

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
    /// When a file that is being written must be looked at again.
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
        let read = Mutex::new(Read::new(Accepted::new(root.join(OWN).join("accepted"))));
        Ok(Self { root, files, watch, noticed, read, settles: None })
    }

    /// Keeps copies, in the store, of what is in force of files that are broken, so that a process that starts
    /// while they are knows it too. At most one process of a store should do so: the controller.
    pub fn keep_accepted(&mut self) {
        let files = self.files.clone();
        self.read.get_mut().unwrap_or_else(PoisonError::into_inner).accepted.writer = Some(files);
    }

    /// Reads everything that changed since the last time, and returns everything. Looks at every manifest: who asks
    /// for a snapshot sees what people wrote a moment ago. Of records and statuses it has this process's own, and
    /// those of others once the watch has told them.
    pub fn snapshot(&self) -> Snapshot {
        self.refreshed(Some(&Changed::Everything)).snapshot()
    }

    /// What changed since this was asked last, if anything did; everything at first. Looks at every manifest.
    pub fn news(&self) -> Option<Changes> {
        self.refreshed(Some(&Changed::Everything)).changes()
    }

    /// Reads what was noticed to have changed, of manifests perhaps more.
    fn refreshed(&self, manifests: Option<&Changed>) -> MutexGuard<'_, Read> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let noticed = self.noticed.take();
        read.refresh(&self.root, manifests.unwrap_or(&noticed), &noticed);
        read
    }

    /// Resolves after something may have changed: at a write of anybody, within a few milliseconds, and every
    /// ten seconds. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        // A file is looked at again after each look that found it being written.
        let settling = self.read.get_mut().unwrap_or_else(PoisonError::into_inner).is_settling();
        self.settles = settling.then(|| self.settles.unwrap_or_else(|| Instant::now() + SETTLE));
        self.watch.changed(self.settles).await;
        self.settles = None;
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
            if self.read.get_mut().unwrap_or_else(PoisonError::into_inner).has_told() {
                self.changed().await;
            }
            if let Some(changes) = self.refreshed(None).changes() {
                return changes;
            }
        }
    }
    fn origin(&self, key: &ObjectKey) -> Option<String> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.origin(key).map(|path| path.display().to_string())
    }
    fn recorder(&self) -> Files {
        self.files.clone()
    }
}

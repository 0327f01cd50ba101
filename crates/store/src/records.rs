//! What Egret writes: records, statuses and progress, each a file of its own below `.egret`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use egret_api::{Kind, Object, ObjectKey};
use serde::Serialize;
use serde_json::Value;

use crate::StoreError;
use crate::decode::{has_status, is_record};
use crate::noticed::Noticed;
use crate::seam::{Event, Progress, Recorder};

/// Everything of ours is below this directory of the store.
pub(crate) const OWN: &str = ".egret";
pub(crate) const RECORDS: &str = "records";
pub(crate) const STATUS: &str = "status";
/// The directory of statuses of objects that are in no namespace.
pub(crate) const NO_NAMESPACE: &str = "_";
const TEMPORARY: &str = "tmp";
pub(crate) const PROGRESS: &str = "controller.json";

/// The writing side of a directory.
#[derive(Clone, Debug)]
pub struct Files {
    root: Arc<Path>,
    writer: Arc<str>,
    count: Arc<AtomicU64>,
    noticed: Noticed,
}

impl Files {
    /// What is written is noted in `noticed`, since whoever watches hears of it only later.
    pub(crate) fn open(root: &Path, writer: &str, noticed: Noticed) -> Result<Self, StoreError> {
        let own = root.join(OWN);
        let kinds = |part: &str, is: fn(Kind) -> bool| {
            Kind::ALL.iter().filter(|k| is(**k)).map(|k| own.join(part).join(k.as_str())).collect::<Vec<_>>()
        };
        let mut directories = vec![own.join(TEMPORARY)];
        directories.extend(kinds(RECORDS, is_record));
        directories.extend(kinds(STATUS, has_status));
        for directory in directories {
            std::fs::create_dir_all(&directory).map_err(StoreError::io("create", &directory))?;
        }
        Ok(Self {
            root: root.into(),
            writer: writer.replace('/', "-").into(),
            count: Arc::default(),
            noticed,
        })
    }

    /// Puts a file in place whole, or not at all.
    pub(crate) fn put(&self, path: &Path, text: &str) -> Result<(), StoreError> {
        if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{count}", self.writer, std::process::id());
        let temporary = self.root.join(OWN).join(TEMPORARY).join(name);
        let write = || -> io::Result<()> {
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(text.as_bytes())?;
            // Leases must not be forgotten by a power cut that comes after others have acted on them.
            file.sync_data()?;
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::rename(&temporary, path)?;
            self.note(path);
            Ok(())
        };
        write().map_err(|source| {
            // It may not even exist; the error that matters is the first.
            drop(std::fs::remove_file(&temporary));
            StoreError::io("write", path)(source)
        })
    }

    pub(crate) fn remove(&self, path: &Path) -> Result<(), StoreError> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", path)(error))
            }
            _ => {
                self.note(path);
                Ok(())
            }
        }
    }

    fn note(&self, path: &Path) {
        if let Ok(below) = path.strip_prefix(&self.root) {
            self.noticed.change(below);
        }
    }

    pub(crate) fn lock(&self, name: &str) -> Result<std::fs::File, StoreError> {
        let path = self.root.join(OWN).join(file_name(name)?).with_extension("lock");
        let file = std::fs::File::create(&path).map_err(StoreError::io("make", &path))?;
        file.lock().map_err(StoreError::io("lock", &path))?;
        Ok(file)
    }

    fn record_path(&self, key: &ObjectKey) -> Result<PathBuf, StoreError> {
        let name = file_name(&key.name)?;
        Ok(self.root.join(OWN).join(RECORDS).join(key.kind.as_str()).join(name))
    }

    fn status_path(&self, key: &ObjectKey) -> Result<PathBuf, StoreError> {
        let namespace = if key.namespace.is_empty() { NO_NAMESPACE } else { &key.namespace };
        let name = file_name(&key.name)?;
        file_name(namespace)?;
        Ok(self.root.join(OWN).join(STATUS).join(key.kind.as_str()).join(namespace).join(name))
    }

    pub(crate) fn put_record(&self, object: &Object) -> Result<(), StoreError> {
        let key = object.key();
        let encode = |source| StoreError::Encode { object: key.to_string(), source };
        // A record of a large cluster is long, and written often: it is made a text without the way over a value.
        let text = match object {
            Object::EgressAddress(record) => pretty(record),
            Object::EgressNode(record) => pretty(record),
            _ => object.encode().and_then(|value| pretty(&value)),
        };
        self.put(&self.record_path(&key)?, &text.map_err(encode)?)
    }

    pub(crate) fn remove_record(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.remove(&self.record_path(key)?)
    }

    pub(crate) fn put_status(&self, key: &ObjectKey, status: &Value) -> Result<(), StoreError> {
        let encode = |source| StoreError::Encode { object: key.to_string(), source };
        self.put(&self.status_path(key)?, &pretty(status).map_err(encode)?)
    }

    pub(crate) fn remove_status(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.remove(&self.status_path(key)?)
    }

    pub(crate) fn put_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        let encode = |source| StoreError::Encode { object: "progress".to_owned(), source };
        let value = serde_json::to_value(progress).map_err(encode)?;
        self.put(&self.root.join(OWN).join(PROGRESS), &pretty(&value).map_err(encode)?)
    }

    pub(crate) fn progress(&self) -> Option<Progress> {
        let text = std::fs::read(self.root.join(OWN).join(PROGRESS)).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

fn pretty(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|text| text + "\n")
}

fn file_name(name: &str) -> Result<String, StoreError> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(StoreError::Name { name: name.to_owned() });
    }
    Ok(format!("{name}.json"))
}

impl Recorder for Files {
    async fn write_record(&self, object: &Object) -> Result<(), StoreError> {
        self.put_record(object)
    }
    async fn delete_record(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.remove_record(key)
    }
    async fn write_status(&self, key: &ObjectKey, status: &Value) -> Result<(), StoreError> {
        self.put_status(key, status)
    }
    async fn delete_status(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.remove_status(key)
    }
    fn tell(&self, _: Event) {}
    async fn write_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        self.put_progress(progress)
    }
}

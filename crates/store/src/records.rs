//! What Egret writes: records, statuses and progress, each a file of its own below `.egret`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use egret_api::{Kind, Object, ObjectKey};
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::decode::{has_status, is_record, typed};
use crate::seam::{Progress, Recorder};
use crate::texts::{Look, Texts};
use crate::{Problem, StoreError};

/// Everything of ours is below this directory of the store.
pub(crate) const OWN: &str = ".egret";
const RECORDS: &str = "records";
const STATUS: &str = "status";
const TEMPORARY: &str = "tmp";
const PROGRESS: &str = "controller.json";

/// The writing side of a directory.
#[derive(Clone, Debug)]
pub struct Files {
    root: Arc<Path>,
    writer: Arc<str>,
    count: Arc<AtomicU64>,
}

impl Files {
    pub(crate) fn open(root: &Path, writer: &str) -> Result<Self, StoreError> {
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
        Ok(Self { root: root.into(), writer: writer.replace('/', "-").into(), count: Arc::default() })
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
            std::fs::rename(&temporary, path)
        };
        write().map_err(|source| {
            // It may not even exist; the error that matters is the first.
            drop(std::fs::remove_file(&temporary));
            StoreError::io("write", path)(source)
        })
    }

    pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", path)(error))
            }
            _ => Ok(()),
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
        let namespace = if key.namespace.is_empty() { "_" } else { &key.namespace };
        let name = file_name(&key.name)?;
        file_name(namespace)?;
        Ok(self.root.join(OWN).join(STATUS).join(key.kind.as_str()).join(namespace).join(name))
    }

    pub(crate) fn put_record(&self, object: &Object) -> Result<(), StoreError> {
        let key = object.key();
        let encode = |source| StoreError::Encode { object: key.to_string(), source };
        let value = object.encode().map_err(encode)?;
        self.put(&self.record_path(&key)?, &pretty(&value).map_err(encode)?)
    }

    pub(crate) fn remove_record(&self, key: &ObjectKey) -> Result<(), StoreError> {
        Self::remove(&self.record_path(key)?)
    }

    pub(crate) fn put_status(&self, key: &ObjectKey, status: &Value) -> Result<(), StoreError> {
        let encode = |source| StoreError::Encode { object: key.to_string(), source };
        self.put(&self.status_path(key)?, &pretty(status).map_err(encode)?)
    }

    pub(crate) fn remove_status(&self, key: &ObjectKey) -> Result<(), StoreError> {
        Self::remove(&self.status_path(key)?)
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

fn pretty(value: &Value) -> Result<String, serde_json::Error> {
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
    async fn write_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        self.put_progress(progress)
    }
}

/// Records and statuses as they were read last.
#[derive(Default)]
pub(crate) struct Written {
    texts: Texts,
    records: BTreeMap<PathBuf, (ObjectKey, Object)>,
    statuses: BTreeMap<PathBuf, (ObjectKey, Value)>,
}

impl Written {
    /// Reads all records again that may have changed. One that is broken stays as it was.
    pub(crate) fn refresh(&mut self, root: &Path) -> Vec<Problem> {
        let own = root.join(OWN);
        let mut problems = Vec::new();
        for kind in Kind::ALL.iter().copied().filter(|kind| is_record(*kind)) {
            let directory = own.join(RECORDS).join(kind.as_str());
            let Ok(files) = json_files(&directory) else { continue };
            self.records.retain(|path, _| !path.starts_with(&directory) || files.contains(path));
            for path in files {
                let result = match self.texts.look(&path, false) {
                    Ok(Look::Text(text)) => record(kind, &text),
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
                    Ok(Look::Same) if !self.records.contains_key(&path) => Err("not a record".to_owned()),
                    _ => continue,
                };
                match result {
                    Ok(object) => drop(self.records.insert(path, (object.key(), object))),
                    Err(message) => problems.push(Problem {
                        file: path.strip_prefix(root).unwrap_or(&path).to_owned(),
                        document: 0,
                        object: Some(kind.as_str().to_owned()),
                        field: None,
                        message,
                        cure: "Remove the file; its writer makes it again.".to_owned(),
                    }),
                }
            }
        }
        for kind in Kind::ALL.iter().copied().filter(|kind| has_status(*kind)) {
            self.refresh_statuses(kind, &own.join(STATUS).join(kind.as_str()));
        }
        problems
    }

    fn refresh_statuses(&mut self, kind: Kind, directory: &Path) {
        let mut found = Vec::new();
        let Ok(namespaces) = std::fs::read_dir(directory) else { return };
        for namespace in namespaces.flatten() {
            let Ok(files) = json_files(&namespace.path()) else { continue };
            found.extend(files);
        }
        self.statuses.retain(|path, _| !path.starts_with(directory) || found.contains(path));
        for path in found {
            // A status that cannot be read is written anew by the controller's next decision.
            if let Ok(Look::Text(text)) = self.texts.look(&path, false) {
                match serde_json::from_str(&text) {
                    Ok(status) => {
                        drop(self.statuses.insert(path.clone(), (key_of_status(kind, &path), status)))
                    }
                    Err(_) => drop(self.statuses.remove(&path)),
                }
            }
        }
    }

    /// All records.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&ObjectKey, &Object)> {
        self.records.values().map(|(key, object)| (key, object))
    }

    /// The status that was written for an object.
    pub(crate) fn status(&self, files: &Files, key: &ObjectKey) -> Option<&Value> {
        self.statuses.get(&files.status_path(key).ok()?).map(|(_, status)| status)
    }

    /// Every object that has a status.
    pub(crate) fn with_status(&self) -> impl Iterator<Item = &ObjectKey> {
        self.statuses.values().map(|(key, _)| key)
    }

    /// Digest of the texts of the records of one kind.
    pub(crate) fn digest(&self, kind: Kind) -> String {
        let mut hash = Xxh3::new();
        for (path, (key, _)) in &self.records {
            if key.kind == kind {
                hash.update(key.name.as_bytes());
                hash.update(&[0]);
                hash.update(&self.texts.digest(path).to_le_bytes());
            }
        }
        format!("{:016x}", hash.digest())
    }
}

fn record(kind: Kind, text: &str) -> Result<Object, String> {
    let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    typed(kind, value).map_err(|(field, message)| match field {
        Some(field) => format!("{field}: {message}"),
        None => message,
    })
}

/// The object that a status file is about, by where the file stands.
fn key_of_status(kind: Kind, path: &Path) -> ObjectKey {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let namespace = text(path.parent().and_then(Path::file_name));
    let namespace = if namespace == "_" { String::new() } else { namespace };
    ObjectKey { kind, namespace, name: text(path.file_stem()) }
}

fn json_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

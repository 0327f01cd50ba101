//! What was accepted of files that are broken now, for processes that start while they are: a slip of the pen
//! must not become a leak because an agent happens to start anew. Written by one process of a store only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use egret_api::{Kind, Object, ObjectKey};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::StoreError;
use crate::decode::typed;
use crate::manifests::Placed;
use crate::records::Files;

/// Copies of what is in force although its file does not say so.
pub(crate) struct Accepted {
    directory: PathBuf,
    /// Set in the process that writes.
    pub(crate) writer: Option<Files>,
}

impl Accepted {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, writer: None }
    }

    fn path(&self, file: &Path) -> PathBuf {
        self.directory.join(format!("{:016x}.json", xxh3_64(file.as_os_str().as_encoded_bytes())))
    }

    /// What was in force of a file when it broke.
    pub(crate) fn of(&self, file: &Path) -> BTreeMap<ObjectKey, Placed> {
        let Ok(text) = std::fs::read(self.path(file)) else { return BTreeMap::new() };
        let Ok(value) = serde_json::from_slice::<Value>(&text) else { return BTreeMap::new() };
        let objects = value["objects"].as_array().cloned().unwrap_or_default();
        let placed = |object: Object| {
            (object.key(), Placed { document: 0, object: Arc::new(object), valid: true, kept: true })
        };
        objects.into_iter().filter_map(decode).map(placed).collect()
    }

    /// Keeps a copy of what the file does not say any more.
    pub(crate) fn note(&self, file: &Path, objects: &BTreeMap<ObjectKey, Placed>) {
        let Some(files) = &self.writer else { return };
        let kept: Vec<_> = objects.values().filter(|placed| placed.kept && placed.valid).collect();
        if kept.is_empty() {
            return self.forget(file);
        }
        let encoded: Vec<_> = kept.iter().filter_map(|placed| placed.object.encode().ok()).collect();
        let value = json!({"file": file, "objects": encoded});
        told(files.put(&self.path(file), &format!("{value:#}\n")));
    }

    /// Nothing of the file is kept.
    pub(crate) fn forget(&self, file: &Path) {
        if let Some(files) = &self.writer {
            told(files.remove(&self.path(file)));
        }
    }
}

fn decode(value: Value) -> Option<Object> {
    let kind = Kind::of(value["apiVersion"].as_str()?, value["kind"].as_str()?)?;
    typed(kind, value).ok()
}

/// The copy is a precaution; what it is of stays in force without it.
fn told(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::warn!("{error}");
    }
}

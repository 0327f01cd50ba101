//! What Egret wrote, read back: records and statuses.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;

use egret_api::{Kind, Object, ObjectKey};
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::Problem;
use crate::decode::{has_status, is_record, typed};
use crate::records::{NO_NAMESPACE, OWN, RECORDS, STATUS};
use crate::texts::{Look, Texts};

/// Records and statuses as they were read last.
#[derive(Default)]
pub(crate) struct Written {
    records: BTreeMap<Kind, Shelf<Object>>,
    /// By kind and by directory, which is named after the namespace.
    statuses: BTreeMap<Kind, BTreeMap<OsString, Shelf<Value>>>,
}

impl Written {
    /// Reads all records again that may have changed. One that is broken stays as it was.
    pub(crate) fn refresh(&mut self, root: &Path) -> Vec<Problem> {
        let own = root.join(OWN);
        let mut problems = Vec::new();
        for kind in Kind::ALL.iter().copied().filter(|kind| is_record(*kind)) {
            let directory = Path::new(OWN).join(RECORDS).join(kind.as_str());
            let shelf = self.records.entry(kind).or_default();
            let decode = |name: &OsStr, text: &str| record(kind, name, text);
            for (name, message) in shelf.refresh(&root.join(&directory), decode) {
                problems.push(Problem {
                    file: directory.join(name),
                    document: 0,
                    object: Some(kind.as_str().to_owned()),
                    field: None,
                    message,
                    cure: "Remove the file; its writer makes it again.".to_owned(),
                });
            }
        }
        for kind in Kind::ALL.iter().copied().filter(|kind| has_status(*kind)) {
            let directory = own.join(STATUS).join(kind.as_str());
            let Ok(namespaces) = std::fs::read_dir(&directory) else { continue };
            let found: Vec<_> = namespaces.flatten().map(|entry| entry.file_name()).collect();
            let shelves = self.statuses.entry(kind).or_default();
            shelves.retain(|namespace, _| found.contains(namespace));
            for namespace in found {
                let decode = |name: &OsStr, text: &str| status(kind, &namespace, name, text);
                let directory = directory.join(&namespace);
                // A status that cannot be read is written anew by the controller's next decision.
                let shelf = shelves.entry(namespace.clone()).or_default();
                for (name, _) in shelf.refresh(&directory, decode) {
                    shelf.read.remove(&name);
                }
            }
        }
        problems
    }

    /// All records.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<Object>)> {
        self.records.values().flat_map(Shelf::iter)
    }

    /// Every object that has a status, with it.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<Value>)> {
        self.statuses.values().flat_map(BTreeMap::values).flat_map(Shelf::iter)
    }

    /// Digest of the texts of the records of one kind.
    pub(crate) fn digest(&self, kind: Kind) -> String {
        let mut hash = Xxh3::new();
        for (file, (key, _)) in self.records.get(&kind).into_iter().flat_map(|shelf| &shelf.read) {
            hash.update(key.name.as_bytes());
            hash.update(&[0]);
            hash.update(&self.records[&kind].texts.digest(file).to_le_bytes());
        }
        format!("{:016x}", hash.digest())
    }
}

/// The files of one directory, as they were read last.
struct Shelf<T> {
    texts: Texts,
    read: BTreeMap<OsString, (ObjectKey, Arc<T>)>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { texts: Texts::default(), read: BTreeMap::new() }
    }
}

impl<T> Shelf<T> {
    /// Reads what may have changed. Returns the files that cannot be read, and why; what they held before stays.
    fn refresh(
        &mut self,
        directory: &Path,
        decode: impl Fn(&OsStr, &str) -> Result<(ObjectKey, T), String>,
    ) -> Vec<(OsString, String)> {
        let mut broken = Vec::new();
        let Ok(files) = json_files(directory) else { return broken };
        self.read.retain(|name, _| files.binary_search(name).is_ok());
        self.texts.retain(|name| files.binary_search_by(|file| file.as_os_str().cmp(name)).is_ok());
        for name in files {
            let result = match self.texts.look(directory, Path::new(&name), false) {
                Ok(Look::Text(text)) => decode(&name, &text),
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
                Ok(Look::Same) if !self.read.contains_key(&name) => Err("cannot be understood".to_owned()),
                _ => continue,
            };
            match result {
                Ok((key, value)) => drop(self.read.insert(name, (key, Arc::new(value)))),
                Err(message) => broken.push((name, message)),
            }
        }
        broken
    }

    fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<T>)> {
        self.read.values().map(|(key, value)| (key, value))
    }
}

fn record(kind: Kind, _: &OsStr, text: &str) -> Result<(ObjectKey, Object), String> {
    let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let object = typed(kind, value).map_err(|(field, message)| match field {
        Some(field) => format!("{field}: {message}"),
        None => message,
    })?;
    Ok((object.key(), object))
}

/// The object that a status is about is told by where its file stands.
fn status(kind: Kind, namespace: &OsStr, name: &OsStr, text: &str) -> Result<(ObjectKey, Value), String> {
    let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let text = |part: &OsStr| part.to_string_lossy().into_owned();
    let namespace = if namespace == NO_NAMESPACE { String::new() } else { text(namespace) };
    let name = text(Path::new(name).file_stem().unwrap_or_default());
    Ok((ObjectKey { kind, namespace, name }, value))
}

/// Names of the JSON files of a directory, sorted.
fn json_files(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        if name.as_encoded_bytes().ends_with(b".json") {
            files.push(name);
        }
    }
    files.sort();
    Ok(files)
}

//! What Egret wrote, read back: records and statuses.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;

use egret_api::{Kind, Object, ObjectKey};
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::Problem;
use crate::decode::{has_status, is_record, typed};
use crate::noticed::Changed;
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
    /// Reads again what changed. Of a record that is broken, what it said before stays. Returns all that are.
    pub(crate) fn refresh(&mut self, root: &Path, changed: &Changed) -> Vec<Problem> {
        let own = root.join(OWN);
        match changed {
            Changed::Everything => self.look_at_everything(&own),
            Changed::Files(files) => files.iter().for_each(|file| self.look_at(&own, file)),
        }
        let broken =
            self.records.iter().flat_map(|(kind, shelf)| shelf.broken.iter().map(move |file| (kind, file)));
        let problem = |(kind, (name, message)): (&Kind, (&OsString, &String))| Problem {
            file: Path::new(OWN).join(RECORDS).join(kind.as_str()).join(name),
            document: 0,
            object: Some(kind.as_str().to_owned()),
            field: None,
            message: message.clone(),
            cure: "Remove the file; its writer makes it again.".to_owned(),
        };
        broken.map(problem).collect()
    }

    fn look_at_everything(&mut self, own: &Path) {
        for kind in Kind::ALL.iter().copied().filter(|kind| is_record(*kind)) {
            let directory = own.join(RECORDS).join(kind.as_str());
            let shelf = self.records.entry(kind).or_default();
            shelf.look_at_everything(&directory, |_, text| record(kind, text));
        }
        for kind in Kind::ALL.iter().copied().filter(|kind| has_status(*kind)) {
            let directory = own.join(STATUS).join(kind.as_str());
            let Ok(namespaces) = std::fs::read_dir(&directory) else { continue };
            let found: Vec<_> = namespaces.flatten().map(|entry| entry.file_name()).collect();
            let shelves = self.statuses.entry(kind).or_default();
            shelves.retain(|namespace, _| found.contains(namespace));
            for namespace in found {
                let shelf = shelves.entry(namespace.clone()).or_default();
                shelf.look_at_everything(&directory.join(&namespace), |name, text| {
                    status(kind, &namespace, name, text)
                });
            }
        }
    }

    /// Looks at one file below Egret's own directory.
    fn look_at(&mut self, own: &Path, file: &Path) {
        let parts: Vec<&OsStr> = file.iter().collect();
        let kind = |name: &OsStr| Kind::ALL.iter().copied().find(|kind| name == kind.as_str());
        let Some(directory) = own.join(file).parent().map(Path::to_owned) else { return };
        match parts[..] {
            [part, name, file] if part == RECORDS => {
                let Some(kind) = kind(name).filter(|kind| is_record(*kind)) else { return };
                let shelf = self.records.entry(kind).or_default();
                shelf.look_at(&directory, file, |_, text| record(kind, text));
            }
            [part, name, namespace, file] if part == STATUS => {
                let Some(kind) = kind(name).filter(|kind| has_status(*kind)) else { return };
                let shelves = self.statuses.entry(kind).or_default();
                let shelf = shelves.entry(namespace.to_owned()).or_default();
                shelf.look_at(&directory, file, |name, text| status(kind, namespace, name, text));
            }
            _ => {}
        }
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
    /// Files that cannot be read, and why.
    broken: BTreeMap<OsString, String>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { texts: Texts::default(), read: BTreeMap::new(), broken: BTreeMap::new() }
    }
}

impl<T> Shelf<T> {
    fn look_at_everything(
        &mut self,
        directory: &Path,
        decode: impl Fn(&OsStr, &str) -> Result<(ObjectKey, T), String>,
    ) {
        let Ok(files) = json_files(directory) else { return };
        let known: BTreeSet<OsString> = self.read.keys().chain(self.broken.keys()).cloned().collect();
        for name in known.difference(&files).chain(&files) {
            self.look_at(directory, name, &decode);
        }
    }

    /// Looks at a file. What a broken one said before stays.
    fn look_at(
        &mut self,
        directory: &Path,
        name: &OsStr,
        decode: impl Fn(&OsStr, &str) -> Result<(ObjectKey, T), String>,
    ) {
        let result = match self.texts.look(directory, Path::new(name), false) {
            Ok(Look::Text(text)) => decode(name, &text),
            Ok(_) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.texts.forget(Path::new(name));
                self.read.remove(name);
                self.broken.remove(name);
                return;
            }
            Err(error) => Err(error.to_string()),
        };
        match result {
            Ok((key, value)) => {
                self.broken.remove(name);
                self.read.insert(name.to_owned(), (key, Arc::new(value)));
            }
            Err(message) => drop(self.broken.insert(name.to_owned(), message)),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<T>)> {
        self.read.values().map(|(key, value)| (key, value))
    }
}

fn record(kind: Kind, text: &str) -> Result<(ObjectKey, Object), String> {
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

/// Names of the JSON files of a directory.
fn json_files(directory: &Path) -> io::Result<BTreeSet<OsString>> {
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        if name.as_encoded_bytes().ends_with(b".json") {
            files.insert(name);
        }
    }
    Ok(files)
}

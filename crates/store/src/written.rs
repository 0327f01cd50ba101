//! What Egret wrote, read back: records and statuses.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;

use egret_api::{Kind, Object, ObjectKey};
use serde_json::Value;

use crate::Problem;
use crate::decode::{has_status, is_record, record};
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
    /// Reads again what changed, and returns whose record or status may be another now. Of one that is broken, what it
    /// said before stays.
    pub(crate) fn refresh(&mut self, root: &Path, changed: &Changed) -> BTreeSet<ObjectKey> {
        let mut touched = BTreeSet::new();
        match changed {
            Changed::Everything => self.look_at_everything(&root.join(OWN), &mut touched),
            Changed::Files(files) => {
                for file in files {
                    touched.extend(self.look_at(root, file));
                }
            }
        }
        touched
    }

    fn look_at_everything(&mut self, own: &Path, touched: &mut BTreeSet<ObjectKey>) {
        for kind in Kind::ALL.iter().copied().filter(|kind| is_record(*kind)) {
            let directory = own.join(RECORDS).join(kind.as_str());
            let shelf = self.records.entry(kind).or_default();
            let changed = shelf.look_at_everything(&directory, |name, text| record_in(kind, name, text));
            touched.extend(changed.iter().map(|name| key(kind, None, name)));
        }
        for kind in Kind::ALL.iter().copied().filter(|kind| has_status(*kind)) {
            let directory = own.join(STATUS).join(kind.as_str());
            let Ok(namespaces) = std::fs::read_dir(&directory) else { continue };
            let found: BTreeSet<_> = namespaces.flatten().map(|entry| entry.file_name()).collect();
            let shelves = self.statuses.entry(kind).or_default();
            shelves.retain(|namespace, shelf| {
                let stays = found.contains(namespace);
                if !stays {
                    touched.extend(shelf.read.keys().map(|name| key(kind, Some(namespace), name)));
                }
                stays
            });
            for namespace in found {
                let shelf = shelves.entry(namespace.clone()).or_default();
                let changed = shelf.look_at_everything(&directory.join(&namespace), |_, text| status(text));
                touched.extend(changed.iter().map(|name| key(kind, Some(&namespace), name)));
            }
        }
    }

    /// Looks at one file below the store's directory; whose it is if it may say something else.
    fn look_at(&mut self, root: &Path, file: &Path) -> Option<ObjectKey> {
        let parts: Vec<&OsStr> = file.iter().collect();
        let kind = |name: &OsStr| Kind::ALL.iter().copied().find(|kind| name == kind.as_str());
        let directory = root.join(file.parent()?);
        match parts[..] {
            [own, part, name, file] if own == OWN && part == RECORDS => {
                let kind = kind(name).filter(|kind| is_record(*kind))?;
                let shelf = self.records.entry(kind).or_default();
                let changed = shelf.look_at(&directory, file, |name, text| record_in(kind, name, text));
                changed.then(|| key(kind, None, file))
            }
            [own, part, name, namespace, file] if own == OWN && part == STATUS => {
                let kind = kind(name).filter(|kind| has_status(*kind))?;
                let shelf = self.statuses.entry(kind).or_default().entry(namespace.to_owned()).or_default();
                let changed = shelf.look_at(&directory, file, |_, text| status(text));
                changed.then(|| key(kind, Some(namespace), file))
            }
            _ => None,
        }
    }

    /// The record of this key.
    pub(crate) fn record(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.records.get(&key.kind)?.read.get(&file_of(key))
    }

    /// The status of the object of this key.
    pub(crate) fn status(&self, key: &ObjectKey) -> Option<&Arc<Value>> {
        let namespace = if key.namespace.is_empty() { NO_NAMESPACE } else { &key.namespace };
        self.statuses.get(&key.kind)?.get(OsStr::new(namespace))?.read.get(&file_of(key))
    }

    /// Records that cannot be read.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> {
        let broken =
            self.records.iter().flat_map(|(kind, shelf)| shelf.broken.iter().map(move |file| (kind, file)));
        broken.map(|(kind, (name, message))| Problem {
            file: Path::new(OWN).join(RECORDS).join(kind.as_str()).join(name),
            document: 0,
            object: Some(kind.as_str().to_owned()),
            field: None,
            message: message.clone(),
            cure: "Remove the file; its writer makes it again.".to_owned(),
        })
    }

    /// Digest of the texts of the records of one kind.
    pub(crate) fn digest(&self, kind: Kind) -> u64 {
        self.records.get(&kind).map_or(0, |shelf| shelf.texts.digest())
    }
}

/// The files of one directory, as they were read last.
struct Shelf<T> {
    texts: Texts,
    read: BTreeMap<OsString, Arc<T>>,
    /// Files that cannot be read, and why.
    broken: BTreeMap<OsString, String>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { texts: Texts::default(), read: BTreeMap::new(), broken: BTreeMap::new() }
    }
}

impl<T> Shelf<T> {
    /// Returns the files that may say something else.
    fn look_at_everything(
        &mut self,
        directory: &Path,
        decode: impl Fn(&OsStr, &str) -> Result<T, String>,
    ) -> Vec<OsString> {
        let Ok(files) = json_files(directory) else { return Vec::new() };
        let known: BTreeSet<OsString> = self.read.keys().chain(self.broken.keys()).cloned().collect();
        known.union(&files).filter(|name| self.look_at(directory, name, &decode)).cloned().collect()
    }

    /// Looks at a file, and returns whether it may say something else. What a broken one said before stays.
    fn look_at(
        &mut self,
        directory: &Path,
        name: &OsStr,
        decode: impl Fn(&OsStr, &str) -> Result<T, String>,
    ) -> bool {
        let result = match self.texts.look(directory, Path::new(name), false) {
            Ok(Look::Text(text)) => decode(name, &text),
            Ok(_) => return false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.broken.remove(name);
                return self.read.remove(name).is_some();
            }
            Err(error) => Err(error.to_string()),
        };
        match result {
            Ok(value) => {
                self.broken.remove(name);
                self.read.insert(name.to_owned(), Arc::new(value));
                true
            }
            Err(message) => {
                self.broken.insert(name.to_owned(), message);
                false
            }
        }
    }
}

/// Whose a file is, told by where it stands.
fn key(kind: Kind, namespace: Option<&OsStr>, file: &OsStr) -> ObjectKey {
    let text = |part: &OsStr| part.to_string_lossy().into_owned();
    ObjectKey {
        kind,
        namespace: namespace.filter(|namespace| *namespace != NO_NAMESPACE).map(text).unwrap_or_default(),
        name: text(Path::new(file).file_stem().unwrap_or_default()),
    }
}

fn file_of(key: &ObjectKey) -> OsString {
    format!("{}.json", key.name).into()
}

fn record_in(kind: Kind, name: &OsStr, text: &str) -> Result<Object, String> {
    let object = record(kind, text)?;
    match object.key() == key(kind, None, name) {
        true => Ok(object),
        false => Err(format!("says that it is {}", object.key())),
    }
}

fn status(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
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

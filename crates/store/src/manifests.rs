//! What people wrote: every manifest below the directory, and what of it is in force.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use egret_api::{Object, ObjectKey};
use xxhash_rust::xxh3::Xxh3;

use crate::Problem;
use crate::accepted::Accepted;
use crate::decode::{Decoded, manifest};
use crate::document::{documents, flatten};
use crate::texts::{Look, Texts};

/// Deeper than any tree of manifests, and shallow enough to leave a loop of links.
const MAX_DEPTH: usize = 16;

/// All manifests of a directory, with what each file gave when it could last be read.
#[derive(Default)]
pub(crate) struct Manifests {
    texts: Texts,
    files: BTreeMap<PathBuf, File>,
    /// Some file is being written; it must be looked at again soon.
    pub(crate) settling: bool,
}

/// One file.
struct File {
    /// In force: what it says now, and what it said before where it is broken now.
    objects: BTreeMap<ObjectKey, Placed>,
    problems: Vec<Problem>,
}

#[derive(Clone)]
pub(crate) struct Placed {
    pub document: usize,
    pub object: Arc<Object>,
    /// It can be in force; what replaces it must be able to as well.
    pub valid: bool,
    /// The file does not say so any more: it is broken there.
    pub kept: bool,
}

impl Manifests {
    /// Looks at every file below `root` again. When the directory itself cannot be read, everything stays.
    pub(crate) fn refresh(&mut self, root: &Path, accepted: &Accepted) -> Option<Problem> {
        let mut paths = BTreeSet::new();
        if let Err(error) = list(root, Path::new(""), 0, &mut paths) {
            return Some(Problem {
                file: root.to_owned(),
                document: 0,
                object: None,
                field: None,
                message: format!("the directory cannot be read: {error}"),
                cure: "Make it readable; until then the objects read before stay in force.".to_owned(),
            });
        }
        let gone: Vec<_> = self.files.keys().filter(|path| !paths.contains(*path)).cloned().collect();
        for path in gone {
            self.files.remove(&path);
            self.texts.forget(&path);
            accepted.forget(&path);
        }
        self.settling = false;
        for path in paths {
            match self.texts.look(root, &path, true) {
                Ok(Look::Same) => {}
                Ok(Look::Settling) => self.settling = true,
                Ok(Look::Text(text)) => {
                    let file = self.files.entry(path.clone()).or_insert_with(|| File::new(&path, accepted));
                    file.read(&path, &text);
                    accepted.note(&path, &file.objects);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let file = self.files.entry(path.clone()).or_insert_with(|| File::new(&path, accepted));
                    file.unreadable(&path, &error);
                    // When it can be read again it must be, even if the text is as before.
                    self.texts.forget(&path);
                    accepted.note(&path, &file.objects);
                }
            }
        }
        None
    }

    /// What is in force, and what is wrong. Where an object is in two files, the first by path wins.
    pub(crate) fn objects(&self) -> (BTreeMap<ObjectKey, Arc<Object>>, Vec<Problem>) {
        let mut objects = BTreeMap::new();
        let mut owners: BTreeMap<&ObjectKey, &Path> = BTreeMap::new();
        let mut problems = Vec::new();
        for (path, file) in &self.files {
            problems.extend(file.problems.iter().cloned());
            for (key, placed) in &file.objects {
                if let Some(owner) = owners.get(key) {
                    problems.push(duplicate(path, placed.document, key, owner));
                    continue;
                }
                owners.insert(key, path);
                objects.insert(key.clone(), placed.object.clone());
            }
        }
        (objects, problems)
    }

    /// The file that an object in force is from.
    pub(crate) fn origin(&self, key: &ObjectKey) -> Option<&Path> {
        self.files.iter().find(|(_, file)| file.objects.contains_key(key)).map(|(path, _)| path.as_path())
    }

    /// Digest of the texts and where they stand.
    pub(crate) fn digest(&self) -> String {
        let mut hash = Xxh3::new();
        for path in self.files.keys() {
            hash.update(path.as_os_str().as_encoded_bytes());
            hash.update(&[0]);
            hash.update(&self.texts.digest(path.as_os_str()).to_le_bytes());
        }
        format!("{:016x}", hash.digest())
    }
}

impl File {
    /// A file that this process has not read yet.
    fn new(path: &Path, accepted: &Accepted) -> Self {
        Self { objects: accepted.of(path), problems: Vec::new() }
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.objects.values_mut().for_each(|placed| placed.kept = true);
        self.problems = vec![Problem {
            file: path.to_owned(),
            document: 0,
            object: None,
            field: None,
            message: format!("the file cannot be read: {error}"),
            cure: "Make it readable text; until then the objects read from it before stay in force."
                .to_owned(),
        }];
    }

    fn read(&mut self, path: &Path, text: &str) {
        let mut before = std::mem::take(&mut self.objects);
        self.problems.clear();
        // Objects that are broken now, and whether some document does not even say which it is.
        let (mut broken, mut nameless) = (BTreeSet::new(), false);
        for document in documents(text) {
            let problem = |object: Option<String>, field, message, cure| Problem {
                file: path.to_owned(),
                document: document.index,
                object,
                field,
                message,
                cure,
            };
            let value = match document.value {
                Ok(value) => value,
                Err(message) => {
                    nameless = true;
                    let cure =
                        "Correct the YAML; until then what this document said before stays in force.".into();
                    self.problems.push(problem(None, None, message, cure));
                    continue;
                }
            };
            for value in flatten(value) {
                match manifest(value) {
                    Decoded::Foreign(what) => {
                        tracing::debug!(file = %path.display(), what, "not read by Egret")
                    }
                    Decoded::Broken(fault) => {
                        nameless |= fault.key.is_none();
                        let name = fault.key.as_ref().map(ToString::to_string);
                        broken.extend(fault.key);
                        self.problems.push(problem(name, fault.field, fault.message, fault.cure));
                    }
                    Decoded::Object(object, faults) => {
                        let key = object.key();
                        let valid = faults.is_empty();
                        for fault in faults {
                            let name = Some(key.to_string());
                            self.problems.push(problem(name, fault.field, fault.message, fault.cure));
                        }
                        if !valid && before.get(&key).is_some_and(|before| before.valid) {
                            broken.insert(key);
                            continue;
                        }
                        if let Some(first) = self.objects.get(&key) {
                            let first = first.document;
                            let message =
                                format!("is in document {first} of this file already, which is in force");
                            let cure = "Remove one of the two.".to_owned();
                            self.problems.push(problem(Some(key.to_string()), None, message, cure));
                            continue;
                        }
                        let object = Arc::new(object);
                        let placed = Placed { document: document.index, object, valid, kept: false };
                        self.objects.insert(key, placed);
                    }
                }
            }
        }
        before.retain(|key, _| !self.objects.contains_key(key) && (nameless || broken.contains(key)));
        self.objects.extend(before.into_iter().map(|(key, placed)| (key, Placed { kept: true, ..placed })));
    }
}

fn duplicate(path: &Path, document: usize, key: &ObjectKey, owner: &Path) -> Problem {
    Problem {
        file: path.to_owned(),
        document,
        object: Some(key.to_string()),
        field: None,
        message: format!("is in {} already, which is in force", owner.display()),
        cure: "Remove one of the two.".to_owned(),
    }
}

/// The objects of a text of manifests, and what is wrong with it. `file` names the text in problems.
pub fn read_manifests(file: &Path, text: &str) -> (Vec<Arc<Object>>, Vec<Problem>) {
    let mut read = File { objects: BTreeMap::new(), problems: Vec::new() };
    read.read(file, text);
    (read.objects.into_values().map(|placed| placed.object).collect(), read.problems)
}

/// Whether a file is a manifest, by its name.
pub(crate) fn is_manifest(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| matches!(e, "yaml" | "yml" | "json"))
}

fn list(root: &Path, below: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name();
        // Hidden: our own `.egret`, swap files of editors, the `..data` of mounted config maps.
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = below.join(&name);
        // Links are followed: mounted config maps are made of them.
        let Ok(metadata) = std::fs::metadata(root.join(&path)) else { continue };
        if metadata.is_dir() && depth < MAX_DEPTH {
            match list(root, &path, depth + 1, found) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        } else if metadata.is_file() && is_manifest(&path) {
            found.insert(path);
        }
    }
    Ok(())
}

//! What people wrote: every manifest below the directory, and what of it is in force.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use egret_api::{Object, ObjectKey};

use crate::Problem;
use crate::accepted::Accepted;
use crate::decode::{Decoded, manifest};
use crate::document::{documents, flatten};
use crate::noticed::Changed;
use crate::records::OWN;
use crate::texts::{Look, Texts};

/// Deeper than any tree of manifests, and shallow enough to leave a loop of links.
const MAX_DEPTH: usize = 16;

/// All manifests of a directory, with what each file gave when it could last be read.
#[derive(Default)]
pub(crate) struct Manifests {
    texts: Texts,
    files: BTreeMap<PathBuf, File>,
    /// The files that have each object: the first is in force.
    places: BTreeMap<ObjectKey, BTreeSet<PathBuf>>,
    /// Files that are being written; they must be looked at again soon.
    settling: BTreeSet<PathBuf>,
    /// Why the directory itself cannot be read; everything stays meanwhile.
    unreadable: Option<Problem>,
    problems: Vec<Problem>,
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
    /// Looks at what changed below `root`, and returns the objects that may be others now.
    pub(crate) fn refresh(
        &mut self,
        root: &Path,
        changed: &Changed,
        accepted: &Accepted,
    ) -> BTreeSet<ObjectKey> {
        let mut touched = BTreeSet::new();
        let mut files = std::mem::take(&mut self.settling);
        let mut news = !files.is_empty();
        let each = match changed {
            Changed::Files(noticed) => {
                files.extend(noticed.iter().filter(|file| !file.starts_with(OWN)).cloned());
                news |= !files.is_empty();
                // What is not there may have been a directory, or the whole is gone.
                self.unreadable.is_none()
                    && files.iter().all(|file| self.look_at(root, file, accepted, &mut touched))
            }
            Changed::Everything => false,
        };
        if !each {
            self.look_at_everything(root, accepted, &mut touched);
        }
        if news || !each {
            self.problems = self.find_problems();
        }
        touched
    }

    fn look_at_everything(&mut self, root: &Path, accepted: &Accepted, touched: &mut BTreeSet<ObjectKey>) {
        let mut paths = BTreeSet::new();
        self.unreadable = list(root, Path::new(""), 0, &mut paths).err().map(|error| Problem {
            file: root.to_owned(),
            document: 0,
            object: None,
            field: None,
            message: format!("the directory cannot be read: {error}"),
            cure: "Make it readable; until then the objects read before stay in force.".to_owned(),
        });
        if self.unreadable.is_some() {
            return;
        }
        let gone: Vec<_> = self.files.keys().filter(|path| !paths.contains(*path)).cloned().collect();
        for path in gone {
            self.texts.forget(&path);
            accepted.forget(&path);
            self.take_out(&path, touched);
        }
        for path in paths {
            self.look_at(root, &path, accepted, touched);
        }
    }

    /// Looks at a file; false if there is none.
    fn look_at(
        &mut self,
        root: &Path,
        path: &Path,
        accepted: &Accepted,
        touched: &mut BTreeSet<ObjectKey>,
    ) -> bool {
        if path.iter().count() > MAX_DEPTH + 1 {
            return true;
        }
        if !std::fs::metadata(root.join(path)).is_ok_and(|metadata| metadata.is_file()) {
            return false;
        }
        let look = self.texts.look(root, path, true);
        match &look {
            Ok(Look::Same) => return true,
            Ok(Look::Settling) => {
                self.settling.insert(path.to_owned());
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
            Ok(Look::Text(_)) | Err(_) => {}
        }
        let mut file = self.take_out(path, touched).unwrap_or_else(|| File::new(path, accepted));
        match look {
            Ok(Look::Text(text)) => file.read(path, &text),
            Err(error) => file.unreadable(path, &error),
            Ok(_) => {}
        }
        accepted.note(path, &file.objects);
        for key in file.objects.keys() {
            self.places.entry(key.clone()).or_default().insert(path.to_owned());
            touched.insert(key.clone());
        }
        self.files.insert(path.to_owned(), file);
        true
    }

    /// Takes out a file with its objects.
    fn take_out(&mut self, path: &Path, touched: &mut BTreeSet<ObjectKey>) -> Option<File> {
        let file = self.files.remove(path)?;
        for key in file.objects.keys() {
            if let Some(places) = self.places.get_mut(key) {
                places.remove(path);
                if places.is_empty() {
                    self.places.remove(key);
                }
            }
            touched.insert(key.clone());
        }
        Some(file)
    }

    /// The object of a key. Where it is in two files, the first by path is in force.
    pub(crate) fn object(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        let file = self.files.get(self.origin(key)?)?;
        file.objects.get(key).map(|placed| &placed.object)
    }

    /// The file that an object in force is from.
    pub(crate) fn origin(&self, key: &ObjectKey) -> Option<&Path> {
        self.places.get(key)?.first().map(PathBuf::as_path)
    }

    /// What is wrong, in the order of the files.
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn find_problems(&self) -> Vec<Problem> {
        let mut problems: Vec<_> = self.files.values().flat_map(|file| &file.problems).cloned().collect();
        for (key, places) in self.places.iter().filter(|(_, places)| places.len() > 1) {
            let twice = |path: &PathBuf| {
                let document = self.files.get(path)?.objects.get(key)?.document;
                Some(duplicate(path, document, key, self.origin(key)?))
            };
            problems.extend(places.iter().skip(1).filter_map(twice));
        }
        problems.sort();
        problems.extend(self.unreadable.clone());
        problems
    }

    /// Some file is being written; it must be looked at again soon.
    pub(crate) fn is_settling(&self) -> bool {
        !self.settling.is_empty()
    }

    /// Digest of the texts and where they stand.
    pub(crate) fn digest(&self) -> u64 {
        self.texts.digest()
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

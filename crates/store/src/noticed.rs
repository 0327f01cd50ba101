//! Which files may have changed since they were read: a store has a file for every record, too many to look at each time.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::manifests::is_manifest;
use crate::records::{OWN, PROGRESS, RECORDS, STATUS};

/// What the watch and this process's own writes tell. All clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Noticed(Arc<Mutex<Changed>>);

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Perhaps anything.
    Everything,
    /// Only these, by their paths below the store's directory.
    Files(BTreeSet<PathBuf>),
}

/// What a change at a path means to those who read the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Meaning {
    /// They should look now; else when there is another reason to.
    wakes: bool,
    look: Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// At nothing that is kept in mind.
    Nothing,
    /// At this file.
    File,
    /// At everything: it may be a directory, which may bring or take many files.
    Everything,
}

impl Noticed {
    /// Nothing has been read yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Changed::Everything)))
    }

    /// A file or directory has changed, by its path below the store's directory. Returns whether readers should look.
    pub(crate) fn change(&self, path: &Path) -> bool {
        let Meaning { wakes, look } = meaning(path);
        match look {
            Look::Nothing => {}
            Look::File => match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
                Changed::Everything => {}
                Changed::Files(files) => drop(files.insert(path.to_owned())),
            },
            Look::Everything => self.everything(),
        }
        wakes
    }

    /// Changes may have been missed.
    pub(crate) fn everything(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Changed::Everything;
    }

    /// What changed since this was asked last.
    pub(crate) fn take(&self) -> Changed {
        let mut changed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *changed, Changed::Files(BTreeSet::new()))
    }
}

fn meaning(path: &Path) -> Meaning {
    let parts: Vec<&OsStr> = path.iter().collect();
    let extension = path.extension();
    let file = if extension.is_some_and(|e| e == "json") { Look::File } else { Look::Everything };
    let (wakes, look) = match parts[..] {
        [own, part, ..] if own == OWN && part == RECORDS => (true, file),
        // Only their writer needs them.
        [own, part, ..] if own == OWN && part == STATUS => (false, file),
        [own, part, ..] if own == OWN => (part == PROGRESS, Look::Nothing),
        [own] if own == OWN => (true, Look::Everything),
        // Config maps are mounted as links into a directory that is replaced.
        _ if parts.iter().any(|part| *part == "..data") => (true, Look::Everything),
        _ if parts.iter().any(|part| part.as_encoded_bytes().starts_with(b".")) => (false, Look::Nothing),
        _ if is_manifest(path) => (true, Look::File),
        // Most directories' names have no extension.
        _ => (extension.is_none(), Look::Everything),
    };
    Meaning { wakes, look }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_read_wakes_and_is_looked_at() {
        for (path, wakes, looked_at) in [
            ("a.yaml", true, Some("a.yaml")),
            ("team/b.json", true, Some("team/b.json")),
            ("team.d/b.yml", true, Some("team.d/b.yml")),
            ("team", true, None),
            ("..data", true, None),
            ("team/..data", true, None),
            ("", true, None),
            (".egret/records/EgressNode/n.json", true, Some(".egret/records/EgressNode/n.json")),
            (".egret/records/EgressNode", true, None),
            (".egret/status/Egress/_/x.json", false, Some(".egret/status/Egress/_/x.json")),
            (".egret/status/Egress/team", false, None),
            ("notes.txt", false, None),
        ] {
            let noticed = Noticed::new();
            noticed.take();
            assert_eq!(noticed.change(Path::new(path)), wakes, "{path}");
            let expected = looked_at.map_or(Changed::Everything, |file| Changed::Files([file.into()].into()));
            assert_eq!(noticed.take(), expected, "{path}");
        }
        for (path, wakes) in [
            (".a.yaml.swp", false),
            ("team/.a.yaml", false),
            (".egret/controller.json", true),
            (".egret/controller.lock", false),
            (".egret/tmp/x", false),
            (".egret/accepted/0.json", false),
        ] {
            let noticed = Noticed::new();
            noticed.take();
            assert_eq!(noticed.change(Path::new(path)), wakes, "{path}");
            assert_eq!(noticed.take(), Changed::Files(BTreeSet::new()), "{path}");
        }
    }

    #[test]
    fn what_may_be_everything_stays_so_until_it_is_taken() {
        let noticed = Noticed::new();
        noticed.change(Path::new("a.yaml"));
        assert_eq!(noticed.take(), Changed::Everything);
        noticed.change(Path::new("a.yaml"));
        noticed.change(Path::new("a.yaml"));
        assert_eq!(noticed.take(), Changed::Files(["a.yaml".into()].into()));
    }
}

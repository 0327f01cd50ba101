//! Which of Egret's own files may have changed since they were read: a store has a file for every record, too many to
//! look at each time. People's manifests are few, and are always looked at.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What the watch and this process's own writes tell. All clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Noticed(Arc<Mutex<Changed>>);

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Perhaps anything.
    Everything,
    /// Only these, by their paths below Egret's own directory.
    Files(BTreeSet<PathBuf>),
}

impl Noticed {
    /// Nothing has been read yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Changed::Everything)))
    }

    /// A file has changed, if it is one: a directory may bring or take many.
    pub(crate) fn change(&self, file: &Path) {
        match file.extension().is_some_and(|extension| extension == "json") {
            true => match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
                Changed::Everything => {}
                Changed::Files(files) => drop(files.insert(file.to_owned())),
            },
            false => self.everything(),
        }
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

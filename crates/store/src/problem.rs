//! What can be wrong with a store, in words that a person can act on.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// Something in a manifest that a person should correct. It changes nothing that was in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file, relative to the store's directory; empty if the store has no files.
    pub file: PathBuf,
    /// The document within the file, counted from 1; 0 if the whole file is meant.
    pub document: usize,
    /// The object, as `Kind name` or `Kind namespace/name`, as far as it can be told.
    pub object: Option<String>,
    /// The field, as a path like `spec.ranges[0].cidr`, if one is to blame.
    pub field: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub cure: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = self.file.display();
        let place = match self.document {
            _ if self.file.as_os_str().is_empty() => None,
            0 | 1 => Some(file.to_string()),
            document => Some(format!("{file} document {document}")),
        };
        for part in [&place, &self.object, &self.field].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        write!(f, "{}. {}", self.message, self.cure)
    }
}

/// The store itself cannot do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory cannot be read or written.
    #[error("{path}: cannot {action}: {source}. Check that the directory exists and that this user may write to it", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The directory cannot be watched for changes.
    #[error("{path}: cannot watch for changes: {source}. Raise fs.inotify.max_user_watches and max_user_instances", path = path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: notify::Error,
    },
    /// An object cannot be written as JSON.
    #[error("{object}: cannot be written as JSON: {source}")]
    Encode {
        /// The object.
        object: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An API server refuses a request.
    #[error("{object}: cannot {action} it: {words}; {cure}")]
    Api {
        /// What was tried.
        action: &'static str,
        /// With what.
        object: String,
        /// What the server said.
        words: String,
        /// What to do about it.
        cure: &'static str,
    },
    /// A kubeconfig cannot be used.
    #[error("--kubeconfig {path}: {words}. Name a file that `kubectl --kubeconfig` takes", path = path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        words: String,
    },
    /// There is no kubeconfig, and this process is in no pod.
    #[error("--store kubernetes: this is no pod of a cluster ({words}). Name a file by --kubeconfig")]
    NotInCluster {
        /// What is missing.
        words: String,
    },
    /// A name that would lead out of the store's directory.
    #[error(
        "{name:?}: cannot be a file name in the store. Use a relative path that ends in .yaml, .yml or .json and has no part that begins with a dot"
    )]
    Name {
        /// The name.
        name: String,
    },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

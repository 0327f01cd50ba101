//! The directory of manifests that is the store of a lab without an API server.

use anyhow::{Context, Result};
use egret_store::Directory;

use crate::state::Paths;

/// Who writes, for the names of temporary files.
const WRITER: &str = "lab";

/// Opens the lab's store.
///
/// # Errors
/// When the directory cannot be made or watched.
pub fn store(paths: &Paths) -> Result<Directory> {
    Directory::open(paths.store(), WRITER).with_context(|| format!("the store of lab {}", paths.name))
}

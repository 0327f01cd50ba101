//! People's manifests: into the lab's store, and out of it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::objects::Objects;
use crate::state::{Paths, State};
use crate::wait;

/// How long the lab may take to put a change in force.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Puts manifest files into the store as they stand; `-` is the standard input. Returns what the store finds
/// wrong with them: the rest of them holds all the same.
///
/// # Errors
/// When a file cannot be read or the store cannot be written.
pub fn apply(paths: &Paths, state: &State, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in files {
        let text = match file.as_os_str() == "-" {
            true => std::io::read_to_string(std::io::stdin().by_ref()).context("standard input")?,
            false => fs::read_to_string(file).with_context(|| file.display().to_string())?,
        };
        problems.extend(apply_text(paths, state, &stored_name(file), &text)?);
    }
    Ok(problems)
}

/// Puts the text of a manifest into the store, under a name. What the text of that name said before and this one
/// does not is removed.
///
/// # Errors
/// When the store cannot be written.
pub fn apply_text(paths: &Paths, state: &State, name: &str, text: &str) -> Result<Vec<String>> {
    match Objects::of(paths, state)? {
        Objects::Directory(store) => {
            store.write_manifest(name, text)?;
            let own = store.snapshot().problems.into_iter().filter(|p| p.file == Path::new(name));
            Ok(own.map(|problem| problem.to_string()).collect())
        }
        Objects::Kubernetes(control) => control.apply_manifest(&paths.applied(name), text),
    }
}

/// Takes manifest files out of the store again.
///
/// # Errors
/// When one was never applied.
pub fn delete(paths: &Paths, state: &State, files: &[PathBuf]) -> Result<()> {
    let objects = Objects::of(paths, state)?;
    for file in files {
        let name = stored_name(file);
        let kept = match &objects {
            Objects::Directory(_) => paths.store().join(&name),
            Objects::Kubernetes(_) => paths.applied(&name),
        };
        anyhow::ensure!(
            kept.exists(),
            "{}: it was not applied to lab {}; apply knows a file by its path",
            file.display(),
            paths.name
        );
        match &objects {
            Objects::Directory(store) => store.remove_manifest(&name)?,
            Objects::Kubernetes(control) => control.delete_manifest(&kept)?,
        }
    }
    Ok(())
}

/// Waits until everything that the store says is in force.
///
/// # Errors
/// Who is still waited for when patience ends.
pub fn wait(paths: &Paths, state: &State) -> Result<()> {
    wait::in_force(paths, state, PATIENCE)
        .context("the manifests are in the store, but not in force everywhere")
}

/// The name under which a file is kept: its own, and a mark of the directory it comes from.
fn stored_name(file: &Path) -> String {
    let whole = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let stem: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let extension = file.extension().and_then(|e| e.to_str()).filter(|e| ["json", "yml"].contains(e));
    let extension = extension.unwrap_or("yaml");
    format!("applied-{stem}-{:08x}.{extension}", mark(whole.as_os_str().as_encoded_bytes()))
}

/// FNV-1a: short, and the same in every process.
fn mark(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_name_in_two_directories_are_two() {
        let (a, b) = (stored_name(Path::new("a/pool.yaml")), stored_name(Path::new("b/pool.yaml")));
        assert_ne!(a, b);
        assert!(a.starts_with("applied-pool-") && a.ends_with(".yaml"), "{a}");
        assert!(stored_name(Path::new("x.json")).ends_with(".json"));
        assert_eq!(stored_name(Path::new("-")), stored_name(Path::new("-")));
    }
}

//! Network namespaces: work inside one, and who is inside one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use std::os::unix::fs::MetadataExt;

/// Where a named network namespace is to be found.
pub fn path(netns: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(netns)
}

/// The namespace exists.
pub fn exists(netns: &str) -> bool {
    path(netns).exists()
}

/// Starts a thread that lives in a network namespace.
///
/// # Errors
/// When the thread cannot be started. That the namespace is missing comes out of the thread.
pub fn spawn_in<T: Send + 'static>(
    netns: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<JoinHandle<Result<T>>> {
    let name = netns.to_owned();
    let thread = thread::Builder::new().name(netns.chars().take(15).collect()).spawn(move || {
        enter(&name)?;
        work()
    })?;
    Ok(thread)
}

/// Does a piece of work on a thread inside a network namespace and returns its result.
///
/// # Errors
/// When the namespace cannot be entered, and what the work returns.
pub fn run_in<T: Send>(netns: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let work = || {
        enter(netns)?;
        work()
    };
    thread::scope(|scope| scope.spawn(work).join()).map_err(|_| anyhow!("work in {netns} panicked"))?
}

fn enter(netns: &str) -> Result<()> {
    let file = File::open(path(netns)).with_context(|| format!("network namespace {netns}"))?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("network namespace {netns}: cannot be entered"))
}

/// Writes sysctls of a network namespace: names as below `/proc/sys/net`.
///
/// # Errors
/// The first name that cannot be written.
pub fn write_sysctls(netns: &str, values: &[(&str, &str)]) -> Result<()> {
    run_in(netns, || {
        for (name, value) in values {
            let file = PathBuf::from("/proc/sys/net").join(name);
            fs::write(&file, value).with_context(|| format!("{netns}: {}", file.display()))?;
        }
        Ok(())
    })
}

/// Processes by the network namespace they are in, of those named. Threads that only visit are not counted.
pub fn processes(namespaces: impl IntoIterator<Item = String>) -> BTreeMap<String, Vec<i32>> {
    let mut found = BTreeMap::new();
    let mut by_inode = BTreeMap::new();
    for netns in namespaces {
        if let Ok(file) = fs::metadata(path(&netns)) {
            by_inode.insert(format!("net:[{}]", file.ino()), netns);
        }
    }
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok()) {
        let Ok(link) = fs::read_link(format!("/proc/{pid}/ns/net")) else { continue };
        if let Some(netns) = link.to_str().and_then(|l| by_inode.get(l)) {
            found.entry(netns.clone()).or_insert_with(Vec::new).push(pid);
        }
    }
    found
}

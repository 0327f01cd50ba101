//! Taking a lab away, whole or half-built.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::{self, Process};
use crate::state::{Paths, State};
use crate::{netns, tool};

/// Removes everything of a lab. A lab that is not there is no error.
///
/// # Errors
/// When something cannot be removed.
pub fn down(paths: &Paths) -> Result<bool> {
    let _lock = paths.lock()?;
    let found = remove(paths);
    paths.remove_lock();
    found
}

/// Removes everything of a lab whose lock the caller has. Returns whether there was one.
///
/// # Errors
/// When something cannot be removed.
pub fn remove(paths: &Paths) -> Result<bool> {
    if !paths.root().exists() {
        return Ok(false);
    }
    // A state that cannot be read does not keep the rest from going.
    if let Ok(Some(state)) = State::find(paths) {
        process::kill_all(&state.processes);
        let namespaces = state.namespaces();
        kill_inside(namespaces.iter().cloned());
        remove_namespaces(&namespaces)?;
    }
    unmount(paths)?;
    fs::remove_dir_all(paths.root()).with_context(|| paths.root().display().to_string())?;
    Ok(true)
}

/// Removes the network namespaces that exist.
///
/// # Errors
/// When one cannot be removed.
pub fn remove_namespaces(namespaces: &[String]) -> Result<()> {
    let there = namespaces.iter().filter(|n| netns::exists(n));
    tool::ip_batch(&there.map(|n| format!("netns del {n}")).collect::<Vec<_>>())
}

/// Kills the processes inside network namespaces, and waits until they are gone.
pub fn kill_inside(namespaces: impl IntoIterator<Item = String>) {
    let own = std::process::id() as i32;
    let inside = netns::processes(namespaces).into_values().flatten().filter(|pid| *pid != own);
    let mut inside: Vec<(i32, u64)> = inside.filter_map(|pid| Some((pid, process::started(pid)?))).collect();
    let deadline = Instant::now() + Duration::from_secs(5);
    for (pid, _) in &inside {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    while !inside.is_empty() && Instant::now() < deadline {
        inside.retain(|(pid, started)| process::started(*pid) == Some(*started));
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn unmount(paths: &Paths) -> Result<()> {
    let bpf = paths.bpf();
    // Once per mount: a lab that was started twice over its own ruins may have stacked them.
    while is_mounted(&bpf.display().to_string())? {
        umount2(&bpf, MntFlags::MNT_DETACH).with_context(|| format!("unmount {}", bpf.display()))?;
    }
    Ok(())
}

fn is_mounted(path: &str) -> Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    Ok(mounts.lines().any(|line| line.split(' ').nth(1) == Some(path)))
}

/// The processes of the lab that still run.
pub fn running(state: &State) -> Vec<&Process> {
    state.processes.iter().filter(|p| p.is_alive()).collect()
}

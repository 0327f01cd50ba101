//! Leaves nothing behind: not after a run, not after an interruption, and not after a bench that was killed.

use crate::namespace;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Where benches keep stores, logs and pins, each in a directory named by its process id.
pub const ROOT: &str = "/run/egret/bench";

/// Removes what benches left that are no longer running.
pub fn leftovers() {
    let mut dead: Vec<i32> = namespace::ours().into_iter().map(|(_, pid)| pid).collect();
    for entry in std::fs::read_dir(ROOT).into_iter().flatten().flatten() {
        dead.extend(entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    dead.sort_unstable();
    dead.dedup();
    for pid in dead {
        if !is_bench(pid) {
            remove(pid);
        }
    }
}

/// A process id may have been given to another program since.
fn is_bench(pid: i32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim() == "egret-bench"
}

/// Removes everything of the bench with this process id.
pub fn remove(pid: i32) {
    let names: Vec<String> =
        namespace::ours().into_iter().filter(|(_, owner)| *owner == pid).map(|(name, _)| name).collect();
    remove_namespaces(&names);
    let directory = directory(pid);
    for mount in mounts_below(&directory) {
        let _ = umount2(&mount, MntFlags::MNT_DETACH);
    }
    let _ = std::fs::remove_dir_all(&directory);
    let _ = std::fs::remove_dir(ROOT);
    if let Some(parent) = Path::new(ROOT).parent() {
        // only if nobody else has something in it
        let _ = std::fs::remove_dir(parent);
    }
}

/// The directory of the bench with this process id.
pub fn directory(pid: i32) -> PathBuf {
    Path::new(ROOT).join(pid.to_string())
}

/// Ends the processes in these namespaces and removes them.
pub fn remove_namespaces(names: &[String]) {
    for name in names {
        for pid in namespace::processes(name) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline && names.iter().any(|name| !namespace::processes(name).is_empty()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    for name in names {
        let _ = Command::new("ip").args(["netns", "delete", name]).status();
    }
}

/// Mount points at or below a directory, the innermost first.
fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|path| path.starts_with(directory))
        .collect();
    found.reverse();
    found
}

/// Cleans up and ends the process when it is interrupted or told to end.
pub fn on_signal() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        use tokio::signal::unix::{SignalKind, signal};
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        let code = runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => 130, _ = terminate.recv() => 143 }
        });
        eprintln!("\ninterrupted: cleaning up");
        // twice: the main thread may have been making something between the two
        remove(std::process::id() as i32);
        remove(std::process::id() as i32);
        std::process::exit(code);
    });
    Ok(())
}

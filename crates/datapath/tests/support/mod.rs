//! A network namespace and a BPF file system of a test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Runs a test on a thread of its own, in a fresh network namespace and with a fresh BPF file system, both gone
/// with the thread.
pub fn alone(test: impl FnOnce(&Path) + Send + 'static) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = PathBuf::from(format!("/run/egret-test-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("these tests need root");
    let bpf = directory.clone();
    let result = std::thread::spawn(move || {
        let flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS;
        unshare(flags).expect("these tests need root");
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("bpf"), &bpf, Some("bpf"), MsFlags::empty(), none).unwrap();
        ip("link set lo up");
        test(&bpf);
    })
    .join();
    std::fs::remove_dir(&directory).unwrap();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` in the namespace of this thread.
pub fn ip(arguments: &str) {
    run("ip", arguments);
}

/// Runs a program in the namespace of this thread, and returns what it printed.
pub fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {text}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

//! A network namespace and a BPF file system of a test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]
#![allow(dead_code, reason = "each test file uses what it needs")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
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

/// Another network namespace, held by a sleeping process.
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    pub fn new() -> Self {
        let holder = Command::new("unshare").args(["--net", "sleep", "120"]).spawn().unwrap();
        let mine = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", holder.id());
        while std::fs::read_link(&theirs).is_ok_and(|ns| ns == mine) {
            std::thread::yield_now();
        }
        let namespace = Namespace { holder };
        namespace.ip("link set lo up");
        namespace
    }

    /// A pair from this thread's namespace into that one, both ends up.
    pub fn link(&self, here: &str, there: &str) {
        ip(&format!("link add {here} type veth peer name {there} netns {}", self.holder.id()));
        ip(&format!("link set {here} up"));
        self.ip(&format!("link set {there} up"));
    }

    /// A process that is in it, by which `ip` knows it.
    pub fn id(&self) -> u32 {
        self.holder.id()
    }

    /// Runs `ip` there.
    pub fn ip(&self, arguments: &str) {
        run("nsenter", &format!("--target {} --net ip {arguments}", self.holder.id()));
    }

    /// Goes there with the calling thread, and stays.
    pub fn enter(&self) {
        let file = std::fs::File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        nix::sched::setns(file, CloneFlags::CLONE_NEWNET).unwrap();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.holder.kill().unwrap();
        self.holder.wait().unwrap();
    }
}

/// A runtime on the calling thread alone, which is in the namespace of the test.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

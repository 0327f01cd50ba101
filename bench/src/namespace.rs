//! Network namespaces: made by name, entered by command, found again after a bench that was killed.

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where `ip netns` keeps them.
pub const NAMESPACES: &str = "/run/netns";
/// What all names of this bench begin with; the process id follows.
pub const PREFIX: &str = "egb-";

/// A network namespace of this bench.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Its name below `/run/netns`.
    pub name: String,
}

impl Namespace {
    /// Makes it, with loopback up.
    pub fn create(name: String) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", &name]), None)?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={NAMESPACES}/{}", self.name)).arg("--").arg(program);
        command
    }

    /// Runs lines of `ip` inside.
    pub fn ip(&self, lines: &str) -> Result<()> {
        run(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), Some(lines))
            .with_context(|| format!("in {}", self.name))
    }

    /// Runs a program inside with text on its standard input.
    pub fn feed(&self, program: &[&str], text: &str) -> Result<()> {
        run(self.command(program[0]).args(&program[1..]), Some(text))
            .with_context(|| format!("in {}", self.name))
    }

    /// Packets that its Ethernet devices have taken in.
    pub fn received(&self) -> Result<u64> {
        let path = Path::new(NAMESPACES).join(&self.name);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        // a thread of its own: it stays in the namespace
        let read = std::thread::spawn(move || -> Result<String> {
            setns(file, CloneFlags::CLONE_NEWNET)?;
            Ok(std::fs::read_to_string("/proc/thread-self/net/dev")?)
        });
        let table = read.join().map_err(|_| anyhow!("cannot read the counters of {}", self.name))??;
        let packets = |line: &str| {
            let (device, counters) = line.split_once(':')?;
            device.trim().starts_with("eth").then_some(())?;
            counters.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        Ok(table.lines().filter_map(packets).sum())
    }

    /// Runs a shell script inside, with the namespace's own `/sys`.
    pub fn shell(&self, script: &str) -> Result<()> {
        run(Command::new("ip").args(["netns", "exec", &self.name, "sh", "-eu"]), Some(script))
            .with_context(|| format!("in {}", self.name))
    }
}

/// Runs a command to its end; what it said is in the error.
pub fn run(command: &mut Command, input: Option<&str>) -> Result<()> {
    let mut child = command
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}; is it installed?"))?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        // a program that ends early says why on its standard error
        let _ = stdin.write_all(text.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}", said.trim());
    }
    Ok(())
}

/// Names of namespaces of this bench, each with the process id in it.
pub fn ours() -> Vec<(String, i32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(NAMESPACES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse().ok());
        if let Some(pid) = pid {
            found.push((name, pid));
        }
    }
    found.sort();
    found
}

/// Processes inside a namespace.
pub fn processes(name: &str) -> Vec<i32> {
    use std::os::unix::fs::MetadataExt;
    let Ok(namespace) = std::fs::metadata(Path::new(NAMESPACES).join(name)) else { return Vec::new() };
    let mut inside = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let theirs = std::fs::metadata(entry.path().join("ns/net"));
        if theirs.is_ok_and(|theirs| theirs.ino() == namespace.ino() && theirs.dev() == namespace.dev()) {
            inside.push(pid);
        }
    }
    inside
}

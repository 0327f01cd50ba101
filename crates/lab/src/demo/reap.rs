//! The reaper: it outlives a demo that is killed, and takes its lab away.

use std::io::{BufRead, Write, stdin};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::process;
use crate::state::Paths;

const DONE: &str = "done";

/// The demo's end of the pipe to its reaper.
pub struct Reaper {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Reaper {
    /// Starts a reaper, in a session of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(lab: &str) -> Result<Reaper> {
        let mut child = Command::new("setsid")
            .arg(std::env::current_exe()?)
            .args(["lab", "--name", lab, "reap"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("setsid: cannot be started; install util-linux")?;
        let pipe = child.stdin.take();
        Ok(Reaper { child, pipe })
    }

    /// Tells it which process does the work.
    ///
    /// # Errors
    /// When the reaper is gone.
    pub fn watch(&mut self, worker: i32) -> Result<()> {
        let started = process::started(worker).unwrap_or_default();
        let pipe = self.pipe.as_mut().context("no pipe to the reaper")?;
        writeln!(pipe, "{worker} {started}").context("the reaper is gone")
    }

    /// Sends it home: there is nothing to clean up.
    pub fn dismiss(mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // A reaper that is gone already is home.
            let _ = writeln!(pipe, "{DONE}");
        }
        let _ = self.child.wait();
    }
}

/// Reads from the demo until it says that it is done, or is dead: then its worker is killed and its lab removed.
///
/// # Errors
/// When the lab cannot be removed.
pub fn reap(paths: &Paths) -> Result<()> {
    let mut worker = None;
    for line in stdin().lock().lines() {
        let line = line?;
        if line == DONE {
            return Ok(());
        }
        let words = line.split_once(' ');
        worker =
            words.and_then(|(pid, started)| Some((pid.parse::<i32>().ok()?, started.parse::<u64>().ok()?)));
    }
    if let Some((pid, started)) = worker
        && process::started(pid) == Some(started)
    {
        killpg(Pid::from_raw(pid), Signal::SIGKILL)?;
    }
    crate::down::down(paths).map(drop)
}

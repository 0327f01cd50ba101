//! Load processes, started inside a namespace and heard to their end.

use crate::load::Measured;
use crate::namespace::Namespace;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running load process. It ends when this is dropped.
pub struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    what: String,
}

impl Running {
    /// Starts a load in a namespace and waits until it is ready.
    pub fn start(namespace: &Namespace, arguments: &[&str]) -> Result<Self> {
        let mut command = namespace.command(std::env::current_exe()?);
        command.arg("load").args(arguments);
        Self::spawn(command, format!("{} in {}", arguments.join(" "), namespace.name))
    }

    /// Starts a load at the least priority: it gets the time that nobody else of this bench wants. With `chrt --fifo 2
    /// egret-bench run` (for a machine that others use, too) everything here comes before everybody else.
    pub fn start_idle(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new("chrt");
        let priority = if real_time() { ["--fifo", "1"] } else { ["--idle", "0"] };
        command.args(priority).arg(std::env::current_exe()?).arg("load").args(arguments);
        Self::spawn(command, arguments.join(" "))
    }

    fn spawn(mut command: Command, what: String) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {what}"))?;
        let out = child.stdout.take().context("no standard output")?;
        let mut running = Self { child, out: BufReader::new(out), what };
        let line = running.line()?;
        if line.trim() != "ready" {
            bail!("{}: said {line:?} instead of being ready", running.what);
        }
        Ok(running)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.out.read_line(&mut line).with_context(|| self.what.clone())? == 0 {
            bail!("{} ended without a result", self.what);
        }
        Ok(line)
    }

    /// Waits for the result.
    pub fn result(mut self) -> Result<Measured> {
        let line = self.line()?;
        serde_json::from_str(&line).with_context(|| format!("{}: {line:?}", self.what))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn real_time() -> bool {
    const POLICY: usize = 38;
    let status = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = status.rsplit(") ").next().unwrap_or_default();
    after_name.split(' ').nth(POLICY) == Some("1")
}

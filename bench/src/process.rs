//! Load processes, started inside a namespace and heard to their end.

use crate::load::Measured;
use crate::namespace::Namespace;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

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
        let what = format!("{} in {}", arguments.join(" "), namespace.name);
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

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
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

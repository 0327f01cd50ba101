//! Processes that outlive the command that started them, known by pid and start time.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process of the lab.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// What it is: `controller`, `agent`, `sniffer`, `apiserver`, `controllers` (of Kubernetes), `proxy` or `pod`.
    pub role: String,
    /// The lab host whose network namespace it is in.
    pub host: String,
    /// Its process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot: with the pid it names one process.
    pub started: u64,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Process {
    /// Starts this program (the running executable) in a network namespace, in a session of its own.
    ///
    /// # Errors
    /// When it cannot be started or its log cannot be opened.
    pub fn spawn(role: &str, host: &str, netns: &str, arguments: &[String], log: &Path) -> Result<Process> {
        let program = std::env::current_exe().context("the path of this program")?;
        Self::spawn_program(role, host, netns, program.as_os_str(), arguments, log)
    }

    /// Starts a program in a network namespace, in a session of its own.
    ///
    /// # Errors
    /// When it cannot be started or its log cannot be opened.
    pub fn spawn_program(
        role: &str,
        host: &str,
        netns: &str,
        program: &OsStr,
        arguments: &[String],
        log: &Path,
    ) -> Result<Process> {
        let output = open(log)?;
        Self::start(role, host, netns, program, arguments, log, output.into()).map(|(process, _)| process)
    }

    /// As [`Process::spawn_program`], of a program that says on its standard output when it is ready.
    ///
    /// # Errors
    /// When it cannot be started or its log cannot be opened.
    pub fn spawn_announcing(
        role: &str,
        host: &str,
        netns: &str,
        program: &OsStr,
        arguments: &[String],
        log: &Path,
    ) -> Result<(Process, ChildStdout)> {
        let (process, output) = Self::start(role, host, netns, program, arguments, log, Stdio::piped())?;
        Ok((process, output.context("a pipe from the program")?))
    }

    fn start(
        role: &str,
        host: &str,
        netns: &str,
        program: &OsStr,
        arguments: &[String],
        log: &Path,
        output: Stdio,
    ) -> Result<(Process, Option<ChildStdout>)> {
        // The child is no leader of a process group, so setsid and nsenter both stay the same process.
        let mut child = Command::new("setsid")
            .arg("nsenter")
            .arg(format!("--net=/run/netns/{netns}"))
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(open(log)?)
            .spawn()
            .context("setsid: cannot be started; install util-linux")?;
        let pid = i32::try_from(child.id())?;
        let started =
            started(pid).with_context(|| format!("{role} on {host}: gone at once; see {}", log.display()))?;
        let (role, host, log) = (role.to_owned(), host.to_owned(), log.to_owned());
        Ok((Process { role, host, pid, started, log }, child.stdout.take()))
    }

    /// It runs (a process that only waits to be collected does not).
    pub fn is_alive(&self) -> bool {
        started(self.pid) == Some(self.started)
    }

    /// Sends a signal, if the process is still the one that was started.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// The last lines of the log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

fn open(log: &Path) -> Result<File> {
    File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())
}

/// Kills processes for good and waits until they are gone.
pub fn kill_all(processes: &[Process]) {
    processes.iter().for_each(|p| p.signal(Signal::SIGKILL));
    let deadline = Instant::now() + Duration::from_secs(5);
    while processes.iter().any(Process::is_alive) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// When a process started, in clock ticks since boot; `None` if there is none or it only waits to be collected.
pub fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in brackets and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_its_pid_and_start_time() {
        let pid = std::process::id() as i32;
        let own = started(pid).unwrap();
        let mut process =
            Process { role: "test".into(), host: "here".into(), pid, started: own, log: "/dev/null".into() };
        assert!(process.is_alive());
        process.started += 1;
        assert!(!process.is_alive());
        assert_eq!(started(i32::MAX), None);
    }
}

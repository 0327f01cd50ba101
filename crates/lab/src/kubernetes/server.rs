//! The API server's process.

use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{HOST, directory, program};
use crate::process::Process;
use crate::state::{Paths, State};

/// The port that it listens on, as everywhere.
pub(super) const PORT: &str = "6443";
/// How long it may take to be ready: two seconds, on a machine that is not busy.
const READY: Duration = Duration::from_secs(60);

/// Starts the API server, and waits until it is ready.
///
/// # Errors
/// When it ends, or is not ready in time; the error has the end of its log.
pub fn start(paths: &Paths, state: &mut State) -> Result<()> {
    let address = state.topology.control.first().context(
        "the topology has no control: the API server needs an address between the nodes; add control: [ADDRESS/LENGTH]",
    )?;
    let mut arguments: Vec<String> = [
        "apiserver",
        "--outlive",
        "--dir",
        &directory(paths).display().to_string(),
        "--address",
        &address.addr().to_string(),
        "--port",
        PORT,
        "--",
    ]
    .map(str::to_owned)
    .into();
    let more: &[&str] = match state.installed {
        // Kubelets may do what nodes may.
        true => &["--authorization-mode=Node", "--enable-admission-plugins=NodeRestriction"],
        // Pods of the lab are there before any controller could make service accounts for them.
        false => &["--disable-admission-plugins=ServiceAccount"],
    };
    arguments.extend(more.iter().map(|flag| (*flag).to_owned()));
    let log = paths.log("apiserver", HOST);
    let netns = state.host(HOST)?.netns.clone();
    let (process, output) =
        Process::spawn_announcing("apiserver", HOST, &netns, program()?.as_os_str(), &arguments, &log)?;
    state.processes.retain(|p| p.role != "apiserver");
    state.processes.push(process.clone());
    state.write(paths)?;
    let (announce, announced) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        // Nobody may listen any more: then it was too late.
        let _ = announce.send(read.is_ok_and(|length| length > 0));
    });
    match announced.recv_timeout(READY) {
        Ok(true) => Ok(()),
        Ok(false) => bail!("the API server ended:\n{}", process.log_tail(20)),
        Err(_) => bail!("the API server is not ready after {} s:\n{}", READY.as_secs(), process.log_tail(20)),
    }
}

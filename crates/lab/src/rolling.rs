//! A rolling update: every program ends as it is told to, and starts anew in place, one after the other.

use anyhow::{Result, bail};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

use crate::kubernetes::{self, ControlPlane};
use crate::process::Process;
use crate::state::{Paths, State};
use crate::{programs, wait};

/// As long as Kubernetes gives a pod to end.
const GRACE: Duration = Duration::from_secs(30);

/// Restarts the agents, each when the one before is ready, and then the controller.
///
/// # Errors
/// When a program does not end, or is not ready again.
pub fn roll(paths: &Paths, state: &mut State) -> Result<()> {
    if state.installed {
        return kubernetes::roll(&ControlPlane::of(paths, state)?);
    }
    let nodes: Vec<String> =
        state.topology.nodes.iter().map(|n| n.name.clone()).filter(|n| state.is_up(n)).collect();
    for node in nodes {
        end(state, "agent", &node)?;
        programs::start_agent(paths, state, &node)?;
        programs::wait_ready(paths, state, &[&node])?;
    }
    let host = programs::controller_node(state).to_owned();
    end(state, "controller", &host)?;
    programs::start_controller(paths, state)?;
    wait::until(paths, state, programs::READY, |_| {
        wait::check_alive(state, |p| p.role == "controller")?;
        let ready = programs::answers_ready(paths, state, "controller", &host);
        Ok(if ready { Vec::new() } else { vec!["the controller to decide".to_owned()] })
    })
}

/// Asks a program to end, and waits until it has.
fn end(state: &State, role: &str, host: &str) -> Result<()> {
    let is_it = |p: &&Process| p.role == role && p.host == host;
    let Some(process) = state.processes.iter().find(is_it) else {
        bail!("{host}: no {role} runs there; the lab was made with --no-agents");
    };
    process.signal(Signal::SIGTERM);
    let deadline = Instant::now() + GRACE;
    while process.is_alive() {
        if Instant::now() > deadline {
            bail!(
                "the {role} of {host} does not end within {} s of SIGTERM:\n{}",
                GRACE.as_secs(),
                process.log_tail(20)
            );
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

//! Waiting for the store to say something, with a deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use egret_api::Object;

use crate::process::Process;
use crate::reader::{self, Reader, View};
use crate::state::{Paths, State};

/// How long to wait for the store before looking at other things (processes) again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Waits until `waiting_for` returns nothing. It is asked at each change of the store.
///
/// # Errors
/// What is still waited for at the deadline, and what `waiting_for` fails with.
pub fn until(
    paths: &Paths,
    state: &State,
    patience: Duration,
    mut waiting_for: impl FnMut(&View) -> Result<Vec<String>> + Send,
) -> Result<()> {
    reader::block_on(state, async {
        let mut store = Reader::open(paths, state).await?;
        let deadline = Instant::now() + patience;
        loop {
            let waiting = waiting_for(&store.view().await)?;
            if waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("after {} s still waiting for {}", patience.as_secs(), waiting.join("; "));
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, store.changed()).await;
        }
    })
}

/// Waits until controller and every living agent have put in force what the store says now.
///
/// # Errors
/// Who has not by the deadline, and what it waits for.
pub fn in_force(paths: &Paths, state: &State, patience: Duration) -> Result<()> {
    if !state.programs {
        return Ok(());
    }
    until(paths, state, patience, |view| {
        check_alive(state, |_| true)?;
        Ok(not_in_force(state, view))
    })
}

fn not_in_force(state: &State, view: &View) -> Vec<String> {
    let View { snapshot, progress, .. } = view;
    let decided = progress.as_ref().is_some_and(|p| p.observed_objects == snapshot.objects_digest);
    let recorded = progress.as_ref().is_some_and(|p| p.addresses == snapshot.addresses_digest);
    let mut waiting = Vec::new();
    let decides = |p: &Process| p.role == "controller" && p.is_alive();
    if (state.installed || state.processes.iter().any(decides)) && !(decided && recorded) {
        waiting.push("the controller to decide".to_owned());
    }
    for node in state.topology.nodes.iter().map(|n| n.name.as_str()).filter(|n| state.is_up(n)) {
        let own = |o: &Arc<Object>| match &**o {
            Object::EgressNode(n) if n.metadata.name.as_deref() == Some(node) => Some(n.spec.clone()),
            _ => None,
        };
        match snapshot.objects.iter().find_map(own) {
            None => waiting.push(format!("{node} to report")),
            Some(spec) if spec.observed_objects != view.digest_at(node) => {
                waiting.push(format!("{node} to see the manifests"));
            }
            Some(spec) if spec.observed_addresses != snapshot.addresses_digest => {
                waiting.push(format!("{node} to see the addresses"));
            }
            Some(spec) => waiting.extend(spec.waiting.iter().map(|w| format!("{node}: {w}"))),
        }
    }
    waiting
}

/// Fails when a program of a node that has power is gone.
///
/// # Errors
/// Which, with the end of its log.
pub fn check_alive(state: &State, concerns: impl Fn(&Process) -> bool) -> Result<()> {
    let powered = |p: &Process| !state.faults.get(&p.host).is_some_and(|f| f.power_off);
    let expected = |p: &&Process| p.role != "pod" && powered(p) && concerns(p);
    match state.processes.iter().filter(expected).find(|p| !p.is_alive()) {
        Some(gone) => bail!("the {} of {} has ended:\n{}", gone.role, gone.host, gone.log_tail(20)),
        None => Ok(()),
    }
}

//! Making a lab.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};

use crate::down::{remove, remove_namespaces};
use crate::kubernetes::{self, ControlPlane};
use crate::objects::Objects;
use crate::state::{Paths, State, StoreKind};
use crate::topology::Topology;
use crate::{network, programs};

/// What to start besides the networks.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Controller and agents.
    pub programs: bool,
    /// The sniffer.
    pub sniffer: bool,
    /// Where the lab's objects are.
    pub store: StoreKind,
    /// Controllers and agents are pods of an installation, which kubelets run.
    pub installed: bool,
}

/// Makes a lab and returns when every agent is ready. What a lab of that name left behind is removed first.
///
/// # Errors
/// When something cannot be made or does not become ready; what is there by then is for `down` to remove.
pub fn up(paths: &Paths, topology: Topology, parts: Parts, say: &dyn Fn(&str)) -> Result<State> {
    ensure!(nix::unistd::geteuid().is_root(), "the lab makes network namespaces: run it as root");
    let lock = paths.lock()?;
    remove(paths)?;
    ensure!(
        parts.store == StoreKind::Kubernetes || !topology.has_proxies(),
        "proxy: a kube-proxy asks an API server; add --store kubernetes"
    );
    ensure!(
        parts.store == StoreKind::Kubernetes || !parts.installed,
        "--installed: Egret is installed in a cluster; add --store kubernetes"
    );
    let mut state = State {
        name: paths.name.clone(),
        topology,
        store: parts.store,
        programs: parts.programs,
        installed: parts.installed,
        hosts: BTreeMap::new(),
        processes: Vec::new(),
        faults: BTreeMap::new(),
        next_pod: 1,
    };
    state.hosts = network::hosts(&state).into_iter().collect();
    for directory in [paths.store(), paths.bpf(), paths.root().join("log"), paths.root().join("run")] {
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    }
    state.write(paths)?;
    remove_namespaces(&state.namespaces())?;
    mount(Some("bpf"), &paths.bpf(), Some("bpf"), MsFlags::empty(), Some("mode=0700"))
        .with_context(|| format!("mount a bpffs at {}", paths.bpf().display()))?;
    say("networks");
    network::build(&state)?;
    if parts.store == StoreKind::Kubernetes {
        say("API server");
        kubernetes::start(paths, &mut state)?;
    }
    Objects::of(paths, &state)?.write_nodes(&state)?;
    if parts.installed {
        say("controllers, scheduler and kubelets");
        kubernetes::begin(paths, &mut state)?;
    } else if parts.store == StoreKind::Kubernetes {
        kubernetes::install(&ControlPlane::of(paths, &state)?, &state)?;
    }
    if parts.sniffer {
        programs::start_sniffer(paths, &mut state)?;
    }
    if parts.installed {
        say("pods of Egret");
        // Kubelets wire pods.
        drop(lock);
        kubernetes::wait_rolled_out(&ControlPlane::of(paths, &state)?)?;
        state = State::read(paths)?;
        programs::wait_all_ready(paths, &state)?;
    } else if parts.programs {
        say("controller and agents");
        programs::start_controller(paths, &mut state)?;
        let nodes: Vec<String> = state.topology.nodes.iter().map(|n| n.name.clone()).collect();
        for node in nodes {
            programs::start_agent(paths, &mut state, &node)?;
        }
        programs::wait_all_ready(paths, &state)?;
    }
    if !parts.installed {
        kubernetes::start_proxies(paths, &mut state)?;
    }
    if parts.sniffer && crate::sniff::report(paths, Duration::from_secs(5)).is_err() {
        let log = state.processes.iter().find(|p| p.role == "sniffer").map(|p| p.log_tail(20));
        bail!("the sniffer does not answer:\n{}", log.unwrap_or_default());
    }
    Ok(state)
}

//! Breaking nodes, and mending them.

use std::fs;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::state::{Paths, State, StoreKind};
use crate::{down, kubelet, kubernetes, programs, tool};

/// What to break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No power: links dead, agent and pods' processes killed, nobody says goodbye.
    PowerOff,
    /// One link is cut, at the switch.
    Cut(String),
    /// The agent stops running and stays there; the kernel goes on.
    Hang,
    /// Mend everything; a node without power boots.
    Heal,
}

/// Applies a fault to a node, or to the host of the API server.
///
/// # Errors
/// When node or link is unknown, or something cannot be done.
pub fn apply(paths: &Paths, state: &mut State, node: &str, fault: &Fault) -> Result<()> {
    if node != kubernetes::HOST || state.store != StoreKind::Kubernetes {
        state.topology.node(node)?;
    }
    match fault {
        Fault::PowerOff => power_off(state, node)?,
        Fault::Cut(link) => cut(state, node, link)?,
        Fault::Hang => signal_agent(paths, state, node, Signal::SIGSTOP)?,
        Fault::Heal => return heal(paths, state, node),
    }
    let faults = state.faults.entry(node.to_owned()).or_default();
    match fault {
        Fault::PowerOff => faults.power_off = true,
        Fault::Cut(link) => drop(faults.cut.insert(link.clone())),
        Fault::Hang => faults.hang = true,
        Fault::Heal => {}
    }
    state.write(paths)
}

fn power_off(state: &State, node: &str) -> Result<()> {
    // The links first: a process that is killed says goodbye by its kernel.
    set_ports(state, node, None, "down")?;
    for process in state.processes.iter().filter(|p| p.host == node) {
        process.signal(Signal::SIGKILL);
    }
    down::kill_inside(state.namespaces_of_node(node));
    Ok(())
}

fn cut(state: &State, node: &str, link: &str) -> Result<()> {
    set_ports(state, node, Some(link), "down")
}

fn signal_agent(paths: &Paths, state: &State, node: &str, signal: Signal) -> Result<()> {
    let containers = kubelet::containers(paths, node);
    let mut running = state.processes.iter().chain(&containers);
    match running.find(|p| p.role == "agent" && p.host == node && p.is_alive()) {
        Some(agent) => agent.signal(signal),
        None => bail!("node {node}: no agent runs there; `egret lab fault {node} heal` starts one"),
    }
    Ok(())
}

fn heal(paths: &Paths, state: &mut State, node: &str) -> Result<()> {
    let faults = state.faults.remove(node).unwrap_or_default();
    if faults.power_off {
        forget_kernel_state(paths, state, node)?;
    }
    set_ports(state, node, None, "up")?;
    if faults.hang && !faults.power_off {
        signal_agent(paths, state, node, Signal::SIGCONT)?;
    }
    state.write(paths)?;
    if node == kubernetes::HOST {
        if !runs(state, "apiserver", node) {
            kubernetes::start(paths, state)?;
        }
        if (state.installed || state.topology.has_proxies()) && !runs(state, "controllers", node) {
            kubernetes::start_controllers(paths, state)?;
        }
        if state.installed && !runs(state, "scheduler", node) {
            kubernetes::start_scheduler(paths, state)?;
        }
        return Ok(());
    }
    if state.installed {
        // A proxy waits for its node's object.
        kubernetes::register(paths, state, node)?;
    }
    if !runs(state, "proxy", node) {
        kubernetes::start_proxy(paths, state, node)?;
        kubernetes::wait_proxy(state, node)?;
    }
    if state.installed {
        if !runs(state, "kubelet", node) {
            kubernetes::start_kubelet(paths, state, node)?;
        }
        return programs::wait_ready(paths, state, &[node]);
    }
    let lost = |role: &str| state.programs && !runs(state, role, node);
    let (agent, controller) = (lost("agent"), node == programs::controller_node(state) && lost("controller"));
    if controller {
        programs::start_controller(paths, state)?;
    }
    if agent {
        programs::start_agent(paths, state, node)?;
        programs::wait_ready(paths, state, &[node])?;
    }
    Ok(())
}

/// A process of the lab runs.
fn runs(state: &State, role: &str, host: &str) -> bool {
    state.processes.iter().any(|p| p.role == role && p.host == host && p.is_alive())
}

/// What a machine forgets when it boots: pinned programs and maps, our device and table, connections.
fn forget_kernel_state(paths: &Paths, state: &State, node: &str) -> Result<()> {
    let netns = state.host(node)?.netns.clone();
    let pins = paths.bpf().join(node);
    if pins.exists() {
        fs::remove_dir_all(&pins).with_context(|| pins.display().to_string())?;
    }
    let links = tool::run(&["ip", "-j", "-n", &netns, "link", "show"])?;
    let links: Vec<serde_json::Value> = serde_json::from_str(&links).context("ip -j link")?;
    for link in links.iter().filter_map(|l| l["ifname"].as_str()) {
        // Most links have none: only those with programs of the older kind do.
        let _ = tool::run_in(&netns, &["tc", "qdisc", "del", "dev", link, "clsact"], "");
    }
    // Not there if the node never became ready.
    let _ = tool::run(&["ip", "-n", &netns, "link", "del", "egret0"]);
    let _ = tool::run_in(&netns, &["nft", "delete", "table", "inet", "egret"], "");
    let _ = tool::run_in(&netns, &["conntrack", "-F"], "");
    let _ = tool::run(&["ip", "-n", &netns, "neigh", "flush", "all"]);
    Ok(())
}

fn set_ports(state: &State, node: &str, link: Option<&str>, to: &str) -> Result<()> {
    let host = state.host(node)?;
    if let Some(link) = link.filter(|l| !host.ports.contains_key(*l)) {
        let links: Vec<&str> = host.ports.keys().map(String::as_str).collect();
        bail!("node {node}: no link {link:?}; it has {}", links.join(", "));
    }
    let ports = host.ports.iter().filter(|(l, _)| link.is_none_or(|wanted| wanted == l.as_str()));
    tool::ip_batch_in(
        &state.switch(),
        &ports.map(|(_, port)| format!("link set {port} {to}")).collect::<Vec<_>>(),
    )
}

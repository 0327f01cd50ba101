//! Egret's own programs in the lab: one controller, one agent per node.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use egret_api::Object;

use crate::process::{self, Process};
use crate::state::{Paths, State, StoreKind};
use crate::{kubernetes, netns, wait};

/// How long everybody may take to become ready.
pub const READY: Duration = Duration::from_secs(30);
/// Where the chart's agents answer, on their node.
const AGENT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9917);
/// Lines of a log that are shown when something fails.
const TAIL: usize = 12;

/// The node that the controller runs on: the first that is no gateway, if there is one.
pub fn controller_node(state: &State) -> &str {
    let nodes = &state.topology.nodes;
    nodes.iter().find(|n| !n.is_gateway()).or(nodes.first()).map_or("", |n| &n.name)
}

/// Starts the controller.
///
/// # Errors
/// When it cannot be started.
pub fn start_controller(paths: &Paths, state: &mut State) -> Result<()> {
    let host = controller_node(state).to_owned();
    let socket = paths.socket("controller", &host);
    let _ = fs::remove_file(&socket);
    let mut arguments = vec!["controller".to_owned()];
    arguments.extend(store(paths, state, None));
    arguments.extend(["--status-address".to_owned(), format!("unix:{}", socket.display())]);
    arguments.extend(state.topology.controller.iter().cloned());
    if state.store == StoreKind::Kubernetes {
        arguments.push("--remove-startup-taint".to_owned());
    }
    start(paths, state, "controller", &host, &arguments)
}

/// Ends the controller and starts it with these arguments in place of those that it had.
///
/// # Errors
/// When it cannot be started.
pub fn restart_controller(paths: &Paths, state: &mut State, arguments: Vec<String>) -> Result<()> {
    ensure!(
        !state.installed,
        "lab {0}: its controllers are pods; `egret lab --name {0} kubectl -n egret-system edit deployment egret-controller`",
        state.name
    );
    let own: Vec<_> = state.processes.iter().filter(|p| p.role == "controller").cloned().collect();
    process::kill_all(&own);
    state.topology.controller = arguments;
    start_controller(paths, state)?;
    let host = controller_node(state).to_owned();
    let decided = wait::until(paths, state, READY, |_| {
        wait::check_alive(state, |p| p.role == "controller")?;
        let ready = answers_ready(paths, state, "controller", &host);
        Ok(if ready { Vec::new() } else { vec!["the controller to decide".to_owned()] })
    });
    decided.map_err(|error| error.context(logs(state)))
}

/// Starts a node's agent.
///
/// # Errors
/// When it cannot be started.
pub fn start_agent(paths: &Paths, state: &mut State, node: &str) -> Result<()> {
    let socket = paths.socket("agent", node);
    let _ = fs::remove_file(&socket);
    let mut arguments = vec!["agent".to_owned()];
    arguments.extend(store(paths, state, Some(node)));
    if state.store == StoreKind::Kubernetes {
        arguments.extend(["--copy".to_owned(), paths.copy(node).display().to_string()]);
    }
    arguments.extend([
        "--node".to_owned(),
        node.to_owned(),
        "--pin-dir".to_owned(),
        paths.bpf().join(node).display().to_string(),
        "--listen".to_owned(),
        format!("unix:{}", socket.display()),
        "--flow-log".to_owned(),
        paths.flow_log(node).display().to_string(),
    ]);
    arguments.extend(state.topology.node(node)?.agent.iter().cloned());
    if state.store == StoreKind::Directory {
        return start(paths, state, "agent", node, &arguments);
    }
    // As the chart's pods run: with these privileges, and no way to others.
    let capabilities = kubernetes::agent_capabilities()?.join(",+").to_lowercase();
    let mut command = vec!["--no-new-privs".to_owned(), format!("--bounding-set=-all,+{capabilities}")];
    command.push(std::env::current_exe().context("the path of this program")?.display().to_string());
    command.extend(arguments);
    let (netns, log) = (state.host(node)?.netns.clone(), paths.log("agent", node));
    let process = Process::spawn_program("agent", node, &netns, "setpriv".as_ref(), &command, &log)?;
    keep(paths, state, process)
}

/// Where a node's agent, or the controller, finds the store.
fn store(paths: &Paths, state: &State, agent_of: Option<&str>) -> Vec<String> {
    match state.store {
        StoreKind::Directory => vec!["--store".to_owned(), paths.store().display().to_string()],
        StoreKind::Kubernetes => {
            let kubeconfig = kubernetes::kubeconfig(paths, agent_of).display().to_string();
            let mut words = vec!["--store".to_owned(), "kubernetes".to_owned()];
            words.extend(["--kubeconfig".to_owned(), kubeconfig]);
            if state.topology.has_proxies() {
                words.extend(["--inside".to_owned(), kubernetes::SERVICES.to_owned()]);
            }
            words
        }
    }
}

/// Starts the sniffer.
///
/// # Errors
/// When it cannot be started.
pub fn start_sniffer(paths: &Paths, state: &mut State) -> Result<()> {
    let arguments = ["lab".to_owned(), "--name".to_owned(), state.name.clone(), "sniff".to_owned()];
    let log = paths.log("sniffer", "switch");
    let process = Process::spawn("sniffer", "switch", &state.switch(), &arguments, &log)?;
    state.processes.push(process);
    state.write(paths)
}

fn start(paths: &Paths, state: &mut State, role: &str, host: &str, arguments: &[String]) -> Result<()> {
    let netns = state.host(host)?.netns.clone();
    let process = Process::spawn(role, host, &netns, arguments, &paths.log(role, host))?;
    keep(paths, state, process)
}

/// Remembers a process, in place of the one that did the same.
pub(crate) fn keep(paths: &Paths, state: &mut State, process: Process) -> Result<()> {
    state.processes.retain(|p| !(p.role == process.role && p.host == process.host));
    state.processes.push(process);
    state.write(paths)
}

/// Waits until every agent of a node that is up says that it is ready.
///
/// # Errors
/// When one is not by the deadline or ends before; the error has the end of its log.
pub fn wait_all_ready(paths: &Paths, state: &State) -> Result<()> {
    let nodes: Vec<&str> =
        state.topology.nodes.iter().map(|n| n.name.as_str()).filter(|n| state.is_up(n)).collect();
    wait_ready(paths, state, &nodes)
}

/// Waits until the agents of these nodes say that they are ready.
///
/// # Errors
/// When one is not by the deadline or ends before; the error has the end of its log.
pub fn wait_ready(paths: &Paths, state: &State, nodes: &[&str]) -> Result<()> {
    let outcome = wait::until(paths, state, READY, |view| {
        wait::check_alive(state, |p| nodes.contains(&p.host.as_str()))?;
        let recorded = |node: &str| {
            let record = |o: &Arc<Object>| matches!(&**o, Object::EgressNode(n) if n.spec.ready && n.metadata.name.as_deref() == Some(node));
            view.snapshot.objects.iter().any(record)
        };
        // The record of a node that has rebooted is from before: its agent must say so itself.
        let ready = |node: &&str| recorded(node) && answers_ready(paths, state, "agent", node);
        Ok(nodes.iter().filter(|n| !ready(n)).map(|n| format!("the agent of {n}")).collect())
    });
    outcome.map_err(|error| error.context(logs(state)))
}

/// The end of every log that has something to say.
pub fn logs(state: &State) -> String {
    let mut text = "not every program of the lab became ready; the ends of their logs:".to_owned();
    for process in state.processes.iter().filter(|p| p.role != "sniffer") {
        let tail = process.log_tail(TAIL);
        if !tail.is_empty() {
            text += &format!("\n== {} of {} ({})\n{tail}", process.role, process.host, process.log.display());
        }
    }
    text
}

/// The program of this host says that it is ready: at its socket, or in an installed lab, the agent where the chart has it.
pub fn answers_ready(paths: &Paths, state: &State, role: &str, host: &str) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    fn ask(mut stream: impl Read + Write) -> std::io::Result<String> {
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
    let by_socket = || {
        let stream = UnixStream::connect(paths.socket(role, host))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        ask(stream)
    };
    let by_port = || {
        let stream = TcpStream::connect_timeout(&AGENT.into(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        ask(stream)
    };
    let answer = match (state.installed, state.host(host)) {
        (true, Ok(host)) => netns::run_in(&host.netns, || Ok(by_port()?)),
        _ => by_socket().map_err(Into::into),
    };
    answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

//! kube-proxy on the nodes, and the controller that tells it which pods are behind a Service.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ipnet::IpNet;

use super::{HOST, directory, program};
use crate::netns;
use crate::process::Process;
use crate::state::{Paths, State};

/// The network of Services, which is the API server's to say.
pub const SERVICES: &str = "10.96.0.0/16";
/// Where a proxy tells on its node whether it has written its rules.
const HEALTH: &str = "127.0.0.1:10256";
/// What an installed lab needs besides.
const WORKLOADS: &str = ",namespace-controller,serviceaccount-controller,root-ca-certificate-publisher-controller,\
                         garbage-collector-controller,deployment-controller,replicaset-controller,daemonset-controller,\
                         disruption-controller";
/// How long a proxy may take to write its rules.
const READY: Duration = Duration::from_secs(30);

/// Starts the proxy of each node that has one, and what they need beside the API server; returns when their rules are written.
///
/// # Errors
/// When one cannot be started, or ends.
pub fn start_proxies(paths: &Paths, state: &mut State) -> Result<()> {
    if !state.topology.has_proxies() {
        return Ok(());
    }
    if !state.installed {
        start_controllers(paths, state)?;
    }
    let nodes: Vec<String> = state.topology.nodes.iter().map(|node| node.name.clone()).collect();
    for node in &nodes {
        start_proxy(paths, state, node)?;
    }
    nodes.iter().try_for_each(|node| wait_proxy(state, node))
}

/// Starts the proxy of a node, if the node has one.
///
/// # Errors
/// When it cannot be started.
pub fn start_proxy(paths: &Paths, state: &mut State, node: &str) -> Result<()> {
    let Some(mode) = state.topology.node(node)?.proxy.mode() else { return Ok(()) };
    let pods: Vec<String> = state.topology.pod_networks.iter().map(IpNet::to_string).collect();
    let arguments = [
        "proxy".to_owned(),
        format!("--kubeconfig={}", directory(paths).join("proxy.kubeconfig").display()),
        format!("--hostname-override={node}"),
        format!("--proxy-mode={mode}"),
        format!("--cluster-cidr={}", pods.join(",")),
        // The machine's own, which no network namespace may change.
        "--conntrack-max-per-core=0".to_owned(),
    ];
    spawn(paths, state, "proxy", node, &arguments)
}

/// Waits until the proxy of a node has written its rules, if the node has one.
///
/// # Errors
/// When it ends before, or takes too long; the error has the end of its log.
pub fn wait_proxy(state: &State, node: &str) -> Result<()> {
    let Some(proxy) = state.processes.iter().find(|p| p.role == "proxy" && p.host == node) else {
        return Ok(());
    };
    let deadline = Instant::now() + READY;
    while !is_healthy(state, node)? {
        if !proxy.is_alive() {
            bail!("the kube-proxy of {node} has ended:\n{}", proxy.log_tail(20));
        }
        if Instant::now() > deadline {
            bail!(
                "the kube-proxy of {node} has no rules after {} s:\n{}",
                READY.as_secs(),
                proxy.log_tail(20)
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn is_healthy(state: &State, node: &str) -> Result<bool> {
    let address: SocketAddr = HEALTH.parse()?;
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = netns::run_in(&state.host(node)?.netns, || Ok(ask().unwrap_or_default()))?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

/// Starts Kubernetes' own controllers: the one that writes EndpointSlices, and in an installed lab those that make pods of
/// workloads and clean up after them.
///
/// # Errors
/// When it cannot be started.
pub fn start_controllers(paths: &Paths, state: &mut State) -> Result<()> {
    let directory = directory(paths);
    let own = directory.join("controllers");
    fs::create_dir_all(&own).with_context(|| own.display().to_string())?;
    let mut arguments = vec!["controller-manager".to_owned()];
    for flag in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
        arguments.push(format!("--{flag}={}", directory.join("controller-manager.kubeconfig").display()));
    }
    arguments.extend([
        "--use-service-account-credentials".to_owned(),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        format!("--service-account-private-key-file={}", directory.join("sa.key").display()),
        format!("--root-ca-file={}", directory.join("ca.crt").display()),
        format!("--cert-dir={}", own.display()),
        format!("--flex-volume-plugin-dir={}", own.display()),
        format!("--controllers=endpointslice-controller{}", if state.installed { WORKLOADS } else { "" }),
    ]);
    spawn(paths, state, "controllers", HOST, &arguments)
}

pub(super) fn spawn(
    paths: &Paths,
    state: &mut State,
    role: &str,
    host: &str,
    arguments: &[String],
) -> Result<()> {
    let (netns, log) = (state.host(host)?.netns.clone(), paths.log(role, host));
    let process = Process::spawn_program(role, host, &netns, program()?.as_os_str(), arguments, &log)?;
    state.processes.retain(|p| !(p.role == role && p.host == host));
    state.processes.push(process);
    state.write(paths)
}

//! A cluster in which Egret is installed as people install it: its workloads become pods by Kubernetes' own controllers and
//! scheduler, and the lab's kubelets run them.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::identity::{self, NAMESPACE};
use super::proxy::spawn;
use super::{ControlPlane, HOST, SERVICES, directory, install, start_controllers, start_proxies};
use crate::objects::Objects;
use crate::process::Process;
use crate::programs;
use crate::state::{Paths, State};

/// Egret's workloads, as kubectl calls them.
const WORKLOADS: [&str; 2] = ["daemonset/egret-agent", "deployment/egret-controller"];
/// By when a workload is as it should be.
const PATIENCE: &str = "--timeout=120s";

/// Starts what makes a cluster of an API server: controllers, scheduler, proxies and kubelets; then installs Egret. Returns
/// before its pods run: what makes them wants the lab's lock.
///
/// # Errors
/// When something cannot be started, or the API server refuses it.
pub fn begin(paths: &Paths, state: &mut State) -> Result<()> {
    start_controllers(paths, state)?;
    start_scheduler(paths, state)?;
    let control = ControlPlane::of(paths, state)?;
    identity::make_own(&control)?;
    start_proxies(paths, state)?;
    let nodes: Vec<String> = state.topology.nodes.iter().map(|node| node.name.clone()).collect();
    nodes.iter().try_for_each(|node| start_kubelet(paths, state, node))?;
    install::apply_definitions(&control)?;
    control.apply(&workloads(state)?).map(drop)
}

/// Starts a node's kubelet.
///
/// # Errors
/// When it cannot be started.
pub fn start_kubelet(paths: &Paths, state: &mut State, node: &str) -> Result<()> {
    let arguments = ["lab", "--name", &state.name, "kubelet", node].map(str::to_owned);
    let (netns, log) = (state.host(node)?.netns.clone(), paths.log("kubelet", node));
    let process = Process::spawn("kubelet", node, &netns, &arguments, &log)?;
    programs::keep(paths, state, process)
}

/// A node that the cluster does not know registers, as kubelet does it.
///
/// # Errors
/// When the API server refuses it.
pub fn register(paths: &Paths, state: &State, node: &str) -> Result<()> {
    let control = ControlPlane::of(paths, state)?;
    if !control.kubectl(&["get", "node", node, "--ignore-not-found", "-o", "name"], "")?.trim().is_empty() {
        return Ok(());
    }
    Objects::of(paths, state)?.write_node(state, node)
}

/// Starts the scheduler.
///
/// # Errors
/// When it cannot be started.
pub fn start_scheduler(paths: &Paths, state: &mut State) -> Result<()> {
    let kubeconfig = directory(paths).join("scheduler.kubeconfig").display().to_string();
    let mut arguments = vec!["scheduler".to_owned()];
    for flag in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
        arguments.push(format!("--{flag}={kubeconfig}"));
    }
    arguments.extend(["--leader-elect=false".to_owned(), "--secure-port=0".to_owned()]);
    spawn(paths, state, "scheduler", HOST, &arguments)
}

/// Where pods of a node find the API server: by its Service, or itself where no kube-proxy serves that.
///
/// # Errors
/// When there is no such node, or the API server has no address.
pub fn server_of_pods(state: &State, node: &str) -> Result<(String, String)> {
    if state.topology.node(node)?.proxy.mode().is_some() {
        return Ok(("10.96.0.1".to_owned(), "443".to_owned()));
    }
    let address = state.topology.control.first().context("control: none")?;
    Ok((address.addr().to_string(), super::server::PORT.to_owned()))
}

/// The one file's objects, with what the topology says besides.
fn workloads(state: &State) -> Result<Vec<Value>> {
    let mut agents = state.topology.nodes.iter().map(|node| &node.agent);
    let agent = agents.next().cloned().unwrap_or_default();
    ensure!(
        agents.all(|other| *other == agent),
        "agent: nodes have different arguments; --installed runs one DaemonSet, which has the same for all"
    );
    let mut objects = install::installation()?;
    for object in &mut objects {
        let more = match object["kind"].as_str() {
            Some("DaemonSet") => &agent,
            Some("Deployment") => &state.topology.controller,
            _ => continue,
        };
        let arguments = object.pointer_mut("/spec/template/spec/containers/0/args");
        let arguments = arguments.and_then(Value::as_array_mut).context("deploy/egret.yaml: args: none")?;
        if state.topology.has_proxies() {
            arguments.push(json!(format!("--inside={SERVICES}")));
        }
        arguments.extend(more.iter().map(|argument| json!(argument)));
    }
    Ok(objects)
}

/// Waits until all pods of Egret's workloads are of their present template, and ready.
///
/// # Errors
/// When they are not in time; the error has what the pods wait for.
pub fn wait_rolled_out(control: &ControlPlane) -> Result<()> {
    for workload in WORKLOADS {
        let status = ["rollout", "status", workload, "--namespace", NAMESPACE, PATIENCE];
        control.kubectl(&status, "").map_err(|error| {
            let pods = control.kubectl(&["describe", "pods", "--namespace", NAMESPACE], "");
            error.context(pods.unwrap_or_default())
        })?;
    }
    Ok(())
}

/// Replaces all pods of Egret's workloads, as their own strategies say; returns when that is done.
///
/// # Errors
/// When it is not done in time.
pub fn roll(control: &ControlPlane) -> Result<()> {
    control.kubectl(&[&["rollout", "restart", "--namespace", NAMESPACE], &WORKLOADS[..]].concat(), "")?;
    wait_rolled_out(control)
}

//! What an installation brings into a cluster, as it is installed everywhere: the one file that is made of the chart.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::ControlPlane;
use super::identity::{self, NAMESPACE, agent_pod};
use crate::state::State;

/// The installation in one file.
pub const INSTALLATION: &str = include_str!("../../../../deploy/egret.yaml");

/// Installs Egret. The nodes are there already.
///
/// # Errors
/// What the API server refuses.
pub fn install(control: &ControlPlane, state: &State) -> Result<()> {
    control.kubectl(&["apply", "--server-side", "-f", "-"], INSTALLATION)?;
    apply_definitions(control)?;
    let agents = agents()?;
    let pods: Vec<Value> = state.topology.nodes.iter().map(|node| agent(&agents, &node.name)).collect();
    control.apply(&pods)?;
    identity::make(control, state)
}

/// Defines all kinds. The one file leaves other systems' to them; none of these systems is here.
pub(super) fn apply_definitions(control: &ControlPlane) -> Result<()> {
    let crds = egret_api::crds().iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    control.apply(&crds)?;
    control.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"], "").map(drop)
}

/// Everything that is installed.
///
/// # Errors
/// When the file cannot be read.
pub fn installation() -> Result<Vec<Value>> {
    let objects = egret_store::objects_in(INSTALLATION).into_iter();
    objects.map(|object| object.map_err(anyhow::Error::msg)).collect()
}

/// The DaemonSet of the agents.
fn agents() -> Result<Value> {
    let set = installation()?.into_iter().find(|object| object["kind"] == "DaemonSet");
    set.context("deploy/egret.yaml has no DaemonSet")
}

/// The privileges that an agent has, by the names that capabilities(7) has without `CAP_`.
///
/// # Errors
/// When the file cannot be read.
pub fn agent_capabilities() -> Result<Vec<String>> {
    let agents = agents()?;
    let added = agents.pointer("/spec/template/spec/containers/0/securityContext/capabilities/add").cloned();
    serde_json::from_value(added.unwrap_or_default()).context("deploy/egret.yaml: the agents' capabilities")
}

/// The pod that the DaemonSet would make for a node, to which the token of its agent is bound.
fn agent(agents: &Value, node: &str) -> Value {
    let template = &agents["spec"]["template"];
    let mut spec = template["spec"].clone();
    spec["nodeName"] = node.into();
    let labels = &template["metadata"]["labels"];
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": agent_pod(node), "namespace": NAMESPACE, "labels": labels},
        "spec": spec,
    })
}

//! What an installation brings into a cluster: definitions of the resources, accounts and their permissions, and the
//! agents' pods.

use anyhow::Result;
use serde_json::{Value, json};

use super::ControlPlane;
use super::identity::{self, NAMESPACE, agent_pod};
use crate::state::State;

/// Accounts and permissions, as they are installed everywhere.
const RBAC: &str = include_str!("../../../../deploy/rbac.yaml");

/// Installs Egret. The nodes are there already.
///
/// # Errors
/// What the API server refuses.
pub fn install(control: &ControlPlane, state: &State) -> Result<()> {
    let crds = egret_api::crds().iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    control.apply(&crds)?;
    control.kubectl(&["apply", "--server-side", "-f", "-"], RBAC)?;
    let pods: Vec<Value> = state.topology.nodes.iter().map(|node| agent(&node.name)).collect();
    control.apply(&pods)?;
    control.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"], "")?;
    identity::make(control, state)
}

/// The pod that a node's agent would be in, to which its token is bound.
fn agent(node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": agent_pod(node), "namespace": NAMESPACE, "labels": {"app.kubernetes.io/name": "egret-agent"}},
        "spec": {
            "nodeName": node, "hostNetwork": true, "serviceAccountName": identity::AGENT,
            "containers": [{"name": "agent", "image": "egret"}],
        },
    })
}

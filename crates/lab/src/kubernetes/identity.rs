//! Who the controller and the agents are to the API server: a service account's token each, and nothing more.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{ControlPlane, directory};
use crate::state::{Paths, State};

/// The namespace of Egret's own pods.
pub const NAMESPACE: &str = "egret-system";
/// The agents' service account.
pub const AGENT: &str = "egret-agent";
/// The controller's service account.
const CONTROLLER: &str = "egret-controller";

/// The kubeconfig of a node's agent, or of the controller.
pub fn kubeconfig(paths: &Paths, agent_of: Option<&str>) -> PathBuf {
    file(&directory(paths), agent_of)
}

fn file(directory: &Path, agent_of: Option<&str>) -> PathBuf {
    directory.join(format!("{}.kubeconfig", agent_of.map_or(CONTROLLER.to_owned(), agent_pod)))
}

/// The name of the pod of a node's agent.
pub fn agent_pod(node: &str) -> String {
    format!("{AGENT}-{node}")
}

/// The kubeconfig of the lab itself: an administrator's, in the namespace of Egret's own pods.
pub(super) fn own_kubeconfig(directory: &Path) -> PathBuf {
    directory.join("lab.kubeconfig")
}

/// Makes the lab's own kubeconfig, and returns it.
pub(super) fn make_own(control: &ControlPlane) -> Result<Value> {
    let text = fs::read_to_string(control.admin()).with_context(|| control.admin().display().to_string())?;
    let mut admin: Value = serde_saphyr::from_str(&text).context("the administrator's kubeconfig")?;
    admin["contexts"][0]["context"]["namespace"] = NAMESPACE.into();
    write(&own_kubeconfig(&control.directory), &admin)?;
    Ok(admin)
}

/// Makes everybody's kubeconfig.
pub(super) fn make(control: &ControlPlane, state: &State) -> Result<()> {
    let admin = make_own(control)?;
    let as_bearer = |token: &str| {
        let mut config = admin.clone();
        config["users"][0]["user"] = json!({"token": token.trim()});
        config
    };
    let account = ["create", "token", "--namespace", NAMESPACE, "--duration=24h"];
    let token = control.kubectl(&[&account[..], &[CONTROLLER]].concat(), "")?;
    write(&file(&control.directory, None), &as_bearer(&token))?;
    for node in &state.topology.nodes {
        // As kubelet asks for it: good for as long as the pod is there, and it says which node the pod is on.
        let pod = agent_pod(&node.name);
        let bound = ["--bound-object-kind=Pod", "--bound-object-name", &pod, AGENT];
        let token = control.kubectl(&[&account[..], &bound[..]].concat(), "")?;
        write(&file(&control.directory, Some(&node.name)), &as_bearer(&token))?;
    }
    Ok(())
}

/// Writes a kubeconfig, which is a secret.
fn write(path: &Path, config: &Value) -> Result<()> {
    let open = || fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path);
    let written = open().and_then(|mut file| file.write_all(config.to_string().as_bytes()));
    written.with_context(|| path.display().to_string())
}

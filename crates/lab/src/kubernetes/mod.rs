//! A real Kubernetes control plane on a host of the lab: `kube`, built by `make kubernetes`.

mod alone;
mod identity;
mod install;
mod installed;
mod people;
mod program;
mod proxy;
mod server;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::state::{Paths, State};
use crate::tool;

pub use alone::{Alone, helm};
pub use identity::kubeconfig;
pub use install::{INSTALLATION, agent_capabilities, install, installation};
pub use installed::{begin, register, roll, server_of_pods, start_kubelet, start_scheduler, wait_rolled_out};
pub use program::program;
pub use proxy::{SERVICES, start_controllers, start_proxies, start_proxy, wait_proxy};
pub use server::start;

/// The name of the API server's host.
pub const HOST: &str = "control";

/// The control plane of a lab.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    netns: String,
    directory: PathBuf,
    program: PathBuf,
    /// Kubernetes' own controllers run beside it, and admission asks for what they make.
    pub(crate) installed: bool,
}

impl ControlPlane {
    /// That of a lab.
    ///
    /// # Errors
    /// When its program has not been built.
    pub fn of(paths: &Paths, state: &State) -> Result<ControlPlane> {
        let (netns, directory, program) = (Self::netns_of(state), directory(paths), program()?);
        Ok(ControlPlane { netns, directory, program, installed: state.installed })
    }

    /// The network namespace from which a lab's API server is reached.
    pub fn netns_of(state: &State) -> String {
        format!("{}-{HOST}", state.name)
    }

    /// How an administrator reaches it.
    pub fn admin(&self) -> PathBuf {
        self.directory.join("admin.kubeconfig")
    }

    /// How the lab itself reaches it, once Egret is installed.
    pub fn own(&self) -> PathBuf {
        identity::own_kubeconfig(&self.directory)
    }

    /// The network namespace from which it is reached, as nsenter wants it.
    pub fn place(&self) -> String {
        format!("--net=/run/netns/{}", self.netns)
    }

    /// A command line of kubectl, as an administrator.
    pub fn command(&self, arguments: &[&str]) -> Vec<String> {
        let mut command = vec![
            "nsenter".to_owned(),
            self.place(),
            "env".to_owned(),
            // By address and port of the server, which other labs have as well.
            format!("KUBECACHEDIR={}", self.directory.join("discovery").display()),
            self.program.display().to_string(),
            "kubectl".to_owned(),
            format!("--kubeconfig={}", self.admin().display()),
        ];
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        command
    }

    /// Runs kubectl, and returns what it printed.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let command = self.command(arguments);
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        tool::run_with_input(&words, input).with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    /// Creates objects, or changes them to what they say here.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn apply(&self, objects: &[serde_json::Value]) -> Result<String> {
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &list(objects))
    }

    /// Makes the status of these objects what they say. Not applied: a node of both families has two addresses of one
    /// type, which is the key of that list.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn replace_status(&self, objects: &[serde_json::Value]) -> Result<String> {
        self.kubectl(&["replace", "--subresource=status", "-f", "-"], &list(objects))
    }

    /// Removes objects; those that are gone already are no error.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn delete(&self, objects: &[serde_json::Value]) -> Result<String> {
        self.kubectl(&["delete", "--ignore-not-found", "-f", "-"], &list(objects))
    }
}

/// Where the control plane keeps everything.
fn directory(paths: &Paths) -> PathBuf {
    paths.root().join("kubernetes")
}

fn list(objects: &[serde_json::Value]) -> String {
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

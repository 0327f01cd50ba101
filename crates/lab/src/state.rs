//! What a lab remembers between commands: its hosts and processes, in `/run/egret/lab/NAME/lab.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::topology::Topology;

/// Where labs live.
const ROOT: &str = "/run/egret/lab";

/// The files of one lab.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The lab's name.
    pub name: String,
    root: PathBuf,
}

impl Paths {
    /// The files of the lab of that name.
    ///
    /// # Errors
    /// When the name cannot be a part of a network namespace's name.
    pub fn of(name: &str) -> Result<Paths> {
        ensure!(
            !name.is_empty()
                && name.len() <= 32
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
            "--name {name:?}: a lab's name has 1 to 32 letters, digits, - and _"
        );
        Ok(Paths { name: name.to_owned(), root: PathBuf::from(ROOT).join(name) })
    }

    /// The lab's directory.
    pub fn root(&self) -> &PathBuf {
        &self.root
    }

    /// The directory of manifests that controller and agents read.
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// What a manifest said that was applied to an API server.
    pub fn applied(&self, name: &str) -> PathBuf {
        self.root.join("applied").join(name)
    }

    /// Where a node's agent keeps a copy of what an API server said.
    pub fn copy(&self, node: &str) -> PathBuf {
        self.root.join("run").join(format!("copy-{node}.json"))
    }

    /// Where a node's agent writes down what becomes of flows.
    pub fn flow_log(&self, node: &str) -> PathBuf {
        self.root.join("run").join(format!("flows-{node}"))
    }

    /// Where host-local notes the addresses that a node's pods have.
    pub fn cni(&self, node: &str) -> PathBuf {
        self.root.join("cni").join(node)
    }

    /// Where the lab's own bpffs is mounted.
    pub fn bpf(&self) -> PathBuf {
        self.root.join("bpf")
    }

    /// A process's log.
    pub fn log(&self, role: &str, host: &str) -> PathBuf {
        self.root.join("log").join(format!("{role}-{host}.log"))
    }

    /// A process's socket.
    pub fn socket(&self, role: &str, host: &str) -> PathBuf {
        self.root.join("run").join(format!("{role}-{host}.sock"))
    }

    /// Where the sniffer writes what it must not see.
    pub fn leaks(&self) -> PathBuf {
        self.root.join("leaks.jsonl")
    }

    fn state(&self) -> PathBuf {
        self.root.join("lab.json")
    }

    /// Takes the lab for one command; others wait.
    ///
    /// # Errors
    /// When the lock's file cannot be made.
    pub fn lock(&self) -> Result<File> {
        let path = PathBuf::from(ROOT).join(format!(".{}.lock", self.name));
        loop {
            fs::create_dir_all(ROOT).context(ROOT)?;
            let file = File::create(&path).with_context(|| path.display().to_string())?;
            file.lock().with_context(|| path.display().to_string())?;
            // Whoever held it may have removed it: then it locks nothing any more.
            match fs::metadata(&path) {
                Ok(now) if now.ino() == file.metadata()?.ino() => return Ok(file),
                _ => continue,
            }
        }
    }

    /// Removes the lock's file, and the directory of labs if this was the last one.
    pub fn remove_lock(&self) {
        let _ = fs::remove_file(PathBuf::from(ROOT).join(format!(".{}.lock", self.name)));
        let _ = fs::remove_dir(ROOT);
        let _ = fs::remove_dir("/run/egret");
    }
}

/// A lab.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The lab's name.
    pub name: String,
    /// What it was made from.
    pub topology: Topology,
    /// Where its objects are.
    #[serde(default)]
    pub store: StoreKind,
    /// Controller and agents run in it.
    pub programs: bool,
    /// They are pods of an installation, which kubelets run.
    #[serde(default)]
    pub installed: bool,
    /// Hosts by name, pods too.
    pub hosts: BTreeMap<String, Host>,
    /// The lab's own processes.
    pub processes: Vec<Process>,
    /// Faults by node.
    pub faults: BTreeMap<String, Faults>,
    /// The number of the next pod: it names the pod's link.
    pub next_pod: u32,
}

/// Where a lab's objects are.
#[derive(Serialize, Deserialize, ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// In a directory of manifests.
    #[default]
    Directory,
    /// In a Kubernetes API server on a host of the lab.
    Kubernetes,
}

impl StoreKind {
    /// As it is written on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            StoreKind::Directory => "directory",
            StoreKind::Kubernetes => "kubernetes",
        }
    }
}

/// A host: a network namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// What it is.
    pub kind: HostKind,
    /// Its network namespace.
    pub netns: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The ports of the switch that its links are plugged into, by link.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, String>,
    /// Of a pod: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodHost>,
}

/// What a host is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum HostKind {
    /// A node of the cluster.
    Node,
    /// A pod.
    Pod,
    /// A host outside the cluster.
    Outside,
    /// The router.
    Router,
    /// The API server's host.
    Control,
}

impl HostKind {
    /// The kind's name.
    pub fn as_str(self) -> &'static str {
        match self {
            HostKind::Node => "node",
            HostKind::Pod => "pod",
            HostKind::Outside => "outside",
            HostKind::Router => "router",
            HostKind::Control => "control",
        }
    }
}

/// The pod that a host is.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodHost {
    /// The Kubernetes namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The node it is on.
    pub node: String,
    /// The node's end of its link.
    pub link: String,
    /// Its node's kubelet runs it.
    #[serde(default)]
    pub by_kubelet: bool,
}

/// What is broken at a node.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Faults {
    /// It has no power.
    #[serde(default)]
    pub power_off: bool,
    /// Its agent hangs.
    #[serde(default)]
    pub hang: bool,
    /// These links are cut.
    #[serde(default)]
    pub cut: BTreeSet<String>,
}

impl State {
    /// Reads a lab's state; `None` if there is no such lab.
    ///
    /// # Errors
    /// When the state is there and cannot be read.
    pub fn find(paths: &Paths) -> Result<Option<State>> {
        let file = paths.state();
        match fs::read(&file) {
            Ok(text) => {
                let state = serde_json::from_slice(&text);
                state
                    .map(Some)
                    .with_context(|| format!("{}: broken; `egret lab down` removes the lab", file.display()))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| file.display().to_string()),
        }
    }

    /// Reads a lab's state.
    ///
    /// # Errors
    /// When there is no such lab, or its state cannot be read.
    pub fn read(paths: &Paths) -> Result<State> {
        match State::find(paths)? {
            Some(state) => Ok(state),
            None => bail!("lab {}: no such lab; `egret lab --name {} up` makes it", paths.name, paths.name),
        }
    }

    /// Writes the state.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, paths: &Paths) -> Result<()> {
        let (file, draft) = (paths.state(), paths.root.join(".lab.json"));
        fs::write(&draft, serde_json::to_vec_pretty(self)?).with_context(|| draft.display().to_string())?;
        fs::rename(&draft, &file).with_context(|| file.display().to_string())
    }

    /// The network namespace of the switch.
    pub fn switch(&self) -> String {
        format!("{}-switch", self.name)
    }

    /// All network namespaces of the lab.
    pub fn namespaces(&self) -> Vec<String> {
        self.hosts.values().map(|h| h.netns.clone()).chain([self.switch()]).collect()
    }

    /// The host that a person means: by its name, or a pod by `namespace/name`.
    ///
    /// # Errors
    /// When there is none; the error names those that there are.
    pub fn host(&self, name: &str) -> Result<&Host> {
        let by_pod = || {
            let (namespace, pod) = name.split_once('/')?;
            self.pod(namespace, pod).map(|(_, host)| host)
        };
        match self.hosts.get(name).or_else(by_pod) {
            Some(host) => Ok(host),
            None => {
                let known: Vec<&str> = self.hosts.keys().map(String::as_str).collect();
                bail!("host {name:?}: no such host; the lab has {}", known.join(", "))
            }
        }
    }

    /// A pod, with its host's name.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<(&str, &Host)> {
        let is_it = |h: &Host| h.pod.as_ref().is_some_and(|p| p.namespace == namespace && p.name == name);
        self.hosts.iter().find(|(_, h)| is_it(h)).map(|(n, h)| (n.as_str(), h))
    }

    /// The network namespaces of a node and of its pods.
    pub fn namespaces_of_node(&self, node: &str) -> Vec<String> {
        let on_it =
            |name: &str, host: &Host| name == node || host.pod.as_ref().is_some_and(|p| p.node == node);
        self.hosts.iter().filter(|(n, h)| on_it(n, h)).map(|(_, h)| h.netns.clone()).collect()
    }

    /// The node has power and its agent is not stopped.
    pub fn is_up(&self, node: &str) -> bool {
        self.faults.get(node).is_none_or(|f| !f.power_off && !f.hang)
    }
}

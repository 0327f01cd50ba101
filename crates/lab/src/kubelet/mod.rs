//! What kubelet and a container runtime do on a node of an installed lab: whichever pods are bound to the node run, by their own
//! command line, privileges, volumes and tokens, are probed, and are told of to the API server.

mod client;
mod container;
mod life;
mod probe;
mod runtime;
mod sandbox;
mod status;
mod volumes;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

use crate::kubernetes::{self, ControlPlane};
use crate::process::Process;
use crate::state::{HostKind, Paths, State};

pub use runtime::enter;

/// How soon an API server that does not answer is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// Seconds that a watch lasts.
const WATCH: u32 = 290;

/// A node's kubelet.
pub(super) struct Kubelet {
    paths: Paths,
    node: String,
    netns: String,
    addresses: Vec<IpAddr>,
    /// Where pods find the API server.
    server: (String, String),
    client: Client,
}

/// What is known of a pod; `None` when it is gone.
type Told = watch::Sender<Option<Pod>>;

/// Runs until it is killed.
///
/// # Errors
/// When the lab has no such node, or its API server's kubeconfig cannot be read.
pub fn run(paths: &Paths, node: &str) -> Result<()> {
    let state = State::read(paths)?;
    // Those by which the cluster knows it: at most one of each family.
    let addresses = state.topology.node(node)?.underlay.iter().map(IpNet::addr).collect();
    let netns = state.host(node)?.netns.clone();
    let server = kubernetes::server_of_pods(&state, node)?;
    let admin = ControlPlane::of(paths, &state)?.admin();
    // What an earlier kubelet of this node left running is nobody's any more.
    crate::process::kill_all(&containers(paths, node));
    drop(fs::remove_dir_all(directory(paths, node).join("pods")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = client::of(&admin, node).await?;
        let (paths, node) = (paths.clone(), node.to_owned());
        let kubelet = Arc::new(Kubelet { paths, node, netns, addresses, server, client });
        let mut pods = BTreeMap::new();
        loop {
            if let Err(error) = kubelet.follow(&mut pods).await {
                eprintln!("pods of {}: {error:#}", kubelet.node);
                tokio::time::sleep(AGAIN).await;
            }
        }
    })
}

/// What a node keeps on its disk.
fn directory(paths: &Paths, node: &str) -> PathBuf {
    paths.root().join("nodes").join(node)
}

/// The containers that run on a node, by their names.
pub fn containers(paths: &Paths, node: &str) -> Vec<Process> {
    let files = fs::read_dir(directory(paths, node).join("containers")).into_iter().flatten().flatten();
    let read = |path: PathBuf| serde_json::from_slice::<Process>(&fs::read(path).ok()?).ok();
    files.filter_map(|file| read(file.path())).filter(Process::is_alive).collect()
}

impl Kubelet {
    /// Lists the node's pods and follows them until the watch ends.
    async fn follow(self: &Arc<Self>, pods: &mut BTreeMap<String, Told>) -> Result<()> {
        let api: Api<Pod> = Api::all(self.client.clone());
        let own = format!("spec.nodeName={}", self.node);
        let list = api.list(&ListParams::default().fields(&own)).await.context("list")?;
        pods.retain(|uid, told| {
            let there = list.items.iter().any(|pod| pod.metadata.uid.as_ref() == Some(uid));
            if !there {
                told.send_replace(None);
            }
            there
        });
        let version = list.metadata.resource_version.clone().unwrap_or_default();
        for pod in list.items {
            self.tell(pods, pod)?;
        }
        let params = WatchParams::default().fields(&own).timeout(WATCH);
        let mut events = std::pin::pin!(api.watch(&params, &version).await.context("watch")?);
        while let Some(event) = events.try_next().await.context("watch")? {
            match event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => self.tell(pods, pod)?,
                WatchEvent::Deleted(pod) => {
                    if let Some(told) = pods.remove(&pod.uid().unwrap_or_default()) {
                        told.send_replace(None);
                    }
                }
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) => bail!("watch: {}", status.message),
            }
        }
        Ok(())
    }

    fn tell(self: &Arc<Self>, pods: &mut BTreeMap<String, Told>, pod: Pod) -> Result<()> {
        let uid = pod.uid().unwrap_or_default();
        if let Some(told) = pods.get(&uid) {
            told.send_replace(Some(pod));
            return Ok(());
        }
        let ended = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(ended, Some("Succeeded" | "Failed")) || self.is_the_labs(&pod)? {
            return Ok(());
        }
        let (told, listen) = watch::channel(Some(pod.clone()));
        pods.insert(uid, told);
        tokio::spawn(life::live(self.clone(), pod, listen));
        Ok(())
    }

    /// The pod was made by `egret lab pod`, which does a kubelet's work itself.
    fn is_the_labs(&self, pod: &Pod) -> Result<bool> {
        let state = State::read(&self.paths)?;
        let host = state.pod(&pod.namespace().unwrap_or_default(), &pod.name_any());
        let by_hand = |host: &crate::state::Host| host.pod.as_ref().is_some_and(|pod| !pod.by_kubelet);
        Ok(host.is_some_and(|(_, host)| host.kind == HostKind::Pod && by_hand(host)))
    }
}

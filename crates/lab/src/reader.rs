//! Following the lab's store, whichever it is.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use egret_api::Modes;
use egret_store::{Access, Directory, Kubernetes, Progress, Scope, Snapshot, Store};

use crate::kubernetes::ControlPlane;
use crate::state::{Paths, State, StoreKind};
use crate::{manifest, netns};

/// How long an API server may take to tell everything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the store says at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// All objects.
    pub snapshot: Snapshot,
    /// How far the controller has come, if it ever said so.
    pub progress: Option<Progress>,
    /// The digest of what people wrote that an agent has that sees the same, where nodes do not see everything.
    pub at_nodes: BTreeMap<String, String>,
}

impl View {
    /// What a directory says now.
    pub fn of(store: &Directory) -> View {
        View { snapshot: store.snapshot(), progress: store.progress(), at_nodes: BTreeMap::new() }
    }

    /// The digest of what people wrote that the agent of this node has if it sees the same.
    pub fn digest_at(&self, node: &str) -> &str {
        self.at_nodes.get(node).unwrap_or(&self.snapshot.objects_digest)
    }
}

/// The lab's store, followed.
pub enum Reader {
    /// A directory of manifests.
    Directory(Box<Directory>),
    /// An API server, what it has said so far, and the nodes.
    Kubernetes(Box<Kubernetes>, Snapshot, Vec<String>),
}

impl Reader {
    /// Begins to follow the store of a lab.
    ///
    /// # Errors
    /// When it cannot be opened, or does not say everything in time.
    pub async fn open(paths: &Paths, state: &State) -> Result<Reader> {
        if state.store == StoreKind::Directory {
            return Ok(Reader::Directory(Box::new(manifest::store(paths)?)));
        }
        let kubeconfig = Some(ControlPlane::of(paths, state)?.own());
        let (modes, obeys) = (Modes::default(), true);
        let access = Access { kubeconfig, scope: Scope::Cluster, manager: "lab", copy: None, modes, obeys };
        let mut store = Kubernetes::open(access).await?;
        let mut snapshot = Snapshot::default();
        let first = tokio::time::timeout(PATIENCE, store.changes()).await;
        snapshot.update(first.context("the API server does not tell what it has")?);
        let nodes = state.topology.nodes.iter().map(|node| node.name.clone()).collect();
        Ok(Reader::Kubernetes(Box::new(store), snapshot, nodes))
    }

    /// Waits until the store may say something else. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        match self {
            Reader::Directory(store) => store.changed().await,
            Reader::Kubernetes(store, snapshot, _) => snapshot.update(store.changes().await),
        }
    }

    /// What the store says.
    pub async fn view(&self) -> View {
        match self {
            Reader::Directory(store) => View::of(store),
            Reader::Kubernetes(store, snapshot, nodes) => View {
                snapshot: snapshot.clone(),
                // A server that does not answer has not been told.
                progress: store.progress().await.unwrap_or_default(),
                at_nodes: nodes.iter().map(|node| (node.clone(), store.objects_digest_at(node))).collect(),
            },
        }
    }
}

/// Does a piece of work on a runtime of its own, where the lab's store can be reached.
///
/// # Errors
/// When the place cannot be entered, and what the work returns.
pub fn block_on<T: Send>(state: &State, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let work = || tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work);
    match state.store {
        StoreKind::Directory => work(),
        StoreKind::Kubernetes => netns::run_in(&ControlPlane::netns_of(state), work),
    }
}

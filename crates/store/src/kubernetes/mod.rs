//! A Kubernetes API server as a store.

mod backoff;
mod cache;
mod copy;
mod events;
mod follow;
mod lease;
mod pace;
mod pruned;
mod scope;
mod shared;
mod startup;
mod words;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use egret_api::{Kind, Modes, ObjectKey};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::time::{Instant, sleep_until};

use self::cache::{Cache, Keep};
use self::shared::Shared;
use crate::seam::{Changes, Progress, Store};
use crate::{Problem, StoreError};

pub use self::lease::Term;
pub use self::scope::Scope;
pub use self::write::Applied;

/// The namespace of Egret's own objects, where a kubeconfig names none. A pod's is its own.
const NAMESPACE: &str = "egret-system";
/// Many objects often change together; they are told together after this.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// When the server has not told everything after this, a copy on disk counts, if there is one.
const PATIENCE: Duration = Duration::from_secs(3);
/// A server that can be reached is reached within this.
const CONNECT: Duration = Duration::from_secs(5);
/// A watch says something every minute, if only that nothing happened: a connection that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(90);

/// How to find an API server, and what to read of it.
#[derive(Clone, Debug)]
pub struct Access {
    /// A kubeconfig file; absent: as pods of the cluster find it.
    pub kubeconfig: Option<PathBuf>,
    /// Who reads.
    pub scope: Scope,
    /// Name under which fields are owned.
    pub manager: &'static str,
    /// A file that keeps a copy of everything that was read, to start from while no server answers.
    pub copy: Option<PathBuf>,
    /// How far other systems' objects count. Kinds of systems that are off are neither listed nor watched.
    pub modes: Modes,
    /// What the controller says of that counts more.
    pub obeys: bool,
}

/// A Kubernetes API server: every kind that Egret reads is listed and watched.
pub struct Kubernetes {
    client: Client,
    access: Access,
    shared: Arc<Shared>,
    events: events::Sender,
    /// The copy on disk, until it has been read: it comes before what the server says.
    restoring: Option<copy::Reader>,
    /// When the change that was noticed is to be told.
    due: Option<Instant>,
    /// Till when everything is waited for.
    patience: Option<Instant>,
    told: bool,
}

impl Kubernetes {
    /// Begins to follow an API server. That nobody answers is no error: it is waited for. Must be called within a
    /// Tokio runtime.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read, or there is none and this is no pod.
    pub async fn open(access: Access) -> Result<Self, StoreError> {
        let client = connect(access.kubeconfig.clone()).await?;
        let keep = Keep {
            statuses: access.scope == Scope::Cluster,
            texts: access.copy.is_some(),
            // Who does not obey is who decides.
            addresses: !access.obeys,
        };
        let cache = Cache::new(keep, Kind::ALL.iter().copied());
        let shared = Arc::new(Shared::new(cache, access.modes.clone(), access.obeys));
        let restoring = access.copy.as_ref().and_then(|path| copy::open(path, &access.scope));
        let events = events::start(client.clone(), access.manager, shared.clone());
        let mut store =
            Self { client, access, shared, events, restoring, due: None, patience: None, told: false };
        if store.restoring.is_none() {
            store.follow(None);
        }
        Ok(store)
    }

    /// Begins to listen to the server.
    fn follow(&mut self, restored: Option<copy::Journal>) {
        let scope = &self.access.scope;
        self.patience = restored.is_some().then(|| Instant::now() + PATIENCE);
        if let Some(path) = &self.access.copy {
            tokio::spawn(copy::keep(path.clone(), scope.clone(), restored, Arc::downgrade(&self.shared)));
        }
        for kind in Kind::ALL {
            tokio::spawn(follow::follow(self.client.clone(), scope.clone(), *kind, self.shared.clone()));
        }
    }

    /// Reads on in the copy; `None`: it has been read.
    fn restore(&mut self) -> Option<Changes> {
        let (Some(reader), Some(path)) = (&mut self.restoring, &self.access.copy) else { return None };
        let piece = self.shared.with(|cache| copy::restore(path, reader, cache));
        if piece.is_none() {
            let read = self.restoring.take().map(copy::Reader::done);
            self.follow(read);
        }
        piece
    }

    /// The digest that an agent of this node has of what people wrote, if it has seen what was seen here. Only a
    /// reader of the whole cluster can tell.
    pub fn objects_digest_at(&self, node: &str) -> String {
        self.shared.with(|cache| cache.objects_digest_at(node))
    }

    /// How far the controller has come, if it ever said so.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn progress(&self) -> Result<Option<Progress>, StoreError> {
        lease::progress(&self.client).await
    }

    /// Waits until no other process leads, and leads. `identity` is this process's name, like no other's.
    ///
    /// # Errors
    /// When the Lease may not be read or written.
    pub async fn lead(&self, identity: &str) -> Result<Term, StoreError> {
        lease::lead(self.client.clone(), identity).await
    }

    /// Takes the taint `egret.dev/agent-not-ready` off every Node whose agent is ready, for as long as it is driven.
    /// Only who reads the whole cluster can.
    pub fn remove_startup_taints(&self) -> impl Future<Output = ()> + Send + 'static {
        startup::follow(self.client.clone(), self.shared.clone())
    }

    /// Whether all of the cluster is known, for those who ask while the store itself is busy.
    pub fn reading(&self) -> Reading {
        Reading(self.shared.clone())
    }

    /// Everything is known, or the copy has to do.
    fn may_tell(&self) -> bool {
        self.told
            || self.shared.with(|cache| cache.is_complete())
            || self.patience.is_some_and(|until| until <= Instant::now())
    }
}

/// How far a store has come with reading.
#[derive(Clone)]
pub struct Reading(Arc<Shared>);

impl Reading {
    /// Every kind has been read, or is not served.
    pub fn is_complete(&self) -> bool {
        self.0.with(|cache| cache.is_complete())
    }
}

impl Store for Kubernetes {
    type Recorder = Applied;

    async fn changes(&mut self) -> Changes {
        if let Some(piece) = self.restore() {
            return piece;
        }
        loop {
            if self.due.is_none() {
                tokio::select! {
                    () = self.shared.changed.notified() => self.due = Some(Instant::now() + DEBOUNCE),
                    () = until(self.patience.filter(|_| !self.told)) => self.due = Some(Instant::now()),
                }
            }
            until(self.due).await;
            self.due = None;
            if !self.may_tell() {
                if self.access.copy.is_some()
                    && let Some(piece) = self.shared.with(Cache::take_piece)
                {
                    return piece;
                }
                continue;
            }
            if let Some(mut changes) = self.shared.with(Cache::take) {
                if !std::mem::replace(&mut self.told, true) {
                    let awaited = self.shared.with(|cache| cache.awaited().collect::<Vec<_>>());
                    if !awaited.is_empty() {
                        let problem = from_copy(&awaited);
                        tracing::warn!("{problem}");
                        changes.problems.push(problem);
                    }
                }
                return changes;
            }
        }
    }

    fn origin(&self, _: &ObjectKey) -> Option<String> {
        None
    }

    fn recorder(&self) -> Applied {
        Applied::new(self.client.clone(), self.access.manager, self.shared.clone(), self.events.clone())
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn from_copy(awaited: &[Kind]) -> Problem {
    let kinds: Vec<_> = awaited.iter().map(|kind| kind.as_str()).collect();
    Problem {
        file: PathBuf::new(),
        document: 0,
        object: None,
        field: None,
        message: format!("the API server does not tell {}: the copy on disk is in force", kinds.join(", ")),
        cure: "Bring the API server back; what it says then takes the place of the copy.".to_owned(),
    }
}

/// A client of an API server, found by a kubeconfig file or, without one, as pods of its cluster find it.
///
/// # Errors
/// When the kubeconfig cannot be read, or there is none and this is no pod.
pub async fn connect(kubeconfig: Option<PathBuf>) -> Result<Client, StoreError> {
    Ok(pace::paced(client(kubeconfig.clone()).await?, kubeconfig))
}

async fn client(kubeconfig: Option<PathBuf>) -> Result<Client, StoreError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let failed = |words: String| StoreError::Kubeconfig { path: path.clone(), words };
            let mut file = Kubeconfig::read_from(&path).map_err(|error| failed(words::chain(&error)))?;
            for context in file.contexts.iter_mut().filter_map(|named| named.context.as_mut()) {
                context.namespace.get_or_insert_with(|| NAMESPACE.to_owned());
            }
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(|error| failed(words::chain(&error)))?
        }
        None => {
            Config::incluster().map_err(|error| StoreError::NotInCluster { words: words::chain(&error) })?
        }
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    // What fails is tried again here, with one back-off.
    config.default_retry = false;
    Client::try_from(config)
        .map_err(|error| words::refused("connect to", "the API server".to_owned(), &error))
}

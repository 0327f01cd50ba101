//! Allocation of egress addresses, leases and status: a loop around the pure decision.
//!
//! Each change of the store is answered by one decision, of which only what differs is written. There is no other
//! state: a controller that is started anew decides the same.

mod complaints;
mod events;
mod failing;
mod metrics;
mod pass;
mod rivals;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use egret_api::Modes;
use egret_plan::ClusterSettings;
use egret_status::Listen;
use egret_store::{Access, Directory, Kubernetes, Scope, Source, Store};
use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};

pub use crate::events::EVENTS;
use crate::metrics::Metrics;
use crate::pass::Controller;

/// Name under which the controller owns fields on an API server.
const MANAGER: &str = "egret-controller";

/// How a controller is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where objects come from.
    pub store: Source,
    /// Networks inside the cluster besides nodes and pods.
    pub inside: BTreeSet<IpNet>,
    /// Where to answer about health and metrics, if at all.
    pub status_address: Option<Listen>,
    /// How far other systems' objects count.
    pub modes: Modes,
    /// Whether Nodes are rid of the start-up taint when their agents are ready.
    pub remove_startup_taint: bool,
}

/// Decides until the process is told to end.
///
/// # Errors
/// When the store cannot be opened, or the status address not be listened on.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::default());
    let mut server = tokio::spawn({
        let (metrics, listen) = (metrics.clone(), options.status_address.clone());
        async move {
            match listen {
                Some(listen) => egret_status::serve(&listen, metrics)
                    .await
                    .map(|never| match never {})
                    .with_context(|| format!("--status-address {listen}: cannot be listened on")),
                None => std::future::pending().await,
            }
        }
    });
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let modes = options.modes;
    let controller = Controller::new(ClusterSettings { inside: options.inside }, modes.clone());
    let work = async {
        match options.store {
            Source::Directory(path) => in_directory(path, controller, &metrics, told).await,
            Source::Kubernetes { kubeconfig } => {
                let taints = options.remove_startup_taint;
                in_cluster(kubeconfig, modes, controller, &metrics, taints, told).await
            }
        }
    };
    tokio::select! {
        result = work => result,
        failed = &mut server => failed?,
    }
}

/// Decides when no other controller writes to the directory.
async fn in_directory(
    path: PathBuf,
    mut controller: Controller,
    metrics: &Metrics,
    told: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let work = async {
        let opened = tokio::task::spawn_blocking(move || {
            let mut store = Directory::open(&path, "controller")?;
            tracing::info!(store = %path.display(), "waiting to be the only controller of this store");
            let lock = store.lock("controller")?;
            store.keep_accepted();
            anyhow::Ok((store, lock))
        });
        let (mut store, lock) = opened.await??;
        tracing::info!("deciding");
        decide_on_changes(&mut store, &mut controller, metrics).await;
        drop(lock);
        anyhow::Ok(())
    };
    tokio::select! {
        result = work => result,
        () = told => Ok(()),
    }
}

/// Decides whenever the Lease is this process's.
async fn in_cluster(
    kubeconfig: Option<PathBuf>,
    modes: Modes,
    mut controller: Controller,
    metrics: &Metrics,
    remove_startup_taint: bool,
    told: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (scope, obeys) = (Scope::Cluster, false);
    let access = Access { kubeconfig, scope, manager: MANAGER, copy: None, modes, obeys };
    let mut store = Kubernetes::open(access).await?;
    let identity = identity();
    let mut told = pin!(told);
    loop {
        metrics.stands_by(Some(store.reading()));
        tracing::info!(identity, "waiting to be the only controller of this cluster");
        let mut term = tokio::select! {
            term = store.lead(&identity) => term?,
            () = &mut told => return Ok(()),
        };
        tracing::info!("deciding");
        metrics.stands_by(None);
        controller.begin_term();
        let taints = store.remove_startup_taints();
        let taints = async {
            match remove_startup_taint {
                true => taints.await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = taints => {}
            () = decide_on_changes(&mut store, &mut controller, metrics) => {}
            () = term.lost() => tracing::warn!("another controller decides now, or the API server does not answer"),
            () = &mut told => {
                term.end().await;
                return Ok(());
            }
        }
    }
}

/// A name like no other process's: of the pod, and of the process in it.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let started = jiff::Timestamp::now().as_millisecond();
    format!("{}-{}-{started}", host.trim(), std::process::id())
}

async fn decide_on_changes<S: Store>(store: &mut S, controller: &mut Controller, metrics: &Metrics) {
    const RETRY: Duration = Duration::from_secs(1);
    // Who led before has read already, and what it read may be long decided, or not.
    let mut until = controller.has_read().then_some(Duration::ZERO);
    loop {
        let wake = async {
            match until {
                Some(until) => tokio::time::sleep(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changes = store.changes() => controller.take(changes),
            () = wake => {}
        }
        let now = jiff::Timestamp::now();
        let outcome = controller.pass(&store.recorder(), |key| store.origin(key), now, metrics).await;
        until = match (outcome.failed, outcome.wake) {
            (true, _) => Some(RETRY),
            (false, wake) => {
                wake.map(|wake| Duration::try_from(wake.duration_since(now)).unwrap_or_default())
            }
        };
    }
}

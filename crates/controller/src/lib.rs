//! Allocation of egress addresses, leases and status: a loop around the pure decision.
//!
//! Each change of the store is answered by one decision over everything, of which only what differs is written.
//! There is no other state: a controller that is started anew decides the same.

mod cluster;
mod complaints;
mod metrics;
mod pass;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use egret_plan::ClusterSettings;
use egret_status::Listen;
use egret_store::{Directory, Store};
use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};

use crate::metrics::Metrics;
use crate::pass::Controller;

/// How a controller is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of manifests.
    pub store: PathBuf,
    /// Networks inside the cluster besides nodes and pods.
    pub inside: BTreeSet<IpNet>,
    /// Where to answer about health and metrics, if at all.
    pub status_address: Option<Listen>,
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
    let work = async {
        let (store, lock) = open(options.store).await?;
        let settings = ClusterSettings { inside: options.inside };
        decide_on_changes(store, settings, &metrics).await;
        drop(lock);
        anyhow::Ok(())
    };
    tokio::select! {
        result = work => result,
        failed = &mut server => failed?,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Opens the store when no other controller writes to it.
async fn open(path: PathBuf) -> anyhow::Result<(Directory, std::fs::File)> {
    let opened = tokio::task::spawn_blocking(move || {
        let mut store = Directory::open(&path, "controller")?;
        tracing::info!(store = %path.display(), "waiting to be the only controller of this store");
        let lock = store.lock("controller")?;
        store.keep_accepted();
        anyhow::Ok((store, lock))
    });
    let opened = opened.await??;
    tracing::info!("deciding");
    Ok(opened)
}

async fn decide_on_changes<S: Store>(mut store: S, settings: ClusterSettings, metrics: &Metrics) {
    const RETRY: Duration = Duration::from_secs(1);
    let mut controller = Controller::new(settings);
    loop {
        let now = jiff::Timestamp::now();
        let outcome = controller.pass(&store, now, metrics).await;
        let until = match (outcome.failed, outcome.wake) {
            (true, _) => Some(RETRY),
            (false, wake) => {
                wake.map(|wake| Duration::try_from(wake.duration_since(now)).unwrap_or_default())
            }
        };
        let wake = async {
            match until {
                Some(until) => tokio::time::sleep(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = store.changed() => {}
            () = wake => {}
        }
    }
}

//! Everything that a store holds at one moment.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use egret_api::{Modes, Object};
use egret_store::{Access, Directory, Kubernetes, Problem, Scope, Source, Store};

/// How long an API server may take to tell everything.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a store holds now, and what of it is not in force.
pub fn read(source: Source) -> Result<(Vec<Arc<Object>>, Vec<Problem>)> {
    match source {
        Source::Directory(path) => {
            let store = path.display();
            ensure!(
                path.is_dir(),
                "--store {store}: no such directory; name the one that agents and controller use"
            );
            let snapshot = Directory::open(&path, "read")?.snapshot();
            Ok((snapshot.objects, snapshot.problems))
        }
        Source::Kubernetes { kubeconfig } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let told = runtime.block_on(in_cluster(kubeconfig));
            runtime.shutdown_background();
            told
        }
    }
}

async fn in_cluster(kubeconfig: Option<PathBuf>) -> Result<(Vec<Arc<Object>>, Vec<Problem>)> {
    let (modes, obeys) = (Modes::default(), true);
    let access = Access { kubeconfig, scope: Scope::Cluster, manager: "egret", copy: None, modes, obeys };
    let mut store = Kubernetes::open(access).await?;
    let changes = tokio::time::timeout(PATIENCE, store.changes()).await;
    let changes = changes.context("the API server does not tell what it has; see --kubeconfig")?;
    Ok((changes.applied, changes.problems))
}

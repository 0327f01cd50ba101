//! `egret import FILE...|cluster`: other systems' manifests in Egret's own kinds.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use egret_api::Object;
use egret_store::{Problem, Source};

use crate::{kubeconfig, objects};

/// Arguments of `egret import`.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// Manifests; what belongs together has to be given together. `cluster` alone: what the API server has
    #[arg(required = true, value_name = "FILE|cluster")]
    files: Vec<PathBuf>,
    /// How to reach the API server; absent, as kubectl does
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// Prints the manifests, and on standard error what they do not say. Fails if something of the files was unreadable.
pub fn run(arguments: ImportArguments) -> Result<ExitCode> {
    let ImportArguments { files, kubeconfig } = arguments;
    let (objects, problems) = match files.as_slice() {
        [cluster] if cluster.as_os_str() == "cluster" => {
            objects::read(Source::Kubernetes { kubeconfig: kubeconfig::find(kubeconfig) })?
        }
        files => {
            ensure!(kubeconfig.is_none(), "--kubeconfig: files need none; write `cluster` in their place");
            in_files(files)?
        }
    };
    let objects: Vec<Object> = objects.into_iter().map(Arc::unwrap_or_clone).collect();
    let import = egret_plan::import(&objects);
    for object in &import.objects {
        print!("---\n{}", serde_saphyr::to_string(&object.encode()?)?);
    }
    for (object, note) in &import.notes {
        eprintln!("{object}: {note}");
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn in_files(files: &[PathBuf]) -> Result<(Vec<Arc<Object>>, Vec<Problem>)> {
    let (mut objects, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let (read, wrong) = egret_store::read_manifests(file, &text);
        objects.extend(read);
        problems.extend(wrong);
    }
    Ok((objects, problems))
}

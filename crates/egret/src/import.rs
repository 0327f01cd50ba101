//! `egret import FILE...|cluster`: other systems' manifests in Egret's own kinds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use egret_api::{Kind, Object};
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
    let mut strangers = BTreeMap::new();
    let (objects, problems) = match files.as_slice() {
        [cluster] if cluster.as_os_str() == "cluster" => {
            objects::read(Source::Kubernetes { kubeconfig: kubeconfig::find(kubeconfig) })?
        }
        files => {
            ensure!(kubeconfig.is_none(), "--kubeconfig: files need none; write `cluster` in their place");
            in_files(files, &mut strangers)?
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
    for (kind, count) in &strangers {
        eprintln!("{count} of {kind}: left out: no resource of an egress system that Egret knows");
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Objects of kinds that Egret reads, and how many there are of others.
fn in_files(
    files: &[PathBuf],
    strangers: &mut BTreeMap<String, usize>,
) -> Result<(Vec<Arc<Object>>, Vec<Problem>)> {
    let (mut objects, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        for value in egret_store::objects_in(&text).into_iter().flatten() {
            let word = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
            let (version, kind) = (word("apiVersion"), word("kind"));
            if !version.is_empty() && !kind.is_empty() && Kind::of(&version, &kind).is_none() {
                *strangers.entry(format!("{kind} ({version})")).or_default() += 1;
            }
        }
        let (read, wrong) = egret_store::read_manifests(file, &text);
        objects.extend(read);
        problems.extend(wrong);
    }
    Ok((objects, problems))
}

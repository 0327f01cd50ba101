//! `egret import FILE...`: other systems' manifests in Egret's own kinds.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use egret_api::Object;

/// Arguments of `egret import`.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// Manifests; what belongs together has to be given together
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Prints the manifests, and on standard error what they do not say. Fails if something of the files was unreadable.
pub fn run(arguments: &ImportArguments) -> Result<ExitCode> {
    let (mut objects, mut problems) = (Vec::new(), Vec::new());
    for file in &arguments.files {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let (read, wrong) = egret_store::read_manifests(file, &text);
        objects.extend(read.iter().map(|object| Object::clone(object)));
        problems.extend(wrong);
    }
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

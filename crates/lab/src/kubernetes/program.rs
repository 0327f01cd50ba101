//! Where the control plane's program is.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// Names the program, if it is not where `make kubernetes` puts it.
const PROGRAM: &str = "EGRET_KUBE";

/// The control plane's program: `kubernetes/kube` in the directory that cargo builds in, which is above this program.
///
/// # Errors
/// When it has not been built.
pub fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(PROGRAM) {
        return Ok(named.into());
    }
    let own = std::env::current_exe().context("the path of this program")?;
    let built = own.ancestors().map(|above| above.join("kubernetes/kube")).find(|kube| kube.is_file());
    built.with_context(|| {
        format!("--store kubernetes: kube is not built; `make kubernetes` builds it, or {PROGRAM} says where it is")
    })
}

//! Where a person's kubeconfig is: as kubectl looks for it.

use std::env::{split_paths, var_os};
use std::path::PathBuf;

/// The file that is given; else the first of `$KUBECONFIG` that exists; else, unless this is a pod of a cluster,
/// `~/.kube/config` if it exists.
pub fn find(given: Option<PathBuf>) -> Option<PathBuf> {
    let listed = || split_paths(&var_os("KUBECONFIG")?).find(|path| path.is_file());
    let usual = || {
        let path = PathBuf::from(var_os("HOME")?).join(".kube/config");
        (var_os("KUBERNETES_SERVICE_HOST").is_none() && path.is_file()).then_some(path)
    };
    given.or_else(listed).or_else(usual)
}

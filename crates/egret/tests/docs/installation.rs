//! The pages that install, upgrade and uninstall, on a real API server whose workloads become pods that say they are ready.

use egret_lab::kubernetes::helm;

use crate::blocks::{Block, Kind, blocks};
use crate::commands::{INSTALLATION, programs};
use crate::kubelet;
use crate::session::Session;

#[path = "../install/cluster.rs"]
pub mod cluster;

use cluster::Cluster;

#[test]
fn the_pages_that_install_upgrade_and_uninstall_leave_nothing_behind() {
    let cluster = Cluster::start("docs-installation");
    for (node, address) in [("node-1", "192.0.2.1"), ("node-2", "192.0.2.2")] {
        let status =
            serde_json::json!({"status": {"addresses": [{"type": "InternalIP", "address": address}]}});
        let patch =
            ["patch", "node", node, "--subresource=status", "--type=merge", "-p", &status.to_string()];
        cluster.kubectl(&patch);
    }
    let before = cluster.objects();
    let mut session = Session::new("docs-session");
    programs(&session);
    session.program("helm", &format!("exec {} \"$@\"", helm().unwrap().display()));
    session.environment("KUBECONFIG", cluster.server.kubeconfig().display().to_string());
    for place in ["CACHE", "CONFIG", "DATA"] {
        session.environment(&format!("HELM_{place}_HOME"), session.place(&place.to_lowercase()));
    }
    session.environment("KUBECACHEDIR", session.place("discovery"));
    let blocks = INSTALLATION.iter().flat_map(|page| blocks(page).unwrap());
    let typed = blocks.filter(|block| matches!(block.kind, Kind::Console | Kind::Commands | Kind::Manifests));
    let commands: Vec<_> = typed.flat_map(|block: Block| block.commands()).collect();
    kubelet::beside(&cluster, || session.type_all(&commands));
    cluster.until_only(&before);
}

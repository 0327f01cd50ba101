//! Says of every pod of the installation that it runs and is ready, as the kubelet of its node would.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::installation::cluster::Cluster;

/// Does `work` while pods become ready soon after they are there.
pub fn beside(cluster: &Cluster, work: impl FnOnce()) {
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                look(cluster);
                // As often as anybody who waits for a pod would look.
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        let _done = Done(&done);
        work();
    });
}

/// One round. What is not there any more when it is told so needs nothing.
fn look(cluster: &Cluster) {
    let pods =
        cluster.server.kubectl(&["get", "pods", "-n", "egret-system", "-o", "json"], "").unwrap_or_default();
    let pods: Value = serde_json::from_str(&pods).unwrap_or_default();
    for pod in
        pods["items"].as_array().into_iter().flatten().filter(|pod| pod["status"]["phase"] != "Running")
    {
        let conditions = ["Ready", "ContainersReady", "PodScheduled", "Initialized"].map(
            |kind| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}),
        );
        let status = json!({"status": {"phase": "Running", "conditions": conditions}}).to_string();
        let name = pod["metadata"]["name"].as_str().unwrap();
        let patch = [
            "patch",
            "pod",
            name,
            "-n",
            "egret-system",
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ];
        drop(cluster.server.kubectl(&patch, ""));
    }
}

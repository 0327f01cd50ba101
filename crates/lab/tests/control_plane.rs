//! The control plane that `make kubernetes` builds is a real one, and goes when it should.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use egret_lab::kubernetes::Alone;
use serde_json::{Value, json};

/// Pods are made here before any controller could make service accounts for them.
const FLAGS: &[&str] = &["--disable-admission-plugins=ServiceAccount"];

#[test]
fn api_server_has_our_kinds_keeps_what_it_was_told_when_killed_and_ends_with_its_starter() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kube-{}", std::process::id()));
    let server = Alone::start(&directory, FLAGS).unwrap();
    let kubectl = |server: &Alone, arguments: &[&str], input: &str| server.kubectl(arguments, input).unwrap();
    let version: Value = serde_json::from_str(&kubectl(&server, &["version", "-o", "json"], "")).unwrap();
    assert_eq!(version["serverVersion"]["gitVersion"], version["clientVersion"]["gitVersion"], "{version}");
    let crds = json!({"apiVersion": "v1", "kind": "List", "items": egret_api::crds()}).to_string();
    kubectl(&server, &["apply", "--server-side", "-f", "-"], &crds);
    kubectl(&server, &["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"], "");
    let explained = kubectl(&server, &["explain", "egresspools.spec.ranges"], "");
    assert!(explained.contains("cidr"), "{explained}");
    let pool = json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPool", "metadata": {"name": "kept"},
        "spec": {"ranges": [{"cidr": "10.10.0.64/28"}]},
    });
    kubectl(&server, &["apply", "--server-side", "-f", "-"], &pool.to_string());
    // By SIGKILL: it has no time to put anything in order.
    server.kill().unwrap();
    let server = Alone::start(&directory, FLAGS).unwrap();
    let names = kubectl(&server, &["get", "egresspools", "-o", "name"], "");
    assert_eq!(names.trim(), "egresspool.egret.dev/kept");
    let status = server.leave().unwrap();
    assert!(status.success(), "{status}");
    std::fs::remove_dir_all(&directory).unwrap();
}

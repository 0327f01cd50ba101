//! The control plane that `make kubernetes` builds is a real one, and goes when it should.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// An API server on the loopback address.
struct Server {
    child: Child,
    kubeconfig: String,
    directory: PathBuf,
}

impl Server {
    fn start(directory: &Path) -> Server {
        let log =
            std::fs::File::options().create(true).append(true).open(directory.with_extension("log")).unwrap();
        let mut child = Command::new(egret_lab::kubernetes::program().unwrap())
            .args(["apiserver", "--dir"])
            .arg(directory)
            .args(["--", "--disable-admission-plugins=ServiceAccount"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("{}", std::fs::read_to_string(directory.with_extension("log")).unwrap_or_default())
        });
        let kubeconfig = ready["kubeconfig"].as_str().unwrap().to_owned();
        Server { child, kubeconfig, directory: directory.to_owned() }
    }

    fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let mut child = Command::new(egret_lab::kubernetes::program().unwrap())
            .args(["kubectl", "--kubeconfig", &self.kubeconfig])
            .args(arguments)
            .env("KUBECACHEDIR", self.directory.join("discovery"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {words}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn api_server_has_our_kinds_keeps_what_it_was_told_when_killed_and_ends_with_its_starter() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kube-{}", std::process::id()));
    let mut server = Server::start(&directory);
    let version: Value = serde_json::from_str(&server.kubectl(&["version", "-o", "json"], "")).unwrap();
    assert_eq!(version["serverVersion"]["gitVersion"], version["clientVersion"]["gitVersion"], "{version}");
    let crds = json!({"apiVersion": "v1", "kind": "List", "items": egret_api::crds()}).to_string();
    server.kubectl(&["apply", "--server-side", "-f", "-"], &crds);
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"], "");
    let explained = server.kubectl(&["explain", "egresspools.spec.ranges"], "");
    assert!(explained.contains("cidr"), "{explained}");
    let pool = json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPool", "metadata": {"name": "kept"},
        "spec": {"ranges": [{"cidr": "10.10.0.64/28"}]},
    });
    server.kubectl(&["apply", "--server-side", "-f", "-"], &pool.to_string());
    // By SIGKILL: it has no time to put anything in order.
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let mut server = Server::start(&directory);
    let names = server.kubectl(&["get", "egresspools", "-o", "name"], "");
    assert_eq!(names.trim(), "egresspool.egret.dev/kept");
    drop(server.child.stdin.take());
    let status = server.child.wait().unwrap();
    assert!(status.success(), "{status}");
    drop(server);
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::remove_file(directory.with_extension("log")).unwrap();
}

//! `egret check` against a real API server: it finds what was broken, by name, and nothing else.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::cluster::Cluster;

/// The findings of `egret check WHAT`, by what was looked at, and the exit code.
fn check(cluster: &Cluster, what: &str) -> (BTreeMap<String, Vec<Value>>, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_egret"))
        .args(["check", what, "-o", "json", "--kubeconfig"])
        .arg(cluster.server.kubeconfig())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let mut findings: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for finding in report["findings"].as_array().unwrap() {
        findings.entry(finding["lookedAt"].as_str().unwrap().to_owned()).or_default().push(finding.clone());
    }
    (findings, output.status.code())
}

/// Everything that has to be mended, as `what was looked at: what was found`.
fn failures(findings: &BTreeMap<String, Vec<Value>>) -> Vec<String> {
    let bad = findings.values().flatten().filter(|finding| finding["verdict"] == "failure");
    bad.map(|finding| {
        format!("{}: {}", finding["lookedAt"].as_str().unwrap(), finding["found"].as_str().unwrap())
    })
    .collect()
}

/// Before Egret is there. The nodes have no address yet, which is the planted fault.
pub fn a_cluster_is_fit_once_its_nodes_have_addresses(cluster: &Cluster) {
    let (findings, code) = check(cluster, "cluster");
    assert_eq!(failures(&findings), ["nodes: node-1, node-2: no status.addresses of type InternalIP"]);
    assert_eq!(code, Some(1));
    for (node, address) in [("node-1", "192.0.2.1"), ("node-2", "192.0.2.2")] {
        let status =
            format!(r#"{{"status": {{"addresses": [{{"type": "InternalIP", "address": "{address}"}}]}}}}"#);
        cluster.kubectl(&["patch", "node", node, "--subresource=status", "--type=merge", "-p", &status]);
    }
    let (findings, code) = check(cluster, "cluster");
    assert_eq!((failures(&findings), code), (Vec::new(), Some(0)));
    for what in ["API server", "permissions to install", "definitions", "other egress systems"] {
        assert_eq!(findings[what][0]["verdict"], "ok", "{:#?}", findings[what]);
    }
}

/// After it was installed. Nobody runs its pods here, so none leads; the rest is as it must be until it is broken.
pub fn planted_faults_of_an_installation_are_found_by_name(cluster: &Cluster) {
    const NOBODY: &str = "controller: none leads: the Lease egret-controller has no holder";
    let (findings, code) = check(cluster, "installation");
    assert_eq!((failures(&findings), code), (vec![NOBODY.to_owned()], Some(1)));
    for what in [
        "definitions",
        "permissions of egret-agent",
        "permissions of egret-controller",
        "admission policies",
        "versions",
    ] {
        assert_eq!(findings[what][0]["verdict"], "ok", "{:#?}", findings[what]);
    }

    cluster.kubectl(&["delete", "crd", "egressdialects.egret.dev"]);
    cluster.kubectl(&["delete", "validatingadmissionpolicybinding", "egret-agent-own-node"]);
    let role = cluster.kubectl(&["get", "clusterrole", "egret-agent", "-o", "json"]);
    let mut role: Value = serde_json::from_str(&role).unwrap();
    let rules = role["rules"].as_array_mut().unwrap();
    let own =
        rules.iter_mut().find(|rule| rule["verbs"].as_array().unwrap().contains(&"delete".into())).unwrap();
    own["verbs"] = serde_json::json!(["create", "patch"]);
    cluster.server.kubectl(&["replace", "-f", "-"], &role.to_string()).unwrap();
    // The authorizer hears of a changed role a moment later.
    cluster.until("the three faults to be found", || {
        let (findings, _) = check(cluster, "installation");
        let found = failures(&findings);
        let expected = [
            "admission policies: not there, or not bound: egret-agent-own-node; a stolen token can write more than its own",
            NOBODY,
            "definitions: not there: egressdialects.egret.dev",
            "permissions of egret-agent: it may not delete egressnodes.egret.dev",
        ];
        if found == expected { Ok(()) } else { Err(format!("{found:#?}")) }
    });
}

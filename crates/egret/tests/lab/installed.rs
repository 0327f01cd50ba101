//! Egret as people install it: its DaemonSet and its Deployment become pods by Kubernetes' own controllers and scheduler, and
//! the lab's kubelets start what these pods say, with their privileges, their tokens and their probes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::api_server::{ask, not_well};
use crate::cluster::{networks, nothing_is_lost_in_a_rolling_update};
use crate::harness::{ANTREA_HA, Host, Lab, Store, assert_echoes};
use crate::{sources, survival};

const FAR: &str = "198.51.100.10:7000";
const WEB: &str = "10.10.0.11";

#[test]
fn seed_example_sends_prod_and_staging_by_their_addresses_under_each_cni_shape() {
    sources::seed_example_sends_prod_and_staging_by_their_addresses_under_each_cni_shape(Store::Installed);
}

#[test]
fn agents_and_controller_die_and_connections_do_not() {
    survival::agents_and_controller_die_and_connections_do_not(Store::Installed);
}

#[test]
fn its_pods_have_what_they_ask_for_and_are_replaced_and_started_again_without_loss() {
    let lab = Lab::up_on(Store::Installed, "t-inst", &networks());
    lab.host("outside-2").serve_sources(7000);
    lab.apply(ANTREA_HA);
    let webs =
        ["node-1", "node-2"].map(|node| (node, lab.pod("prod", &format!("web-{node}"), node, "app=web")));
    what_runs_has_the_privileges_of_its_pod_and_no_more(&lab);
    let (report, code) = ask(&lab, &["check", "installation"]);
    assert_eq!((not_well(&report), code), (Vec::new(), Some(0)), "{report:#}");
    replaced_by_their_own_strategies(&lab, &webs);
    what_dies_is_started_again(&lab, &webs[0].1);
    lab.assert_no_leak();
}

/// The pods of Egret, by name.
fn pods(lab: &Lab) -> BTreeMap<String, Value> {
    let text = lab.kubectl(&["get", "pods", "-n", "egret-system", "-o", "json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let pods = list["items"].as_array().cloned().unwrap_or_default();
    pods.into_iter().map(|pod| (pod["metadata"]["name"].as_str().unwrap().to_owned(), pod)).collect()
}

/// What the node's kubelet has started: what it is, by process id.
fn started(lab: &Lab, node: &str) -> BTreeMap<i64, String> {
    let directory = lab.directory().join("nodes").join(node).join("containers");
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let read = |path| serde_json::from_slice::<Value>(&std::fs::read(path).ok()?).ok();
    let of = |process: Value| Some((process["pid"].as_i64()?, process["role"].as_str()?.to_owned()));
    files.filter_map(|file| of(read(file.path())?)).collect()
}

/// A field of a process's status.
fn status(pid: i64, field: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn what_runs_has_the_privileges_of_its_pod_and_no_more(lab: &Lab) {
    // capabilities(7): NET_ADMIN 12, NET_RAW 13, PERFMON 38, BPF 39.
    let agents = [12, 13, 38, 39].iter().map(|bit| 1_u64 << bit).sum::<u64>();
    let mut found = Vec::new();
    for node in ["node-1", "node-2", "node-4", "node-5"] {
        for (pid, role) in started(lab, node) {
            let (capabilities, user) =
                if role == "agent" { (agents, "0 0 0 0") } else { (0, "65532 65532 65532 65532") };
            for set in ["CapPrm", "CapEff", "CapBnd"] {
                assert_eq!(status(pid, set), format!("{capabilities:016x}"), "{set} of the {role} of {node}");
            }
            assert_eq!(status(pid, "Uid"), user, "{role} of {node}");
            assert_eq!(status(pid, "NoNewPrivs"), "1", "{role} of {node}");
            let mounts = std::fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
            let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
            assert!(root.split(' ').nth(3).unwrap().split(',').any(|option| option == "ro"), "{root}");
            let secrets = format!("/proc/{pid}/root/var/run/secrets/kubernetes.io/serviceaccount");
            let token = std::fs::read_to_string(format!("{secrets}/token")).unwrap();
            assert_eq!(token.split('.').count(), 3, "a token: {token}");
            found.push(role);
        }
    }
    found.sort();
    assert_eq!(found, ["agent", "agent", "agent", "agent", "controller", "controller"]);
}

fn replaced_by_their_own_strategies(lab: &Lab, webs: &[(&str, Host)]) {
    let names = || pods(lab).into_keys().collect::<BTreeSet<_>>();
    let before = names();
    nothing_is_lost_in_a_rolling_update(lab, webs);
    let after = lab.until("only the new pods to be there", || {
        let after = names();
        if after.len() == 6 { Ok(after) } else { Err(format!("{after:?}")) }
    });
    assert!(before.len() == 6 && before.is_disjoint(&after), "{before:?}, then {after:?}");
}

fn what_dies_is_started_again(lab: &Lab, web: &Host) {
    let (mut stream, source) = web.connect(FAR.parse().unwrap());
    assert_eq!(source.to_string(), WEB);
    let agent = |pod: &Value| {
        pod["spec"]["nodeName"] == "node-1"
            && pod["metadata"]["labels"]["app.kubernetes.io/component"] == "agent"
    };
    lab.kill_programs("node-1");
    assert_echoes(&mut stream, "the agent is dead");
    lab.until("the agent to be started again, and ready", || {
        let pod = pods(lab).into_values().find(|pod| agent(pod)).ok_or("no pod")?;
        let container = &pod["status"]["containerStatuses"][0];
        let died = container["lastState"]["terminated"]["exitCode"] == 137 && container["restartCount"] == 1;
        (died && container["ready"] == true).then_some(()).ok_or(container.to_string())
    });
    assert_echoes(&mut stream, "and is there again");
    assert_eq!(web.connect(FAR.parse().unwrap()).1.to_string(), WEB);
}

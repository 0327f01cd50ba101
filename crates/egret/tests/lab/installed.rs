//! Egret as people install it: its DaemonSet and its Deployment become pods by Kubernetes' own controllers and scheduler, and
//! the lab's kubelets start what these pods say, with their privileges, their tokens and their probes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;

use serde_json::{Value, json};

use crate::api_server::{ask, not_well};
use crate::cluster::{networks, nothing_is_lost_in_a_rolling_update};
use crate::harness::{ANTREA_HA, Host, Lab, SILENCE, Store, assert_echoes};
use crate::{sources, survival};

const FAR: &str = "198.51.100.10:7000";
const WEB: &str = "10.10.0.11";
/// Where a pod of the node that joins sends to.
const LATE: u16 = 7103;

#[test]
fn seed_example_sends_prod_and_staging_by_their_addresses_under_each_cni_shape() {
    sources::seed_example_sends_prod_and_staging_by_their_addresses_under_each_cni_shape(Store::Installed);
}

#[test]
fn agents_and_controller_die_and_connections_do_not() {
    survival::agents_and_controller_die_and_connections_do_not(Store::Installed);
}

#[test]
fn its_pods_have_what_they_ask_for_and_are_replaced_without_loss_and_new_nodes_wait_for_theirs() {
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
    a_node_that_joins_has_no_pod_before_its_agent_is_ready(&lab);
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

/// A machine that the cluster does not know any more comes anew, as one of a group of nodes that grows.
fn a_node_that_joins_has_no_pod_before_its_agent_is_ready(lab: &Lab) {
    lab.egret(&["pod", "web-node-2", "-n", "prod", "--rm", "--no-wait"]);
    lab.egret(&["fault", "node-2", "power-off"]);
    lab.kubectl(&["delete", "node", "node-2"]);
    let own = "--field-selector=spec.nodeName=node-2";
    lab.kubectl(&["delete", "pods", "-n", "egret-system", own, "--force", "--grace-period=0"]);
    let (report, seen) = std::sync::mpsc::channel();
    lab.host("outside-2").run(move || {
        let socket = UdpSocket::bind(("0.0.0.0", LATE)).unwrap();
        while let Ok((_, peer)) = socket.recv_from(&mut [0; 64]) {
            if report.send(peer.ip().to_string()).is_err() {
                break;
            }
        }
    });
    let send =
        format!("exec 3<>/dev/udp/198.51.100.10/{LATE}; while :; do echo late >&3 || :; sleep 0.02; done");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "late", "namespace": "prod", "labels": {"app": "web"}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": "node-2"}, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": "lab", "command": ["bash", "-c", send]}],
        },
    });
    let file = lab.file("late", &pod.to_string());
    lab.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    lab.egret(&["fault", "node-2", "heal"]);
    assert_eq!(seen.recv_timeout(SILENCE * 8).unwrap(), WEB, "the first packet that came out of node-2");
    let phase = lab.kubectl(&["get", "pod", "late", "-n", "prod", "-o", "jsonpath={.status.phase}"]);
    assert_eq!(phase, "Running");
    let told = lab.kubectl(&["get", "events", "-n", "prod", "-o", "jsonpath={.items[*].message}"]);
    assert!(told.contains("didn't match Pod's node affinity/selector"), "it waited for its node: {told}");

    // In the order in which the server was asked: the agent says that it is ready, the controller takes the taint away, the
    // scheduler binds the pod.
    let log = std::fs::read_to_string(lab.directory().join("kubernetes/audit.jsonl")).unwrap();
    let entries: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let last = |user: &str, verb: &str, resource: &str, name: &str| {
        let is = |entry: &&Value| {
            let of = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let subresource = of("/objectRef/subresource");
            let whole = [of("/objectRef/resource"), subresource].join("/");
            of("/user/username").ends_with(user)
                && of("/verb") == verb
                && whole.trim_end_matches('/') == resource
                && of("/objectRef/name") == name
                && entry
                    .pointer("/responseStatus/code")
                    .and_then(Value::as_i64)
                    .is_some_and(|code| code < 300)
        };
        let entry = entries
            .iter()
            .rev()
            .find(is)
            .unwrap_or_else(|| panic!("nobody did: {user} {verb} {resource} {name}"));
        entry["stageTimestamp"].as_str().unwrap().to_owned()
    };
    let registered = last("admin", "patch", "nodes", "node-2");
    let taken = last("egret-controller", "patch", "nodes", "node-2");
    let bound = last("kube-scheduler", "create", "pods/binding", "late");
    assert!(registered < taken && taken < bound, "registered {registered}, taint {taken}, bound {bound}");
    assert!(seen.try_iter().all(|source| source == WEB));
    lab.kubectl(&["delete", "pod", "late", "-n", "prod"]);
    lab.until("it to be gone", || {
        let hosts = lab.hosts();
        let there = hosts.as_array().unwrap().iter().any(|host| host["name"] == "late");
        if there { Err("late".to_owned()) } else { Ok(()) }
    });
}

//! What others remove under our feet, on a real API server: definitions with all their records, a namespace with all
//! that is in it. And how little is asked of the server while nothing happens.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{ANTREA_HA, Lab, SMALL, Store, assert_echoes};

const FAR: &str = "198.51.100.10:7000";
/// A kind that is served again is found again within a minute.
const SOON: Duration = Duration::from_secs(90);
/// Who has not written anything for so long has nothing to write.
const SETTLED: Duration = Duration::from_secs(2);
/// How long nothing happens.
const REST: Duration = Duration::from_secs(10);

fn kubectl(lab: &Lab, arguments: &[&str]) -> String {
    lab.egret(&[&["kubectl"], arguments].concat())
}

/// What the records say, but for what changes by itself.
fn records(lab: &Lab) -> BTreeMap<String, Value> {
    let list = lab.try_egret(&["kubectl", "get", "egressaddresses", "-o", "json"]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap_or_default();
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().map(|item| (item["metadata"]["name"].to_string(), item["spec"].clone())).collect()
}

#[track_caller]
fn until<T>(what: &str, attempt: impl Fn() -> Result<T, String>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(last) => assert!(Instant::now() < deadline, "still not: {what}: {last}"),
        }
    }
}

/// Waits until leases that were not needed in the first seconds, and the records of it, are settled: nobody of Egret has
/// written anything for a while, but for who leads.
fn until_settled(lab: &Lab) {
    let log = lab.directory().join("kubernetes/audit.jsonl");
    let writes = || {
        let text = std::fs::read_to_string(&log).unwrap();
        let wrote = |entry: &Value| {
            entry["user"]["username"].as_str().is_some_and(|user| user.contains(":egret-system:"))
                && ["create", "patch", "update", "delete"].iter().any(|verb| entry["verb"] == *verb)
                && entry["objectRef"]["resource"] != "leases"
        };
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(wrote).count()
    };
    let mut last = (writes(), Instant::now());
    let deadline = Instant::now() + SOON;
    while last.1.elapsed() < SETTLED {
        assert!(Instant::now() < deadline, "{} writes, and no end of it", last.0);
        let now = writes();
        if now != last.0 {
            last = (now, Instant::now());
        }
        std::thread::yield_now();
    }
}

/// How often each of Egret's accounts asks for what, by the server's own record, while nothing happens.
fn asked_at_rest(lab: &Lab) -> BTreeMap<(String, String), usize> {
    let mut log = std::fs::File::open(lab.directory().join("kubernetes/audit.jsonl")).unwrap();
    log.seek(SeekFrom::End(0)).unwrap();
    // the claim is about time that passes
    std::thread::sleep(REST);
    let mut asked = BTreeMap::new();
    for line in BufReader::new(log).lines() {
        let Ok(entry) = serde_json::from_str::<Value>(&line.unwrap()) else { continue };
        let user = entry["user"]["username"].as_str().unwrap_or_default();
        let Some(account) = user.strip_prefix("system:serviceaccount:egret-system:") else { continue };
        // A watch is written down when it begins, and when it ends.
        if entry["verb"] == "watch" && entry["stage"] != "ResponseStarted" {
            continue;
        }
        let what = format!("{} {}", entry["verb"], entry["objectRef"]["resource"]);
        *asked.entry((account.to_owned(), what)).or_default() += 1;
    }
    asked
}

/// Removes an empty namespace. Nobody runs the controller here that gives its consent when it has emptied one.
fn remove_namespace(lab: &Lab, name: &str) {
    kubectl(lab, &["delete", "namespace", name, "--wait=false"]);
    let mut namespace: Value =
        serde_json::from_str(&kubectl(lab, &["get", "namespace", name, "-o", "json"])).unwrap();
    namespace["spec"]["finalizers"] = Value::Array(Vec::new());
    let file = lab.file("finalize", &namespace.to_string());
    let path = format!("/api/v1/namespaces/{name}/finalize");
    kubectl(lab, &["replace", "--raw", &path, "-f", file.to_str().unwrap()]);
    assert!(!lab.try_egret(&["kubectl", "get", "namespace", name]).status.success());
}

#[test]
fn removed_definitions_and_namespaces_move_no_address_and_stop_nothing_and_at_rest_little_is_asked() {
    let lab = Lab::up_on(Store::Kubernetes, "t-removed", SMALL);
    lab.apply(ANTREA_HA);
    lab.host("outside-2").serve_sources(7000);
    let (web, other) =
        (lab.pod("prod", "web", "node-1", "app=web"), lab.pod("staging", "other", "node-2", "app=web"));
    let (mut stream, source) = web.connect(FAR.parse().unwrap());
    assert_eq!(source.to_string(), "10.10.0.11");
    assert_eq!(other.connect(FAR.parse().unwrap()).1.to_string(), "10.10.0.12");
    until_settled(&lab);

    let asked = asked_at_rest(&lab);
    let of = |account: &str| -> usize {
        asked.iter().filter(|((of, _), _)| of == account).map(|(_, count)| count).sum()
    };
    let per_minute = |count: usize| count as f64 * 60.0 / REST.as_secs_f64();
    let (agents, controller) = (per_minute(of("egret-agent")) / 4.0, per_minute(of("egret-controller")));
    println!(
        "requests a minute at rest: {agents:.1} of an agent, {controller:.1} of the controller; {asked:?}"
    );
    assert!(agents <= 8.0, "{agents} requests a minute of an agent: {asked:?}");
    assert!(
        (25.0..=40.0).contains(&controller),
        "{controller} requests a minute of the controller: {asked:?}"
    );

    let before = records(&lab);
    assert_eq!(before.len(), 2, "{before:?}");
    let definitions = ["egressaddresses.egret.dev", "egressnodes.egret.dev", "egressdialects.egret.dev"];
    kubectl(&lab, &[&["delete", "crd", "--timeout=60s"], &definitions[..]].concat());
    assert!(records(&lab).is_empty());
    assert_echoes(&mut stream, "the definitions are gone");
    for node in ["node-4", "node-5"] {
        lab.egret(&["fault", node, "cut", "eth1"]);
        assert_echoes(&mut stream, "the other gateway carries on");
        assert_eq!(web.connect(FAR.parse().unwrap()).1.to_string(), "10.10.0.11", "while {node} is cut off");
        lab.egret(&["fault", node, "heal"]);
    }
    assert_eq!(other.connect(FAR.parse().unwrap()).1.to_string(), "10.10.0.12");

    let begun = Instant::now();
    let crds = std::process::Command::new(env!("CARGO_BIN_EXE_egret")).arg("crds").output().unwrap();
    let file = lab.file("crds", &String::from_utf8(crds.stdout).unwrap());
    kubectl(&lab, &["apply", "--server-side", "--force-conflicts", "-f", file.to_str().unwrap()]);
    let leases = |records: &BTreeMap<String, Value>| -> Vec<(Value, Value)> {
        records.values().map(|spec| (spec["address"].clone(), spec["leases"].clone())).collect()
    };
    until("the records to be back as they were", || {
        let now = records(&lab);
        if leases(&now) == leases(&before) { Ok(()) } else { Err(format!("{now:#?}\nbefore: {before:#?}")) }
    });
    until("every node to report", || {
        let nodes = lab.try_egret(&["kubectl", "get", "egressnodes", "-o", "name"]);
        let text = String::from_utf8_lossy(&nodes.stdout).into_owned();
        if text.lines().count() == 4 { Ok(()) } else { Err(text) }
    });
    println!("the records were back {:.1?} after their definitions", begun.elapsed());
    assert_echoes(&mut stream, "the records are back");
    let late = lab.pod("prod", "late", "node-2", "app=web");
    assert_eq!(
        late.connect(FAR.parse().unwrap()).1.to_string(),
        "10.10.0.11",
        "a node that needs leases now"
    );

    kubectl(&lab, &["delete", "pods", "--all", "-n", "staging", "--force", "--grace-period=0"]);
    remove_namespace(&lab, "staging");
    assert_echoes(&mut stream, "another namespace is gone");
    assert_eq!(web.connect(FAR.parse().unwrap()).1.to_string(), "10.10.0.11");
    let again = lab.pod("staging", "again", "node-1", "app=web");
    assert_eq!(again.connect(FAR.parse().unwrap()).1.to_string(), "10.10.0.12", "the namespace is back");
    lab.assert_no_leak();
}

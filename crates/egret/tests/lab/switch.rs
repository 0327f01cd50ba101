//! Egret beside a system that is still there: it watches until it is switched on.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::dialects::NETWORKS;
use crate::harness::{ANTREA_HA, DEADLINE, Host, Lab};

const FAR: &str = "198.51.100.10:7000";

fn source(pod: &Host) -> String {
    pod.tcp_source(FAR.parse().unwrap()).map_or_else(|error| error.to_string(), |source| source.to_string())
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> Result<(), String>) {
    let begun = Instant::now();
    while let Err(found) = holds() {
        assert!(begun.elapsed() < DEADLINE, "still not {what}: {found}");
        std::thread::yield_now();
    }
}

/// The link-layer address that answers for an address on the wire, if one does.
fn answers(lab: &Lab, address: &str) -> Option<String> {
    let observer = lab.host("outside-1");
    observer.command("ip", &["neigh", "flush", "to", address]);
    observer.command("ping", &["-c", "1", "-W", "1", address]);
    let table = observer.command("ip", &["neigh", "show", "to", address]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    let words: Vec<&str> = table.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "lladdr")?;
    words.get(at + 1).map(|mac| (*mac).to_owned())
}

#[test]
fn beside_the_original_system_egret_changes_nothing_until_it_is_switched_on_and_again_when_it_is_off() {
    // An agent that was told otherwise obeys the controller.
    let told = NETWORKS.replacen(
        "    masquerade: iptables\n",
        "    masquerade: iptables\n    agent: [--dialect, antrea=on]\n",
        1,
    );
    let lab = Lab::up("t-switch", &format!("{told}controller: [--dialect, antrea=observe]\n"));
    let (wire, observer) = (lab.host("node-5"), lab.host("outside-1"));
    // The original: node-5 has the address and answers for it.
    wire.command("ip", &["address", "add", "10.10.0.11/32", "dev", "eth1"]);
    observer.command("ip", &["address", "add", "10.10.0.200/24", "dev", "eth0"]);
    let theirs = answers(&lab, "10.10.0.11").expect("the original answers");
    lab.apply(ANTREA_HA);
    lab.host("outside-2").serve_sources(7000);
    let pod = lab.pod("prod", "web", "node-1", "app=web");

    let store = lab.directory().join("store");
    let untouched = || {
        assert_eq!(source(&pod), "172.16.0.1", "the pod leaves as before");
        assert_eq!(answers(&lab, "10.10.0.11").as_ref(), Some(&theirs), "the original answers alone");
        let records = std::fs::read_dir(store.join(".egret/records/EgressAddress")).unwrap();
        assert_eq!(records.count(), 0, "no address is claimed");
    };
    untouched();
    let statuses = |kind: &str| files(&store.join(".egret/status").join(kind));
    assert_eq!((statuses("Egress"), statuses("ExternalIPPool")), (0, 0), "no status is written");
    let explained = Command::new(env!("CARGO_BIN_EXE_egret"))
        .args(["explain", "pod", "prod/web", "--store"])
        .arg(&store)
        .output()
        .unwrap();
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    let would = "only observed, changes nothing; with antrea on it would decide; by 10.10.0.11";
    assert!(explained.contains(would) && explained.contains("=> the ordinary way"), "{explained}");

    // The original goes, Egret takes over.
    wire.command("ip", &["address", "del", "10.10.0.11/32", "dev", "eth1"]);
    lab.egret(&["controller"]);
    until("in force", || match source(&pod) {
        source if source == "10.10.0.11" => Ok(()),
        other => Err(other),
    });
    assert!(answers(&lab, "10.10.0.11").is_some(), "a gateway answers");

    // And back, without a word to any agent.
    lab.egret(&["controller", "--", "--dialect", "antrea=off"]);
    until("out of force", || match answers(&lab, "10.10.0.11") {
        None => Ok(()),
        Some(gateway) => Err(format!("{gateway} still answers")),
    });
    until("the ordinary way", || match source(&pod) {
        source if source == "172.16.0.1" => Ok(()),
        other => Err(other),
    });
    wire.command("ip", &["address", "add", "10.10.0.11/32", "dev", "eth1"]);
    untouched();
    // What the original answers by its address is no leak of Egret's.
    let theirs = |leak: &Value| {
        leak["headers"]["source"] == "10.10.0.11" && leak["headers"]["destination"] == "10.10.0.200"
    };
    let leaks: Vec<Value> = lab.leaks().into_iter().filter(|leak| !theirs(leak)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// Files below a directory.
fn files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

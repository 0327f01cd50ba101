//! Golden scenarios: transcripts in `tests/golden`. A line that begins with `>>> ` is a command, what follows
//! it up to an empty line is what it prints, then comes prose; `>>> apply` and `>>> delete` are followed by what
//! they read. `UPDATE_GOLDEN=1 cargo test -p egret-plan` writes what is printed now.

use std::net::IpAddr;
use std::path::Path;

use egret_api::PortUse;
use egret_plan::{Packet, explain};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::show;
use crate::sim::{Cluster, decode, pod_object};

#[test]
fn scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no scenario in {}", folder.display());
    let mut wrong = Vec::new();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "txt")) {
        let text = std::fs::read_to_string(file).unwrap();
        let played = play(&text);
        if played != text {
            match std::env::var_os("UPDATE_GOLDEN") {
                Some(_) => std::fs::write(file, played).unwrap(),
                None => wrong.push(format!("{}:\n{}", file.display(), difference(&text, &played))),
            }
        }
    }
    assert!(wrong.is_empty(), "run with UPDATE_GOLDEN=1 if this is right\n{}", wrong.join("\n"));
}

/// The first lines that differ.
fn difference(expected: &str, found: &str) -> String {
    let (mut e, mut f) = (expected.lines(), found.lines());
    for n in 1.. {
        match (e.next(), f.next()) {
            (None, None) => break,
            (a, b) if a == b => {}
            (a, b) => {
                return format!(
                    "line {n}\n  expected {}\n  found    {}",
                    a.unwrap_or("end"),
                    b.unwrap_or("end")
                );
            }
        }
    }
    "only line ends differ".to_owned()
}

/// Plays a transcript and returns it with what its commands print now.
fn play(text: &str) -> String {
    let mut cluster = Cluster::new();
    let (preface, rest) = text.split_at(text.find(">>> ").unwrap_or(text.len()));
    let mut played = preface.to_owned();
    for part in rest.split(">>> ").skip(1) {
        let (command, body) = part.split_once('\n').unwrap_or((part, ""));
        let reads = matches!(command, "apply" | "delete");
        let output = run(&mut cluster, command, body);
        played.push_str(&format!(">>> {command}\n"));
        let prose = match body.starts_with('\n') {
            true => &body[1..],
            false => body.split_once("\n\n").map_or("", |(_, prose)| prose),
        };
        match (reads, output.is_empty()) {
            (true, _) => played.push_str(body),
            (false, true) if prose.is_empty() && !body.starts_with('\n') => {}
            (false, _) => played.push_str(&format!("{output}\n{prose}")),
        }
    }
    if played.ends_with("\n\n") {
        played.pop();
    }
    played
}

fn run(cluster: &mut Cluster, command: &str, body: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["cluster"] => *cluster = Cluster::six_nodes(),
        ["apply"] => manifests(body).into_iter().for_each(|m| cluster.apply(decode(m))),
        ["delete"] => manifests(body).into_iter().for_each(|m| cluster.delete(&decode(m).key())),
        ["pod", name, "on", node, labels @ ..] => {
            let (namespace, name) = name.split_once('/').unwrap();
            let last = 10 + u8::try_from(cluster.world.pods_on(node).count()).unwrap();
            let pairs = labels.iter().map(|l| l.split_once('=').unwrap());
            let labels: serde_json::Map<String, Value> =
                pairs.map(|(k, v)| (k.to_owned(), json!(v))).collect();
            cluster.apply(pod_object(namespace, name, node, last, labels.into()));
        }
        ["power", "off", node] => drop(cluster.off.insert((*node).to_owned())),
        ["power", "on", node] => drop(cluster.off.remove(*node)),
        ["pass", time] => cluster.pass(time.parse::<SignedDuration>().unwrap()),
        ["flows", node, address, flows, busy @ ..] => {
            let busy_blocks = busy.iter().map(|b| b.parse().unwrap()).collect();
            let flows = PortUse { wanted_blocks: 0, flows: flows.parse().unwrap(), busy_blocks };
            cluster.flows.insert(((*node).to_owned(), address.parse().unwrap()), flows);
        }
        ["show", "addresses"] => return show::addresses(cluster),
        ["show", "statuses"] => return show::statuses(cluster),
        ["show", "plan", node] => return show::plan(cluster, node, &cluster.plans[*node]),
        ["show", "changes", node] => {
            // The settled cluster has nothing to change: its way from an empty kernel is shown.
            let empty = egret_plan::tables::Tables::default();
            let mut desired = cluster.plans[*node].tables.clone();
            desired.inside.clear();
            desired.nodes.clear();
            return show::changes(&egret_plan::diff(&empty, &desired));
        }
        ["import"] => return show::import(cluster),
        ["explain", pod, rest @ ..] => {
            let packet = match rest {
                ["to", protocol, address, port] => {
                    let protocol = if *protocol == "tcp" { 6 } else { 17 };
                    let address: IpAddr = address.parse().unwrap();
                    Some(Packet { address, protocol, port: port.parse().unwrap() })
                }
                _ => None,
            };
            return format!(
                "{}\n",
                explain(&cluster.world, &cluster.settings, pod.split_once('/').unwrap(), packet)
            );
        }
        _ => panic!("no command `{command}`"),
    }
    cluster.settle();
    String::new()
}

/// The objects of a text of YAML documents; a document may be a sequence.
fn manifests(text: &str) -> Vec<Value> {
    let documents =
        text.split("\n---").filter(|d| d.lines().any(|l| !l.trim().is_empty() && !l.starts_with('#')));
    documents
        .map(|d| serde_saphyr::from_str::<Value>(d).unwrap())
        .flat_map(|value| match value {
            Value::Array(items) => items,
            other => vec![other],
        })
        .collect()
}

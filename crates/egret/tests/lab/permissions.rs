//! What controller and agents do with an API server: all that they are granted and nothing more, and people are told.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::time::{Duration, Instant};

use egret_lab::kubernetes::installation;
use serde_json::Value;

use crate::dialects::NETWORKS;
use crate::harness::{ANTREA_HA, Lab, Store};

const OWN: &str = include_str!("own.yaml");
const OTHERS: [&str; 3] = [
    include_str!("../../../lab/demo/deckhouse.yaml"),
    include_str!("../../../lab/demo/kube-vip.yaml"),
    include_str!("../../../lab/demo/loxilb.yaml"),
];
const CONTROL: &str = "control: [172.16.0.253/24, \"fd00:0:0:1::fd/64\"]\n";
/// Longer than a Lease takes to run out.
const SOON: Duration = Duration::from_secs(40);

impl Lab {
    /// Runs kubectl on the lab's API server, and returns what it printed.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.egret(&[&["kubectl"], arguments].concat())
    }

    fn object(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[&["get", "-o", "json"], arguments].concat())).unwrap()
    }

    /// The events of an object, as `REASON NOTE`, and how often each was told.
    fn events(&self, kind: &str, name: &str) -> Vec<(String, i64)> {
        let all = self.object(&["events.events.k8s.io", "-A"]);
        let of = |event: &&Value| event["regarding"]["kind"] == kind && event["regarding"]["name"] == name;
        let text = |event: &Value| {
            let words = ["type", "reason", "note"].map(|field| event[field].as_str().unwrap_or_default());
            (words.join(" "), event["series"]["count"].as_i64().unwrap_or(1))
        };
        all["items"].as_array().unwrap().iter().filter(of).map(text).collect()
    }

    /// Tries again until it succeeds.
    #[track_caller]
    pub fn until<T>(&self, what: &str, attempt: impl Fn() -> Result<T, String>) -> T {
        let deadline = Instant::now() + SOON;
        loop {
            match attempt() {
                Ok(value) => return value,
                Err(last) => assert!(Instant::now() < deadline, "still not: {what}: {last}"),
            }
        }
    }

    #[track_caller]
    fn until_told(&self, kind: &str, name: &str, words: &str) {
        self.until(words, || {
            let events = self.events(kind, name);
            events.iter().any(|(text, _)| text.contains(words)).then_some(()).ok_or(format!("{events:#?}"))
        });
    }

    /// The keys of a Node's taints.
    fn taints(&self, node: &str) -> Vec<String> {
        let node = self.object(&["node", node]);
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        taints.iter().map(|taint| taint["key"].as_str().unwrap().to_owned()).collect()
    }
}

/// A verb that an account has, or uses: account, group, resource, verb.
type Right = (String, String, String, String);

/// What the installation grants.
fn granted() -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for role in installation().unwrap().iter().filter(|object| object["rules"].is_array()) {
        let account = role["metadata"]["name"].as_str().unwrap();
        let list = |rule: &Value, field: &str| -> Vec<String> {
            serde_json::from_value(rule[field].clone()).unwrap()
        };
        for rule in role["rules"].as_array().unwrap() {
            for group in list(rule, "apiGroups") {
                for resource in list(rule, "resources") {
                    for verb in list(rule, "verbs") {
                        rights.insert((account.to_owned(), group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
    }
    rights
}

/// What the API server wrote down that was used, and what of it was refused, with the server's words the first time.
fn used(lab: &Lab) -> (BTreeSet<Right>, BTreeMap<Right, String>) {
    let (mut rights, mut refused) = (BTreeSet::new(), BTreeMap::new());
    // A lab that did not come up may have none.
    let log = std::fs::read_to_string(lab.directory().join("kubernetes/audit.jsonl")).unwrap_or_default();
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let user = entry["user"]["username"].as_str().unwrap_or_default();
        let Some(account) = user.strip_prefix("system:serviceaccount:egret-system:") else { continue };
        let of = |field: &str| entry["objectRef"][field].as_str().unwrap_or_default().to_owned();
        let code = entry["responseStatus"]["code"].as_i64().unwrap_or_default();
        let resource = match of("subresource").as_str() {
            "" => of("resource"),
            subresource => format!("{}/{subresource}", of("resource")),
        };
        let right = |verb: &str| (account.to_owned(), of("apiGroup"), resource.clone(), verb.to_owned());
        let verb = entry["verb"].as_str().unwrap();
        if code == 401 || code == 403 {
            let words = entry["responseStatus"]["message"].as_str().unwrap_or_default();
            refused.entry(right(verb)).or_insert_with(|| format!("{code}: {words}"));
        }
        let mut uses = |verb: &str| {
            rights.insert(right(verb));
        };
        uses(verb);
        match verb {
            // What is applied and is not there is created, for which both are needed.
            "patch" if code == 201 => uses("create"),
            // This server streams lists; one that cannot is asked for the list.
            "watch" => uses("list"),
            _ => {}
        }
    }
    (rights, refused)
}

/// Everything that controller and agents ever do.
fn everything(lab: &Lab) {
    lab.kubectl(&["create", "namespace", "telephony"]);
    // One text: another of the same name would take the place of the first.
    lab.apply(&[OWN, ANTREA_HA].iter().chain(&OTHERS).copied().collect::<Vec<_>>().join("\n---\n"));
    lab.pod("prod", "web", "node-1", "app=web");
    let egress = ("Egress", "egress-prod-web");
    lab.until_told(egress.0, egress.1, "Normal AddressAssigned pods leave by 10.10.0.11, of ExternalIPPool/");
    let holder = lab.until("a holder", || {
        let egress = lab.object(&["egresses.crd.antrea.io", egress.1]);
        egress["status"]["egressNode"]
            .as_str()
            .map(str::to_owned)
            .filter(|node| !node.is_empty())
            .ok_or(egress.to_string())
    });
    lab.until_told(egress.0, egress.1, &format!("Normal GatewayChanged 10.10.0.11 is held by node {holder}"));
    let other = if holder == "node-4" { "node-5" } else { "node-4" };
    lab.egret(&["fault", &holder, "power-off"]);
    let words = format!(
        "10.10.0.11 is held by node {other}, no longer by {holder}: {holder} does not answer the nodes that use it"
    );
    lab.until_told(egress.0, egress.1, &words);
    lab.egret(&["fault", &holder, "heal"]);
    // As people look at it: by the object's own identity.
    let described = lab.kubectl(&["describe", "egresses.crd.antrea.io", egress.1]);
    assert!(described.contains("AddressAssigned") && described.contains(&words), "{described}");

    void_and_cured(lab);
    let six = lab.object(&["egressaddresses"]);
    lab.kubectl(&["delete", "clusteregresspolicy", "six"]);
    lab.until_told(
        "EgressPool",
        "six",
        "Normal AddressReleased nobody leaves by fd00:10:10::1000 any longer",
    );
    assert_ne!(six, lab.object(&["egressaddresses"]));

    lab.kubectl(&["delete", "lease", "egret-controller", "-n", "egret-system"]);
    lab.until("the Lease to be taken again", || {
        let leases = lab.object(&["leases", "-n", "egret-system"]);
        leases.pointer("/items/0/spec/holderIdentity").map(drop).ok_or(leases.to_string())
    });
    only_the_start_up_taint_goes_and_only_in_this_boot(lab);
    uninstalled(lab, "node-2");
}

/// A policy that names no pool, and then one, and again none: the same event once more, and not another one.
fn void_and_cured(lab: &Lab) {
    let event = "Warning PoolNotFound";
    let count = || {
        let of = |(text, _): &(String, i64)| text.starts_with(event);
        lab.events("EgressPolicy", "partners").into_iter().filter(of).collect::<Vec<_>>()
    };
    let is = |status: &str| {
        lab.kubectl(&[
            "wait",
            "egresspolicy/partners",
            "-n",
            "batch",
            &format!("--for=condition=Ready={status}"),
            "--timeout=30s",
        ]);
    };
    let pool = |name: &str| {
        let patch = format!("{{\"spec\": {{\"pool\": \"{name}\"}}}}");
        lab.kubectl(&["patch", "egresspolicy", "partners", "-n", "batch", "--type=merge", "-p", &patch]);
    };
    let deadline = Instant::now() + SOON;
    loop {
        pool("nowhere");
        is("false");
        lab.until_told("EgressPolicy", "partners", event);
        pool("partners");
        is("true");
        match count().as_slice() {
            [(_, 2..)] => break,
            events => assert!(events.len() == 1 && Instant::now() < deadline, "{events:#?}"),
        }
    }
    lab.until_told("EgressPolicy", "partners", "Normal Ready no longer PoolNotFound");
}

fn only_the_start_up_taint_goes_and_only_in_this_boot(lab: &Lab) {
    let taint = "egret.dev/agent-not-ready=:NoSchedule";
    lab.kubectl(&["taint", "nodes", "node-1", taint, "theirs=yes:NoSchedule"]);
    lab.until("the taint to go", || {
        let taints = lab.taints("node-1");
        (taints == ["theirs"]).then_some(()).ok_or(format!("{taints:?}"))
    });
    let boot = |id: &str| {
        let patch = format!("{{\"status\": {{\"nodeInfo\": {{\"bootID\": \"{id}\"}}}}}}");
        lab.kubectl(&["patch", "node", "node-5", "--subresource=status", "--type=merge", "-p", &patch]);
    };
    let now = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    boot("another");
    lab.kubectl(&["taint", "nodes", "node-5", taint]);
    lab.kubectl(&["taint", "nodes", "node-4", taint]);
    lab.until("the taint of the other node to go", || {
        lab.taints("node-4").is_empty().then_some(()).ok_or(String::new())
    });
    assert_eq!(lab.taints("node-5"), ["egret.dev/agent-not-ready"], "its agent is of another boot");
    boot(now.trim());
    lab.until("the taint to go", || lab.taints("node-5").is_empty().then_some(()).ok_or(String::new()));
}

/// An agent that is uninstalled takes its record along, and all that it put on its node.
fn uninstalled(lab: &Lab, node: &str) {
    let directory = lab.directory();
    lab.kill_programs(node);
    let output = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{}", lab.host(node).namespace))
        .arg(env!("CARGO_BIN_EXE_egret"))
        .args(["agent", "--store", "kubernetes", "--uninstall", "--node", node])
        .arg("--kubeconfig")
        .arg(directory.join(format!("kubernetes/egret-agent-{node}.kubeconfig")))
        .arg("--pin-dir")
        .arg(directory.join("bpf").join(node))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let left = lab.kubectl(&["get", "egressnodes", "-o", "name"]);
    assert!(!left.contains(node) && left.contains("node-1"), "{left}");
    // The node is as it was before: nothing in its rules and links, and no pins, by which programs are attached.
    let host = lab.host(node);
    for (program, arguments) in [("nft", ["list", "tables"]), ("ip", ["-o", "link"])] {
        let told = host.command(program, &arguments);
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(told.status.success() && !text.contains("egret"), "{program} {arguments:?}: {text}");
    }
    let pins = directory.join("bpf").join(node);
    assert!(std::fs::read_dir(&pins).map_or(true, |mut left| left.next().is_none()), "{}", pins.display());
}

#[test]
fn every_right_that_is_granted_is_used_and_none_is_missing() {
    let lab = Lab::not_up("t-rights");
    let done = catch_unwind(AssertUnwindSafe(|| {
        lab.rise(Store::Kubernetes, &format!("{NETWORKS}{CONTROL}"));
        everything(&lab);
    }));
    let (used, refused) = used(&lab);
    // A right that is missing stops something else first, which would not name it.
    assert!(refused.is_empty(), "needed and not granted: {refused:#?}");
    if let Err(stopped) = done {
        resume_unwind(stopped);
    }
    let granted = granted();
    assert!(!granted.is_empty() && !used.is_empty(), "nothing is granted, or nothing was written down");
    let idle: Vec<_> = granted.difference(&used).collect();
    assert!(idle.is_empty(), "granted and not used: {idle:#?}");
    let more: Vec<_> = used.difference(&granted).collect();
    assert!(more.is_empty(), "used by another grant: {more:#?}");
}

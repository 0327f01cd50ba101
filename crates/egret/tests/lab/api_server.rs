//! What happens when the API server is not there: nothing, until it is back.

use std::net::TcpStream;

use serde_json::Value;

use crate::harness::{ANTREA_HA, Host, Lab, SMALL, Store, assert_echoes};

const DECKHOUSE: &str = include_str!("../../../lab/demo/deckhouse-primary.yaml");
const FAR: &str = "198.51.100.10:7000";

fn connect(pod: &Host) -> (TcpStream, String) {
    let (stream, source) = pod.connect(FAR.parse().unwrap());
    (stream, source.to_string())
}

#[test]
fn a_gateway_fails_over_while_the_api_server_is_dead_and_changes_take_effect_when_it_takes_new_tokens() {
    let lab = Lab::up_on(Store::Kubernetes, "t-api", SMALL);
    lab.apply(ANTREA_HA);
    lab.host("outside-2").serve_sources(7000);
    let pod = lab.pod("prod", "web", "node-1", "app=web");
    let (mut stream, source) = connect(&pod);
    assert_eq!(source, "10.10.0.11");

    lab.egret(&["fault", "control", "power-off"]);
    assert!(!lab.try_egret(&["kubectl", "--request-timeout=2s", "get", "nodes"]).status.success());
    for node in ["node-4", "node-5"] {
        lab.egret(&["fault", node, "cut", "eth1"]);
        assert_echoes(&mut stream, "the other gateway carries on");
        assert_eq!(connect(&pod).1, "10.10.0.11", "a new connection while {node} is cut off");
        lab.egret(&["fault", node, "heal"]);
        assert_echoes(&mut stream, "and both are back");
    }

    no_token_is_accepted_any_more(&lab);
    lab.egret(&["fault", "control", "heal"]);
    lab.until("the tokens to be refused", || match refused(&lab) {
        // Four agents and the controller, who go on to ask.
        10.. => Ok(()),
        count => Err(format!("{count} times")),
    });
    assert_echoes(&mut stream, "the API server is back, and accepts nobody");
    for node in ["node-4", "node-5"] {
        lab.egret(&["fault", node, "cut", "eth1"]);
        assert_echoes(&mut stream, "the other gateway carries on");
        assert_eq!(connect(&pod).1, "10.10.0.11", "a new connection while {node} is cut off");
        lab.egret(&["fault", node, "heal"]);
    }
    renew_the_tokens(&lab);
    let other = lab.pod("staging", "other", "node-2", "app=web");
    assert_eq!(connect(&other).1, "10.10.0.12", "a pod that came afterwards");
    assert_eq!(connect(&pod).1, "10.10.0.11", "no address has moved");
    lab.assert_no_leak();
}

/// The server comes back with another key for tokens: those of the old one are as good as expired, for everybody at once.
fn no_token_is_accepted_any_more(lab: &Lab) {
    let directory = lab.directory().join("kubernetes");
    for file in ["sa.key", "sa.pub"] {
        std::fs::copy(directory.join("server.key"), directory.join(file)).unwrap();
    }
}

/// How often the server has refused somebody whom it does not know.
fn refused(lab: &Lab) -> usize {
    let log = std::fs::read_to_string(lab.directory().join("kubernetes/audit.jsonl")).unwrap();
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    entries.filter(|entry| entry["responseStatus"]["code"] == 401).count()
}

/// Puts new tokens where the old ones are, as kubelet does it.
fn renew_the_tokens(lab: &Lab) {
    let create = ["kubectl", "create", "token", "--namespace=egret-system", "--duration=24h"];
    let agents = ["node-1", "node-2", "node-4", "node-5"].map(|node| format!("egret-agent-{node}"));
    for name in agents.iter().map(String::as_str).chain(["egret-controller"]) {
        let pod = format!("--bound-object-name={name}");
        let of: &[&str] = match name {
            "egret-controller" => &[name],
            _ => &["egret-agent", "--bound-object-kind=Pod", &pod],
        };
        let token = lab.egret(&[&create, of].concat());
        let file = lab.directory().join(format!("kubernetes/{name}.kubeconfig"));
        let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        config["users"][0]["user"]["token"] = token.trim().into();
        // Who reads sees all of the old or all of the new.
        let draft = file.with_extension("draft");
        std::fs::write(&draft, config.to_string()).unwrap();
        std::fs::rename(draft, file).unwrap();
    }
}

#[test]
fn kubectl_speaks_to_the_api_server_of_its_lab() {
    let lab = Lab::up_on(Store::Kubernetes, "t-kubectl", SMALL);
    lab.apply(ANTREA_HA);
    lab.pod("prod", "web", "node-1", "app=web");
    let nodes = lab.egret(&["kubectl", "get", "nodes", "-o", "name"]);
    assert_eq!(nodes.lines().count(), 4, "{nodes}");
    let pods = lab.egret(&["kubectl", "get", "pods", "-n", "prod", "-o", "wide"]);
    assert!(pods.contains("Running") && pods.contains("node-1"), "{pods}");
    let egress =
        lab.egret(&["kubectl", "get", "egress", "egress-prod-web", "-o", "jsonpath={.status.egressIP}"]);
    assert_eq!(egress, "10.10.0.11");
    let own = lab
        .host("control")
        .command(env!("CARGO_BIN_EXE_egret"), &["import", "cluster", "--kubeconfig", &kubeconfig(&lab)]);
    let own = String::from_utf8_lossy(&own.stdout).into_owned();
    assert!(own.contains("kind: EgressPool") && own.contains("kind: ClusterEgressPolicy"), "{own}");
    let told = lab.host("control").command(
        env!("CARGO_BIN_EXE_egret"),
        &["explain", "pod", "prod/web", "--store", "kubernetes", "--kubeconfig", &kubeconfig(&lab)],
    );
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("=> leaves by 10.10.0.11"), "{told}");
    the_command_line_tells_of_the_installation(&lab);
    deckhouses_commands(&lab);
}

/// The command line as an administrator of the lab's cluster, for programs: what it answers, and its exit code.
pub fn ask(lab: &Lab, arguments: &[&str]) -> (Value, Option<i32>) {
    let admin = lab.directory().join("kubernetes/admin.kubeconfig").display().to_string();
    let arguments = [arguments, &["-o", "json", "--kubeconfig", &admin]].concat();
    let output = lab.host("control").command(env!("CARGO_BIN_EXE_egret"), &arguments);
    let answer = serde_json::from_slice(&output.stdout);
    let answer = answer.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    (answer, output.status.code())
}

/// What was looked at and is not well, with what was found.
pub fn not_well(report: &Value) -> Vec<String> {
    let bad = report["findings"].as_array().unwrap().iter().filter(|finding| finding["verdict"] != "ok");
    bad.map(|f| format!("{}: {}", f["lookedAt"].as_str().unwrap(), f["found"].as_str().unwrap())).collect()
}

fn the_command_line_tells_of_the_installation(lab: &Lab) {
    // A lab's controller is a process of a node, and no pod of the Deployment.
    let (report, code) = ask(lab, &["check", "installation"]);
    let found = not_well(&report);
    assert!(found.len() == 1 && found[0].contains("0 of 2 are ready"), "{report:#}");
    assert_eq!(code, Some(0));

    let (ports, _) = ask(lab, &["ports", "10.10.0.11"]);
    assert_eq!(
        (&ports[0]["node"], &ports[0]["pool"]),
        (&"node-1".into(), &"ExternalIPPool/external-ip-pool".into()),
        "{ports:#}"
    );
    let first = lab.egret(&[
        "kubectl",
        "get",
        "egressaddress",
        "10-10-0-11",
        "-o",
        "jsonpath={.spec.leases[0].firstPort}",
    ]);
    let (owner, code) = ask(lab, &["who", &format!("10.10.0.11:{first}")]);
    assert_eq!(
        (&owner["node"], &owner["pods"], code),
        (&"node-1".into(), &serde_json::json!(["prod/web"]), Some(0)),
        "{owner:#}"
    );
    assert_eq!(ask(lab, &["who", "10.10.0.11:1"]).1, Some(1), "a port that is nobody's");

    lab.apply(
        "apiVersion: egret.dev/v1alpha1\nkind: EgressPolicy\nmetadata: { name: lost, namespace: prod }\n\
         spec: { podSelector: {}, pool: nowhere }\n",
    );
    lab.egret(&[
        "kubectl",
        "wait",
        "egresspolicy/lost",
        "-n",
        "prod",
        "--for=condition=Ready=false",
        "--timeout=30s",
    ]);
    let (report, code) = ask(lab, &["check", "installation"]);
    let found = not_well(&report);
    assert!(
        found.iter().any(|f| f.starts_with("policies and pools: PoolNotFound: EgressPolicy prod/lost")),
        "{report:#}"
    );
    assert_eq!((found.len(), code), (2, Some(1)), "{report:#}");

    let pins = lab.directory().join("bpf/node-1").display().to_string();
    let node = lab.host("node-1").namespace;
    let check = std::process::Command::new("nsenter")
        .arg(format!("--net=/run/netns/{node}"))
        .args([
            env!("CARGO_BIN_EXE_egret"),
            "check",
            "node",
            "-o",
            "json",
            "--address",
            "10.0.0.1",
            "--pin-dir",
            &pins,
        ])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&check.stdout).unwrap();
    let of =
        |what: &str| report["findings"].as_array().unwrap().iter().find(|f| f["lookedAt"] == what).unwrap();
    assert!(
        of("Egret's datapath")["found"].as_str().unwrap().contains("goes on with this one"),
        "{report:#}"
    );
    assert!(of("UDP port 8474")["found"].as_str().unwrap().contains("Egret's own egret0"), "{report:#}");
    assert!(check.status.success(), "{report:#}");
}

/// 47: the commands by which Deckhouse's documentation makes a gateway and looks after it, with kubectl where it says `d8 k`.
/// Its last one, the node's agents, is asked of their own records.
#[track_caller]
fn deckhouses_commands(lab: &Lab) {
    let items = |arguments: &[&str]| {
        let list = lab.egret(&[&["kubectl", "get"], arguments, &["-ojson"]].concat());
        let list: Value = serde_json::from_str(&list).unwrap();
        list["items"].as_array().unwrap().clone()
    };
    let names = |items: Vec<Value>| -> Vec<String> {
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = ["node-1", "node-2", "node-4", "node-5"];
    lab.egret(&["kubectl", "label", "node", "node-5", "dedicated/egress="]);
    lab.apply(DECKHOUSE);
    assert_eq!(names(items(&["nodes", "-l", "dedicated/egress="])), ["node-5"]);
    let is = |item: &Value, kind: &str| {
        let conditions = item["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| c["type"] == kind && c["status"] == "True")
    };
    let ready = items(&["nodes"]).into_iter().filter(|node| is(node, "Ready")).collect();
    assert_eq!(names(ready), all);
    assert_eq!(names(items(&["nodes", "--field-selector", "spec.unschedulable=false"])), all);
    let agents: Vec<Value> =
        items(&["egressnodes"]).into_iter().filter(|node| node["spec"]["ready"] == true).collect();
    assert_eq!(names(agents), all);
    let wait = ["kubectl", "wait", "egressgateway/egress-gw", "--timeout=10s"];
    lab.egret(&[&wait[..], &["--for=condition=Ready"]].concat());
    lab.egret(&[&wait[..], &["--for=jsonpath={.status.activeNodeName}=node-5"]].concat());
    // `curl ifconfig.me`: a server outside that answers with the source it saw.
    lab.host("outside-2").serve_sources(7000);
    let backend = lab.pod("default", "backend", "node-1", "app=backend");
    assert_eq!(connect(&backend).1, "10.10.0.105");
    lab.assert_no_leak();
}

/// Times that somebody applied the status of an Egress.
fn applied(lab: &Lab) -> u64 {
    let metrics = lab.egret(&["kubectl", "get", "--raw", "/metrics"]);
    let own = metrics.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && ["resource=\"egresses\"", "subresource=\"status\"", "verb=\"APPLY\""]
                .iter()
                .all(|part| line.contains(part))
    });
    own.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).map(|count| count as u64).sum()
}

#[test]
fn who_overwrites_a_status_again_and_again_is_given_way() {
    let lab = Lab::up_on(Store::Kubernetes, "t-rival", SMALL);
    lab.apply(ANTREA_HA);
    lab.host("outside-2").serve_sources(7000);
    let pod = lab.pod("prod", "web", "node-1", "app=web");
    assert_eq!(connect(&pod).1, "10.10.0.11");
    let before = applied(&lab);
    assert!(before > 0, "the server counts");
    // Antrea's own controller, say: whatever is written, it writes something else.
    let (begun, mut overwritten) = (std::time::Instant::now(), 0);
    while begun.elapsed() < std::time::Duration::from_secs(12) {
        let theirs = format!("{{\"status\":{{\"egressNode\":\"rival-{overwritten}\"}}}}");
        let patch = ["kubectl", "patch", "egress", "egress-prod-web", "--subresource=status", "--type=merge"];
        lab.egret(&[&patch[..], &["--field-manager=rival", "-p", &theirs]].concat());
        overwritten += 1;
    }
    let ours = applied(&lab) - before;
    assert!(overwritten >= 20, "the rival wrote {overwritten} times only");
    assert!((1..=6).contains(&ours), "{ours} writes against {overwritten}");
    assert_eq!(connect(&pod).1, "10.10.0.11", "packets go on as they should");
}

/// The controller's, which may read everything that Egret reads.
fn kubeconfig(lab: &Lab) -> String {
    let arguments = lab.host("node-1").pids.into_iter().find_map(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words: Vec<String> =
            line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        words.iter().any(|word| word == "controller").then_some(words)
    });
    let arguments = arguments.unwrap();
    let at = arguments.iter().position(|word| word == "--kubeconfig").unwrap();
    arguments[at + 1].clone()
}

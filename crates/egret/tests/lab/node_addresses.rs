//! Pods that leave by a node's own address, which the node goes on using: its services, its own connections, its pings and
//! the overlay itself are not disturbed; a node that leaves the pool keeps the connections it has, one that dies ends them
//! promptly.

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{DEADLINE, Host, Lab, SMALL, assert_echoes};

const DECKHOUSE: &str = include_str!("../../../lab/demo/deckhouse-primary.yaml");
const ANTREA: &str = include_str!("../../../lab/demo/antrea-static.yaml");
const SERVER: &str = "198.51.100.10:7000";

/// The lab with labels by which gateways are chosen, one node at a time as well.
fn lab(name: &str) -> Lab {
    let label = |text: &str, node: &str| {
        let from = format!("wire: [10.10.0.10{node}/24");
        text.replacen(
            &from,
            &format!("labels: {{ dedicated/egress: \"\", number: \"{node}\" }}\n    {from}"),
            1,
        )
    };
    let lab = Lab::up(name, &label(&label(SMALL, "4"), "5"));
    lab.host("outside-2").serve_sources(7000);
    lab
}

fn address_of(node: &str) -> &'static str {
    if node == "node-4" { "10.10.0.104" } else { "10.10.0.105" }
}

fn other(node: &str) -> &'static str {
    if node == "node-4" { "node-5" } else { "node-4" }
}

fn status(lab: &Lab, object: &str) -> Value {
    let path = lab.directory().join(format!("store/.egret/status/{object}.json"));
    std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Waits until an object's status has this at this place.
#[track_caller]
fn told(lab: &Lab, object: &str, field: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let status = status(lab, object);
        if let Some(found) = status.pointer(field).filter(|found| wanted(found)) {
            return found.clone();
        }
        assert!(begun.elapsed() < DEADLINE, "{object}: {status:#}");
        std::thread::yield_now();
    }
}

/// The active node of the example's gateway.
#[track_caller]
fn active(lab: &Lab, nodes: &[&'static str]) -> &'static str {
    let named = |value: &Value| nodes.iter().any(|node| value == node);
    let found = told(lab, "EgressGateway/_/egress-gw", "/activeNodeName", named);
    nodes.iter().find(|node| found == ***node).unwrap()
}

/// Connections of a pod, all with this source.
#[track_caller]
fn connect(pod: &Host, count: usize, source: &str) -> Vec<TcpStream> {
    let one = |_| {
        let (stream, seen) = pod.connect(SERVER.parse().unwrap());
        assert_eq!(seen.to_string(), source, "{}", pod.namespace);
        stream
    };
    (0..count).map(one).collect()
}

#[track_caller]
fn assert_source(pod: &Host, source: &str) {
    assert_eq!(pod.tcp_source(SERVER.parse().unwrap()).unwrap().to_string(), source, "{}", pod.namespace);
    let datagram = pod.udp_source_asking_again(SERVER.parse().unwrap()).unwrap();
    assert_eq!(datagram.to_string(), source, "{}", pod.namespace);
}

/// The node's own business on its address: services below and among the leased ports, connections of its own to where the
/// pods go as well, pings in both directions.
#[track_caller]
fn assert_the_nodes_own(lab: &Lab, node: &str, address: &str, ports: [u16; 2]) {
    let (host, outside) = (lab.host(node), lab.host("outside-2"));
    for port in ports {
        let service = format!("{address}:{port}").parse().unwrap();
        outside.tcp_source(service).unwrap_or_else(|error| panic!("{service} is not reached: {error}"));
        outside.udp_source(service).unwrap_or_else(|error| panic!("{service} does not answer: {error}"));
    }
    for _ in 0..20 {
        host.tcp_source(SERVER.parse().unwrap()).unwrap();
        host.udp_source(SERVER.parse().unwrap()).unwrap();
    }
    for (from, to) in [(&outside, address), (&host, "198.51.100.10")] {
        let ping = from.command("ping", &["-c", "2", "-i", "0.2", "-W", "2", to]);
        assert!(ping.status.success(), "{to}: {}", String::from_utf8_lossy(&ping.stdout));
    }
}

#[test]
fn deckhouses_primary_address_runs_as_written_and_the_node_keeps_its_own() {
    let lab = lab("t-primary");
    lab.apply(DECKHOUSE);
    let master = active(&lab, &["node-4", "node-5"]);
    let address = address_of(master);
    told(&lab, "EgressGateway/_/egress-gw", "/readyNodes", |ready| ready == 2);
    told(&lab, "EgressGateway/_/egress-gw", "/conditions/0/reason", |reason| reason == "ElectionSucceed");
    // 40960 is the first port that may be leased, and one of the first that are.
    let ports = [7100, 40970];
    ports.iter().for_each(|port| lab.host(master).serve_sources(*port));
    let pods = ["node-1", "node-2", master]
        .map(|node| lab.pod("default", &format!("vm-{node}"), node, "app=backend"));
    let stranger = lab.pod("elsewhere", "stranger", master, "app=backend");
    let mut held: Vec<TcpStream> = pods.iter().flat_map(|pod| connect(pod, 5, address)).collect();
    for pod in &pods {
        assert_source(pod, address);
        let ping = pod.command("ping", &["-c", "2", "-i", "0.2", "-W", "2", "198.51.100.10"]);
        assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
    }
    assert_the_nodes_own(&lab, master, address, ports);
    // What the node masquerades has the same address, and ports that the kernel chose.
    for _ in 0..20 {
        assert_source(&stranger, address);
    }
    let reserved = lab.host(master).command("cat", &["/proc/sys/net/ipv4/ip_local_reserved_ports"]);
    assert_eq!(String::from_utf8_lossy(&reserved.stdout).trim(), "40960-65535");
    held.iter_mut().for_each(|stream| assert_echoes(stream, "meanwhile"));
    lab.assert_no_leak();
}

#[test]
fn a_node_that_leaves_the_pool_keeps_its_connections_until_they_end() {
    let lab = lab("t-drain");
    lab.apply(DECKHOUSE);
    let pods =
        ["node-1", "node-2"].map(|node| lab.pod("default", &format!("vm-{node}"), node, "app=backend"));
    let old = active(&lab, &["node-4", "node-5"]);
    let mut held: Vec<TcpStream> = pods.iter().flat_map(|pod| connect(pod, 5, address_of(old))).collect();
    let new = other(old);
    let number = new.trim_start_matches("node-");
    let relabelled = DECKHOUSE.replace("dedicated/egress: \"\"", &format!("number: \"{number}\""));
    assert_ne!(relabelled, DECKHOUSE);
    lab.apply(&relabelled);
    active(&lab, &[new]);
    held.iter_mut().for_each(|stream| assert_echoes(stream, "the node left the pool"));
    pods.iter().for_each(|pod| assert_source(pod, address_of(new)));
    held.extend(pods.iter().flat_map(|pod| connect(pod, 2, address_of(new))));
    held.iter_mut().for_each(|stream| assert_echoes(stream, "both ways at once"));
    lab.assert_no_leak();
}

#[test]
fn connections_of_a_dead_nodes_address_are_reset_promptly() {
    let lab = lab("t-reset");
    lab.apply(DECKHOUSE);
    let pods =
        ["node-1", "node-2"].map(|node| lab.pod("default", &format!("vm-{node}"), node, "app=backend"));
    let dying = active(&lab, &["node-4", "node-5"]);
    let held: Vec<TcpStream> = pods.iter().flat_map(|pod| connect(pod, 20, address_of(dying))).collect();
    lab.egret(&["fault", dying, "power-off"]);
    let begun = Instant::now();
    for mut stream in held {
        // Nothing is sent: who only waits for an answer hears of it as well.
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let error = stream.read(&mut [0; 8]).expect_err("nobody closed it");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(6), "the last was reset after {took:?}");
    eprintln!("40 idle connections were reset within {took:?}");
    pods.iter().for_each(|pod| assert_source(pod, address_of(other(dying))));
    active(&lab, &[other(dying)]);
    let counted = |node| {
        let metrics = lab.metrics(node);
        let line = metrics.lines().find_map(|line| line.strip_prefix("egret_connections_reset_total "));
        line.and_then(|count| count.parse::<u64>().ok())
    };
    // A sweep tells what it did when it is through.
    let begun = Instant::now();
    while ["node-1", "node-2"].map(counted) != [Some(20), Some(20)] {
        assert!(begun.elapsed() < DEADLINE, "{:?}", ["node-1", "node-2"].map(counted));
    }
    lab.assert_no_leak();
}

#[test]
fn antreas_static_example_runs_as_written_and_follows_an_address_that_is_moved_by_hand() {
    let lab = lab("t-static");
    lab.apply(ANTREA);
    let prod = lab.pod("prod", "a", "node-1", "app=any");
    let staging = lab.pod("staging", "b", "node-2", "app=any");
    assert_source(&prod, "10.10.0.104");
    assert_source(&staging, "10.10.0.105");
    told(&lab, "Egress/_/egress-prod", "/egressNode", |node| node == "node-4");
    told(&lab, "Egress/_/egress-staging", "/egressIP", |address| address == "10.10.0.105");
    assert_eq!(status(&lab, "Egress/_/egress-prod").get("conditions"), None, "a static Egress has none");
    let mut held = connect(&prod, 5, "10.10.0.104");
    for (node, what) in [("node-4", "del"), ("node-5", "add")] {
        let moved = lab.host(node).command("ip", &["addr", what, "10.10.0.104/24", "dev", "eth1"]);
        assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    }
    // Who moves an address by hand tells the neighbours.
    lab.host("router").command("ip", &["neigh", "flush", "dev", "eth1"]);
    told(&lab, "Egress/_/egress-prod", "/egressNode", |node| node == "node-5");
    held.iter_mut().for_each(|stream| assert_echoes(stream, "it moved"));
    assert_source(&prod, "10.10.0.104");
    let gone = lab.host("node-5").command("ip", &["addr", "del", "10.10.0.104/24", "dev", "eth1"]);
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    let message = told(&lab, "Egress/_/egress-prod", "/conditions/0/message", Value::is_string);
    assert!(message.as_str().unwrap().contains("no node has 10.10.0.104"), "{message}");
    prod.tcp_source(SERVER.parse().unwrap()).unwrap_err();
    lab.assert_no_leak();
}

const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

fn reserved(lab: &Lab, node: &str) -> String {
    let told = lab.host(node).command("cat", &[RESERVED]);
    String::from_utf8_lossy(&told.stdout).trim().to_owned()
}

#[test]
fn reserved_ports_are_as_they_were_when_the_last_such_address_goes() {
    let lab = lab("t-reserved");
    let (before, with_ours) = ("8080,50000-50010", "8080,40960-65535");
    let host = lab.host("node-4");
    let run = |program: &str, arguments: &[&str]| {
        let output = host.command(program, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run("sh", &["-c", &format!("echo {before} > {RESERVED}")]);
    lab.apply(ANTREA);
    let prod = lab.pod("prod", "a", "node-1", "app=any");
    assert_source(&prod, "10.10.0.104");
    assert_eq!(reserved(&lab, "node-4"), with_ours);
    lab.kill_programs("node-4");
    lab.egret(&["fault", "node-4", "heal"]);
    lab.apply(ANTREA);
    assert_eq!(reserved(&lab, "node-4"), with_ours, "the next agent knows what the first one found");
    lab.kill_programs("node-4");
    run("ip", &["addr", "del", "10.10.0.104/24", "dev", "eth1"]);
    lab.egret(&["fault", "node-4", "heal"]);
    let begun = Instant::now();
    while reserved(&lab, "node-4") != before {
        assert!(begun.elapsed() < DEADLINE, "{:?}", reserved(&lab, "node-4"));
    }
    assert_eq!(reserved(&lab, "node-5"), "40960-65535", "another node's address is used as before");
    lab.assert_no_leak();
}

#[test]
fn the_address_between_nodes_is_an_egress_address_as_well() {
    let lab = lab("t-internal");
    lab.apply(&ANTREA.replace("10.10.0.104", "10.0.0.1").replace("10.10.0.105", "fd00:0:0:1::1"));
    let ports = [7100, 40970];
    ports.iter().for_each(|port| lab.host("node-1").serve_sources(*port));
    // One on the node itself, one from where the overlay, or the link, leads to this very address.
    let pods = ["node-1", "node-2"].map(|node| lab.pod("prod", &format!("a-{node}"), node, "app=any"));
    let six = lab.pod("staging", "six", "node-2", "app=any");
    let stranger = lab.pod("elsewhere", "stranger", "node-1", "app=any");
    let mut held: Vec<TcpStream> = pods.iter().flat_map(|pod| connect(pod, 5, "10.0.0.1")).collect();
    pods.iter().for_each(|pod| assert_source(pod, "10.0.0.1"));
    let server6 = "[fd00:198:51:100::10]:7000".parse().unwrap();
    assert_eq!(six.tcp_source(server6).unwrap().to_string(), "fd00:0:0:1::1");
    assert_the_nodes_own(&lab, "node-1", "10.0.0.1", ports);
    assert_source(&stranger, "10.0.0.1");
    held.iter_mut().for_each(|stream| assert_echoes(stream, "meanwhile"));
    lab.assert_no_leak();
}

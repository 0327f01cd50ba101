//! The sniffer is the oracle of every other test, so it is proven by planted leaks. Needs root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use egret_api::{EgressNode, EgressNodeSpec, Object};
use egret_lab::pod::{self, PodRequest};
use egret_lab::state::{Paths, State, StoreKind};
use egret_lab::topology::{DEFAULT, Topology};
use egret_lab::up::{self, Parts};
use egret_lab::{down, manifest, netns, sniff};

const OUTSIDE: &str = "198.51.100.10:9";
const POLICY: &str = "
apiVersion: egret.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: web}
spec:
  namespaceSelector: {}
  podSelector: {matchLabels: {app: web}}
  pool: nowhere
";

/// A lab without programs, whose sniffer is a thread of the test.
struct Lab {
    paths: Paths,
    state: State,
}

impl Lab {
    fn up(name: &str, topology: &str) -> Lab {
        let paths = Paths::of(&format!("{name}-{}", std::process::id())).unwrap();
        let parts = Parts { programs: false, sniffer: false, store: StoreKind::Directory, installed: false };
        let state = up::up(&paths, Topology::parse(topology).unwrap(), parts, &|_| {}).unwrap();
        let own = paths.clone();
        netns::spawn_in(&state.switch(), move || sniff::run(&own)).unwrap();
        sniff::report(&paths, Duration::from_secs(5)).unwrap();
        Lab { paths, state }
    }

    fn pod(&mut self, name: &str, app: &str) {
        let labels: BTreeMap<String, String> = [("app".to_owned(), app.to_owned())].into();
        let (namespace, node) = ("prod".to_owned(), "node-2".to_owned());
        let request = PodRequest {
            namespace,
            name: name.to_owned(),
            node,
            labels,
            second: None,
            process: Vec::new(),
            by_kubelet: false,
        };
        pod::create(&self.paths, &mut self.state, &request).unwrap();
    }

    fn send(&self, pod: &str) {
        let namespace = &self.state.host(pod).unwrap().netns;
        let send = || Ok(UdpSocket::bind("0.0.0.0:0")?.send_to(b"leak", OUTSIDE)?);
        netns::run_in(namespace, send).unwrap();
    }

    /// What the sniffer objects to, once it has looked at `seen` packets.
    fn objections(&self, seen: u64) -> Vec<(String, String)> {
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while sniff::report(&self.paths, Duration::from_secs(5)).unwrap().seen < seen {
            assert!(std::time::Instant::now() < deadline, "the sniffer has not seen {seen} packets");
        }
        let word = |leak: &serde_json::Value, pointer: &str| {
            leak.pointer(pointer).unwrap().as_str().unwrap().to_owned()
        };
        let leaks = sniff::leaks(&self.paths).unwrap();
        leaks.iter().map(|leak| (word(leak, "/why"), word(leak, "/headers/source"))).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        down::down(&self.paths).unwrap();
    }
}

#[test]
fn a_pods_own_source_is_seen() {
    let mut lab = Lab::up("leak-a", &DEFAULT.replace("masquerade: iptables", "masquerade: none"));
    lab.pod("web", "web");
    lab.send("web");
    assert_eq!(lab.objections(1), [("PodSource".to_owned(), "10.244.2.10".to_owned())]);
}

#[test]
fn a_selected_pod_behind_its_nodes_address_is_seen_and_others_are_not() {
    let mut lab = Lab::up("leak-b", DEFAULT);
    lab.pod("web", "web");
    lab.pod("plain", "plain");
    lab.send("web");
    assert_eq!(lab.objections(1), [], "before there is a policy");
    let store = manifest::store(&lab.paths).unwrap();
    store.write_manifest("policy.yaml", POLICY).unwrap();
    lab.send("web");
    assert_eq!(lab.objections(2), [], "the node has not heard of the policy");
    let observed_objects = store.snapshot().objects_digest;
    let node = EgressNode::new("node-2", EgressNodeSpec { observed_objects, ..EgressNodeSpec::default() });
    store.write_record(&Object::EgressNode(Box::new(node))).unwrap();
    lab.send("plain");
    lab.send("web");
    // Whether the record has reached the sniffer shows in its verdict: what is right is looked at again.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    let mut seen = 4;
    while lab.objections(seen).is_empty() && std::time::Instant::now() < deadline {
        lab.send("web");
        seen += 1;
    }
    let objections = lab.objections(seen);
    assert!(!objections.is_empty());
    assert!(
        objections.iter().all(|o| *o == ("SelectedPod".to_owned(), "10.0.0.2".to_owned())),
        "{objections:?}"
    );
}

#[test]
fn a_stranger_behind_a_gateway_is_seen() {
    let lab = Lab::up("leak-c", DEFAULT);
    let gateway = &lab.state.host("node-4").unwrap().netns;
    egret_lab::tool::run(&["ip", "-n", gateway, "addr", "add", "10.10.0.11/32", "dev", "eth1"]).unwrap();
    let send = || Ok(UdpSocket::bind("10.10.0.11:2000")?.send_to(b"leak", "10.10.0.200:9")?);
    netns::run_in(gateway, send).unwrap();
    assert_eq!(lab.objections(1), [("UnknownSource".to_owned(), "10.10.0.11".to_owned())]);
}

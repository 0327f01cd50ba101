//! Passes over a directory of manifests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use egret_api::{EgressNode, EgressNodeSpec, Wire};
use egret_status::Report;
use egret_store::{Directory, Store};

use super::*;

mod lost;

struct Place {
    path: PathBuf,
    store: Directory,
    controller: Controller,
    metrics: Metrics,
}

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("egret-controller-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        let store = Directory::open(&path, "test").unwrap();
        Self {
            path,
            store,
            controller: Controller::new(ClusterSettings::default(), Modes::default()),
            metrics: Metrics::default(),
        }
    }

    async fn pass(&mut self, second: i64) -> Outcome {
        let now = Timestamp::from_second(1_700_000_000 + second).unwrap();
        if let Some(changes) = self.store.news() {
            self.controller.take(changes);
        }
        let origin = |key: &ObjectKey| self.store.origin(key);
        self.controller.pass(&self.store.recorder(), origin, now, &self.metrics).await
    }

    /// A new process: it remembers nothing.
    fn restart(&mut self) {
        self.store = Directory::open(&self.path, "test").unwrap();
        self.controller = Controller::new(ClusterSettings::default(), Modes::default());
    }

    fn addresses(&self) -> Vec<EgressAddressSpec> {
        let snapshot = self.store.snapshot();
        let spec = |object: &Arc<Object>| match &**object {
            Object::EgressAddress(record) => Some(record.spec.clone()),
            _ => None,
        };
        snapshot.objects.iter().filter_map(spec).collect()
    }

    /// Modification times of all records and statuses.
    fn written(&self) -> BTreeMap<PathBuf, std::time::SystemTime> {
        fn walk(path: &std::path::Path, found: &mut BTreeMap<PathBuf, std::time::SystemTime>) {
            for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => walk(&entry.path(), found),
                    false => drop(found.insert(entry.path(), entry.metadata().unwrap().modified().unwrap())),
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(&self.path.join(".egret"), &mut found);
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.path));
    }
}

const POOL: &str = "apiVersion: egret.dev/v1alpha1\nkind: EgressPool\nmetadata: {name: pool}\n\
    spec: {ranges: [{cidr: 192.0.2.8/30}], namespaces: {names: [prod]}}\n";
const POLICY: &str = "apiVersion: egret.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: web, namespace: prod}\n\
    spec: {podSelector: {}, pool: pool}\n";
const CLUSTER: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: node-1}\n\
    status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}\n---\n\
    apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: prod}\n\
    spec: {nodeName: node-1}\nstatus: {podIPs: [{ip: 10.244.1.10}]}\n";

fn gateway() -> Object {
    let wire = Wire {
        interface: "eth1".into(),
        addresses: vec!["192.0.2.1/24".into()],
        primary: vec![],
        carrier: true,
    };
    let spec =
        EgressNodeSpec { underlay: "10.0.0.1".into(), wires: vec![wire], ready: true, ..Default::default() };
    Object::EgressNode(Box::new(EgressNode::new("node-1", spec)))
}

#[tokio::test]
async fn one_pass_allocates_and_leases_and_the_next_says_how_far_it_is() {
    let mut place = Place::new("allocates");
    for (name, text) in [("pool.yaml", POOL), ("policy.yaml", POLICY), ("cluster.yaml", CLUSTER)] {
        place.store.write_manifest(name, text).unwrap();
    }
    place.store.write_record(&gateway()).unwrap();
    assert!(place.metrics.ready().is_err());
    assert!(!place.pass(0).await.failed);
    assert_eq!(place.store.progress(), None, "the records are not yet those that were decided on");
    assert!(!place.pass(0).await.failed);
    let [address] = &place.addresses()[..] else { panic!("{:?}", place.addresses()) };
    assert_eq!(
        (address.address.as_str(), address.candidates.as_slice()),
        ("192.0.2.8", ["node-1".to_owned()].as_slice())
    );
    assert!(!address.leases.is_empty());
    let snapshot = place.store.snapshot();
    let progress = place.store.progress().unwrap();
    assert_eq!(progress.observed_objects, snapshot.objects_digest);
    assert_eq!(progress.addresses, snapshot.addresses_digest);
    let policy = snapshot.objects.iter().find_map(|object| match &**object {
        Object::EgressPolicy(policy) => policy.status.clone(),
        _ => None,
    });
    assert_eq!(policy.unwrap().address.as_deref(), Some("192.0.2.8"));
    assert!(place.metrics.ready().is_ok());
}

#[tokio::test]
async fn a_pass_without_news_writes_nothing_even_after_a_restart() {
    let mut place = Place::new("idle");
    for (name, text) in [("pool.yaml", POOL), ("policy.yaml", POLICY), ("cluster.yaml", CLUSTER)] {
        place.store.write_manifest(name, text).unwrap();
    }
    place.store.write_record(&gateway()).unwrap();
    place.pass(0).await;
    place.pass(1).await;
    let written = place.written();
    place.pass(2).await;
    place.restart();
    place.pass(3).await;
    assert_eq!(place.written(), written);
}

#[tokio::test]
async fn what_is_gone_takes_its_address_and_status_along() {
    let mut place = Place::new("gone");
    place.store.write_manifest("pool.yaml", POOL).unwrap();
    place.store.write_manifest("policy.yaml", POLICY).unwrap();
    place.pass(0).await;
    assert_eq!(place.addresses().len(), 1);
    place.store.remove_manifest("policy.yaml").unwrap();
    // A new process does not remember that it ever wrote that status.
    place.restart();
    place.pass(1).await;
    assert_eq!(place.addresses(), []);
    let left: Vec<_> =
        place.written().into_keys().filter(|path| path.to_string_lossy().contains("status")).collect();
    assert_eq!(left, [place.path.join(".egret/status/EgressPool/_/pool.json")]);
}

#[tokio::test]
async fn a_slip_of_the_pen_moves_no_address() {
    let mut place = Place::new("slip");
    place.store.write_manifest("pool.yaml", POOL).unwrap();
    place.store.write_manifest("policy.yaml", POLICY).unwrap();
    place.pass(0).await;
    let before = place.addresses();
    for broken in ["kind: [", &POLICY.replace("pool: pool", "pol: pool"), "spec: {}"] {
        place.store.write_manifest("policy.yaml", broken).unwrap();
        assert!(!place.pass(1).await.failed);
        assert_eq!(place.addresses(), before, "{broken}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_tried_again() {
    let mut place = Place::new("failing");
    place.store.write_manifest("pool.yaml", POOL).unwrap();
    place.store.write_manifest("policy.yaml", POLICY).unwrap();
    let tmp = place.path.join(".egret/tmp");
    std::fs::remove_dir(&tmp).unwrap();
    assert!(place.pass(0).await.failed);
    assert_eq!(place.store.progress(), None, "nobody may think that this is in force");
    std::fs::create_dir(&tmp).unwrap();
    assert!(!place.pass(1).await.failed);
    assert_eq!(place.addresses().len(), 1);
}

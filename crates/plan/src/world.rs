//! The cluster as the planner sees it: the facts of every object, kept up to date one object at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use egret_api::{Claim, Kind, Object, ObjectKey};
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::Value;

use crate::facts::{NodeFacts, PodFacts, Record, Report};
use crate::fault::Fault;
use crate::intent::{Intent, Pool, Rank};
use crate::select::Labels;
use crate::selection::Selection;

/// The label that every namespace carries its own name by.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A pod's namespace and name.
pub type PodKey = (String, String);

/// A policy or pool that people wrote.
#[derive(Clone, Debug)]
pub struct Written<T> {
    /// Its generation, if the store counts.
    pub generation: Option<i64>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Its present `.status`, or null.
    pub status: Value,
    /// What it asks for, or what is wrong with it.
    pub meaning: Result<Arc<T>, Vec<Fault>>,
}

/// The cluster.
#[derive(Clone, Debug, Default)]
pub struct World {
    namespaces: BTreeMap<String, Labels>,
    nodes: BTreeMap<String, NodeFacts>,
    pods: BTreeMap<PodKey, PodFacts>,
    pods_by_node: BTreeMap<String, BTreeSet<PodKey>>,
    pods_by_address: BTreeMap<IpAddr, BTreeSet<PodKey>>,
    policies: BTreeMap<ObjectKey, Written<Intent>>,
    ranks: BTreeMap<ObjectKey, Rank>,
    pools: BTreeMap<ObjectKey, Written<Pool>>,
    records: BTreeMap<String, Record>,
    records_by_claim: BTreeMap<Claim, BTreeSet<IpAddr>>,
    records_by_node: BTreeMap<String, BTreeSet<IpAddr>>,
    names_by_address: BTreeMap<IpAddr, BTreeSet<String>>,
    reports: BTreeMap<String, Report>,
    inside: BTreeMap<IpNet, usize>,
    selection: Selection,
}

impl World {
    /// A world of these objects. Of objects with the same key the last stays.
    pub fn from_objects(objects: impl IntoIterator<Item = Object>) -> World {
        let mut world = World::default();
        for object in objects {
            world.apply(object);
        }
        world
    }

    /// Puts an object in, in place of one with the same key.
    pub fn apply(&mut self, object: Object) {
        let key = object.key();
        match &object {
            Object::Namespace(o) => {
                self.namespaces.insert(key.name, o.metadata.labels.clone().unwrap_or_default());
            }
            Object::Node(o) => self.set_node(key.name, Some(NodeFacts::read(o))),
            Object::Pod(o) => self.set_pod((key.namespace, key.name), PodFacts::read(o)),
            Object::EgressPool(o) => self.set_pool(key, &object, value(&o.status)),
            Object::ExternalIPPool(o) => self.set_pool(key, &object, value(&o.status)),
            Object::EgressPolicy(o) => self.set_policy(key, &object, value(&o.status)),
            Object::ClusterEgressPolicy(o) => self.set_policy(key, &object, value(&o.status)),
            Object::Egress(o) => self.set_policy(key, &object, value(&o.status)),
            Object::EgressAddress(o) => self.set_record(key.name, Record::read(o)),
            Object::EgressNode(o) => self.set_report(key.name, Some(Report::read(o))),
        }
    }

    /// Takes an object out.
    pub fn delete(&mut self, key: &ObjectKey) {
        let name = key.name.clone();
        match key.kind {
            Kind::Namespace => {
                self.namespaces.remove(&name);
            }
            Kind::Node => self.set_node(name, None),
            Kind::Pod => self.set_pod((key.namespace.clone(), name), None),
            Kind::EgressPool | Kind::ExternalIPPool => {
                self.pools.remove(key);
            }
            Kind::EgressPolicy | Kind::ClusterEgressPolicy | Kind::Egress => self.remove_policy(key),
            Kind::EgressAddress => self.set_record(name, None),
            Kind::EgressNode => self.set_report(name, None),
        }
    }

    fn set_node(&mut self, name: String, node: Option<NodeFacts>) {
        if let Some(old) = self.nodes.remove(&name) {
            self.count_inside(
                old.pod_networks.into_iter().chain(old.addresses.into_iter().map(IpNet::from)),
                -1,
            );
        }
        if let Some(new) = node {
            let inside: Vec<IpNet> = new
                .pod_networks
                .iter()
                .copied()
                .chain(new.addresses.iter().copied().map(IpNet::from))
                .collect();
            self.count_inside(inside, 1);
            self.nodes.insert(name, new);
        }
    }

    fn set_report(&mut self, name: String, report: Option<Report>) {
        if let Some(old) = self.reports.remove(&name) {
            self.count_inside(old.inside().collect::<Vec<_>>(), -1);
        }
        if let Some(new) = report {
            self.count_inside(new.inside().collect::<Vec<_>>(), 1);
            self.reports.insert(name, new);
        }
    }

    fn count_inside(&mut self, networks: impl IntoIterator<Item = IpNet>, by: isize) {
        for network in networks {
            let count = self.inside.entry(network).or_default();
            *count = count.saturating_add_signed(by);
            if *count == 0 {
                self.inside.remove(&network);
            }
        }
    }

    fn set_pod(&mut self, key: PodKey, pod: Option<PodFacts>) {
        if let Some(old) = self.pods.remove(&key) {
            remove_from(&mut self.pods_by_node, &old.node, &key);
            for address in &old.addresses {
                remove_from(&mut self.pods_by_address, address, &key);
            }
        }
        if let Some(new) = pod {
            self.pods_by_node.entry(new.node.clone()).or_default().insert(key.clone());
            for address in &new.addresses {
                self.pods_by_address.entry(*address).or_default().insert(key.clone());
            }
            self.pods.insert(key, new);
        }
    }

    fn set_pool(&mut self, key: ObjectKey, object: &Object, status: Value) {
        if let Some(meaning) = Pool::read(object) {
            self.pools.insert(key, written(object, status, meaning));
        }
    }

    fn set_policy(&mut self, key: ObjectKey, object: &Object, status: Value) {
        self.remove_policy(&key);
        if let Some(meaning) = Intent::read(object) {
            let written = written(object, status, meaning);
            if let Ok(intent) = &written.meaning {
                self.selection.insert(intent);
            }
            self.ranks.insert(key.clone(), Rank::of(object));
            self.policies.insert(key, written);
        }
    }

    fn remove_policy(&mut self, key: &ObjectKey) {
        if let Some(Written { meaning: Ok(intent), .. }) = self.policies.remove(key) {
            self.selection.remove(&intent);
        }
        self.ranks.remove(key);
    }

    fn set_record(&mut self, name: String, record: Option<Record>) {
        if let Some(old) = self.records.remove(&name) {
            remove_from(&mut self.names_by_address, &old.address, &name);
            for claim in &old.spec.claims {
                remove_from(&mut self.records_by_claim, claim, &old.address);
            }
            for node in nodes_of(&old) {
                remove_from(&mut self.records_by_node, node, &old.address);
            }
        }
        if let Some(new) = record {
            self.names_by_address.entry(new.address).or_default().insert(name.clone());
            for claim in &new.spec.claims {
                self.records_by_claim.entry(claim.clone()).or_default().insert(new.address);
            }
            for node in nodes_of(&new) {
                self.records_by_node.entry(node.clone()).or_default().insert(new.address);
            }
            self.records.insert(name, new);
        }
    }

    /// Labels of a namespace. Its name is always among them, and a namespace that only pods name exists, too.
    pub fn namespace_labels(&self, namespace: &str) -> Labels {
        let mut labels = self.namespaces.get(namespace).cloned().unwrap_or_default();
        labels.insert(NAME_LABEL.to_owned(), namespace.to_owned());
        labels
    }

    /// Every node of the cluster.
    pub fn nodes(&self) -> &BTreeMap<String, NodeFacts> {
        &self.nodes
    }

    /// Every pod that has a network of its own, runs on a node and has not finished.
    pub fn pods(&self) -> &BTreeMap<PodKey, PodFacts> {
        &self.pods
    }

    /// The pods of a node.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = (&PodKey, &PodFacts)> {
        self.pods_by_node.get(node).into_iter().flatten().filter_map(|key| self.pods.get_key_value(key))
    }

    /// The pods that have an address; more than one only while the cluster contradicts itself.
    pub fn pods_with(&self, address: IpAddr) -> impl Iterator<Item = (&PodKey, &PodFacts)> {
        self.pods_by_address
            .get(&address)
            .into_iter()
            .flatten()
            .filter_map(|key| self.pods.get_key_value(key))
    }

    /// Every policy, in no order of precedence.
    pub fn policies(&self) -> &BTreeMap<ObjectKey, Written<Intent>> {
        &self.policies
    }

    /// The policies that select a pod, in the order of precedence.
    pub fn policies_of(&self, pod: &PodKey, facts: &PodFacts) -> Vec<Arc<Intent>> {
        self.selection.of_pod(&pod.0, &self.namespace_labels(&pod.0), &facts.labels)
    }

    /// Every pool.
    pub fn pools(&self) -> &BTreeMap<ObjectKey, Written<Pool>> {
        &self.pools
    }

    /// Every record of an address, by the record's name.
    pub fn records(&self) -> &BTreeMap<String, Record> {
        &self.records
    }

    /// The record of an address.
    pub fn record(&self, address: IpAddr) -> Option<&Record> {
        self.names_by_address.get(&address)?.first().and_then(|name| self.records.get(name))
    }

    /// The records that a policy has a claim in.
    pub fn records_claimed_by(&self, claim: &Claim) -> impl Iterator<Item = &Record> {
        self.records_by_claim.get(claim).into_iter().flatten().filter_map(|a| self.record(*a))
    }

    /// The records in which a node is a candidate or has a lease.
    pub fn records_naming(&self, node: &str) -> impl Iterator<Item = &Record> {
        self.records_by_node.get(node).into_iter().flatten().filter_map(|a| self.record(*a))
    }

    /// Every node's report.
    pub fn reports(&self) -> &BTreeMap<String, Report> {
        &self.reports
    }

    /// A node's address between nodes: as it reports it, else as the cluster knows it, of the family asked for.
    pub fn underlay(&self, node: &str, like: Option<IpAddr>) -> Option<IpAddr> {
        let fits = |a: &IpAddr| like.is_none_or(|l| l.is_ipv4() == a.is_ipv4());
        let reported = self.reports.get(node).and_then(|r| r.underlay).filter(fits);
        reported.or_else(|| self.nodes.get(node)?.internal.iter().copied().find(|a| fits(a)))
    }

    /// Networks and addresses of nodes and their pods.
    pub fn inside(&self) -> impl Iterator<Item = IpNet> {
        self.inside.keys().copied()
    }
}

fn nodes_of(record: &Record) -> impl Iterator<Item = &String> {
    record.spec.candidates.iter().chain(record.spec.leases.iter().map(|l| &l.node))
}

fn value<T: serde::Serialize>(status: &Option<T>) -> Value {
    status.as_ref().and_then(|s| serde_json::to_value(s).ok()).unwrap_or(Value::Null)
}

fn written<T>(object: &Object, status: Value, meaning: Result<T, Vec<Fault>>) -> Written<T> {
    let metadata = object.metadata();
    Written {
        generation: metadata.generation,
        created: metadata.creation_timestamp.as_ref().map(|t| t.0),
        status,
        meaning: meaning.map(Arc::new),
    }
}

fn remove_from<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = map.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

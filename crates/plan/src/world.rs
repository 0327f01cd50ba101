//! The cluster as the planner sees it: the facts of every object, kept up to date one object at a time.

mod apart;
mod look;
mod records;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use egret_api::{Claim, EgressNode, Kind, Mode, Modes, Object, ObjectKey};
use ipnet::IpNet;
use serde_json::Value;

use crate::affected::Affected;
use crate::dialect::kube_vip;
use crate::facts::{NodeFacts, Record, Report};
use crate::fault::Fault;
use crate::intent::{Intent, Pool};
use crate::pods::Pods;
use crate::select::Labels;
use crate::touched::{Touched, differing};

use self::apart::Apart;

pub use crate::pods::{PodFacts, PodKey};

/// The label that every namespace carries its own name by.
pub(crate) const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A policy or pool that people wrote.
#[derive(Clone, Debug)]
pub struct Written<T> {
    /// Its generation, if the store counts.
    pub generation: Option<i64>,
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
    pods: Pods,
    policies: BTreeMap<ObjectKey, Written<Intent>>,
    pools: BTreeMap<ObjectKey, Written<Pool>>,
    records: BTreeMap<IpAddr, Record>,
    records_by_claim: BTreeMap<Claim, BTreeSet<IpAddr>>,
    records_by_node: BTreeMap<String, BTreeSet<IpAddr>>,
    reports: BTreeMap<String, Report>,
    holding: BTreeMap<IpAddr, BTreeSet<String>>,
    inside: BTreeMap<IpNet, usize>,
    touched: Touched,
    /// How far other systems' objects count, as this process was told and as the controller says.
    told: Modes,
    said: BTreeMap<egret_api::Dialect, Mode>,
    /// Objects of systems that are not on.
    apart: Apart,
    /// The node that plans by it. What only the controller decides by is not kept then: it would be most of what a node
    /// of a large cluster has to know.
    planner: Option<String>,
}

impl World {
    /// A world of these objects. Of objects with the same key the last stays.
    pub fn from_objects(objects: impl IntoIterator<Item = Object>) -> World {
        let mut world = World::default();
        // Pods last: each then looks for its policies once, instead of each policy for its pods.
        let (pods, others): (Vec<_>, Vec<_>) = objects.into_iter().partition(|o| o.kind() == Kind::Pod);
        for object in others.into_iter().chain(pods) {
            world.apply(object);
        }
        world
    }

    /// Puts an object in, in place of one with the same key. Returns what of a node's plan may be another by it.
    pub fn apply(&mut self, object: Object) -> Affected {
        let key = object.key();
        match object {
            Object::Namespace(o) => {
                self.set_namespace(&key.name, Some(o.metadata.labels.unwrap_or_default()))
            }
            Object::Node(o) => {
                let facts = NodeFacts::read(*o);
                let facts = if self.planner.is_some() { facts.for_a_node() } else { facts };
                self.set_node(key.name, Some(facts));
            }
            Object::Pod(o) => self.set_pod(&key, PodFacts::read(*o)),
            Object::EgressPool(ref o) => return self.set_pool(key, &object, value(&o.status)),
            Object::ExternalIPPool(ref o) => return self.set_pool(key, &object, value(&o.status)),
            Object::EgressPolicy(ref o) => return self.set_policy(key, &object, value(&o.status)),
            Object::ClusterEgressPolicy(ref o) => return self.set_policy(key, &object, value(&o.status)),
            Object::EgressGateway(ref o) => return self.set_pool(key, &object, value(&o.status)),
            Object::Egress(ref o) => return self.set_policy(key, &object, value(&o.status)),
            Object::EgressGatewayPolicy(ref o) => return self.set_policy(key, &object, value(&o.status)),
            Object::LoxilbEgress(ref o) => return self.set_policy(key, &object, value(&o.status)),
            Object::Service(ref o) => return self.set_policy(key, &object, kube_vip::told(o)),
            Object::EgressAddress(o) => return self.set_record(&key.name, Record::read(*o)),
            Object::EgressNode(o) => return self.read_report(key.name, &o),
            Object::EgressDialect(o) => self.say(&key.name, Some(o.spec.mode)),
        }
        Affected::Everything
    }

    /// As [`World::apply`], of an object that somebody else keeps: the long ones are not copied.
    pub fn apply_shared(&mut self, object: Arc<Object>) -> Affected {
        match &*object {
            Object::EgressNode(o) => self.read_report(object.key().name, o),
            _ => self.apply(Arc::unwrap_or_clone(object)),
        }
    }

    /// Takes an object out.
    pub fn delete(&mut self, key: &ObjectKey) {
        let name = key.name.clone();
        match key.kind {
            Kind::Namespace => self.set_namespace(&name, None),
            Kind::Node => self.set_node(name, None),
            Kind::Pod => self.set_pod(key, Vec::new()),
            Kind::EgressPool | Kind::ExternalIPPool | Kind::EgressGateway => {
                self.apart.pools.remove(key);
                if self.pools.remove(key).is_some() {
                    self.touched.everything();
                }
            }
            Kind::EgressPolicy
            | Kind::ClusterEgressPolicy
            | Kind::Egress
            | Kind::EgressGatewayPolicy
            | Kind::LoxilbEgress
            | Kind::Service => {
                self.apart.policies.remove(key);
                drop(self.remove_policy(key));
            }
            Kind::EgressAddress => drop(self.set_record(&name, None)),
            Kind::EgressNode => drop(self.set_report(name, None)),
            Kind::EgressDialect => self.say(&name, None),
        }
    }

    fn set_namespace(&mut self, name: &str, labels: Option<Labels>) {
        let before = self.namespace_labels(name).into_owned();
        match labels {
            Some(mut labels) => {
                labels.insert(NAME_LABEL.to_owned(), name.to_owned());
                self.namespaces.insert(name.to_owned(), labels);
            }
            None => drop(self.namespaces.remove(name)),
        }
        let labels = self.namespace_labels(name).into_owned();
        if before != labels {
            self.pods.relabelled(name, &labels, &mut self.touched);
            // Pools grant by label, too.
            self.touched.policies(self.policies.keys().filter(|k| k.namespace == name));
        }
    }

    fn set_node(&mut self, name: String, node: Option<NodeFacts>) {
        let old = self.nodes.remove(&name);
        if old != node {
            if let Some(old) = &old {
                self.count_inside(old.inside(), -1);
            }
            if let Some(new) = &node {
                self.count_inside(new.inside(), 1);
            }
            let fact = |n: &Option<NodeFacts>| n.as_ref().map(|n| (n.labels.clone(), n.suitable));
            if fact(&old) != fact(&node) {
                match self.reports.get(&name).is_some_and(|r| !r.wires.is_empty()) {
                    true => self.touched.everything(),
                    false => {
                        self.touched.used(self.pods.policies_on(&name));
                        self.touched.addresses(self.records_by_node.get(&name).into_iter().flatten());
                    }
                }
            }
        }
        if let Some(new) = node {
            self.nodes.insert(name, new);
        }
    }

    fn read_report(&mut self, name: String, node: &EgressNode) -> Affected {
        let report = Report::read(node);
        let report = match &self.planner {
            Some(planner) => report.for_node(planner),
            None => report,
        };
        self.set_report(name, Some(report))
    }

    fn set_report(&mut self, name: String, report: Option<Report>) -> Affected {
        let old = self.reports.remove(&name);
        let inside = |r: &Option<Report>| r.iter().flat_map(Report::inside).collect::<Vec<_>>();
        let (before, after) = (inside(&old), inside(&report));
        if before != after {
            self.count_inside(before, -1);
            self.count_inside(after, 1);
        }
        if old.as_ref().map(|r| r.ready) != report.as_ref().map(|r| r.ready) {
            self.touched.addresses(self.records_by_node.get(&name).into_iter().flatten());
            self.touched.used(self.pods.policies_on(&name));
        }
        self.touched.report(old.as_ref(), report.as_ref());
        self.set_holding(&name, old.as_ref(), report.as_ref());
        let affected = match (&old, &report) {
            (Some(old), Some(new)) if old.same_but_for_ports(new) => {
                Affected::ports(differing(&old.programmed, &new.programmed))
            }
            _ => Affected::Everything,
        };
        if let Some(new) = report {
            self.reports.insert(name, new);
        }
        affected
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

    fn set_pod(&mut self, key: &ObjectKey, pods: Vec<(Option<String>, PodFacts)>) {
        let labels = match self.namespaces.get(&key.namespace) {
            Some(labels) => Cow::Borrowed(labels),
            None => Cow::Owned(only_name(&key.namespace)),
        };
        let second = format!("{}/", key.name);
        let mut gone = self.pods.names(&key.namespace, &second);
        gone.push(key.name.clone());
        let mut now: BTreeMap<String, PodFacts> = BTreeMap::new();
        for (interface, pod) in pods {
            now.insert(interface.map_or_else(|| key.name.clone(), |name| second.clone() + &name), pod);
        }
        gone.retain(|name| !now.contains_key(name));
        let all = gone.into_iter().map(|name| (name, None)).chain(now.into_iter().map(|(n, p)| (n, Some(p))));
        for (name, pod) in all {
            self.pods.set((&key.namespace, &name), pod, &labels, &mut self.touched);
        }
    }

    fn set_pool(&mut self, key: ObjectKey, object: &Object, status: Value) -> Affected {
        let Some(meaning) = Pool::read(object) else { return Affected::Nothing };
        let new = written(object, status, meaning);
        if self.mode(key.kind) != Mode::On {
            self.apart.pools.insert(key, new);
            return Affected::Nothing;
        }
        let same = self.pools.get(&key).is_some_and(|old| old.meaning == new.meaning);
        match same {
            true => self.touched.status(&key),
            false => self.touched.everything(),
        }
        self.pools.insert(key, new);
        if same { Affected::Nothing } else { Affected::Everything }
    }

    fn set_policy(&mut self, key: ObjectKey, object: &Object, status: Value) -> Affected {
        let Some(meaning) = Intent::read(object) else {
            // It was a policy, and is no more.
            self.apart.policies.remove(&key);
            if self.policies.contains_key(&key) {
                drop(self.remove_policy(&key));
                return Affected::Everything;
            }
            return Affected::Nothing;
        };
        let new = written(object, status, meaning);
        if self.mode(key.kind) != Mode::On {
            self.apart.policies.insert(key, new);
            return Affected::Nothing;
        }
        self.touched.policies([&key]);
        if let Some(old) = self.policies.get_mut(&key).filter(|old| old.meaning == new.meaning) {
            (old.generation, old.status) = (new.generation, new.status);
            return Affected::Nothing;
        }
        drop(self.remove_policy(&key));
        self.insert_policy(key, new);
        Affected::Everything
    }

    fn insert_policy(&mut self, key: ObjectKey, new: Written<Intent>) {
        if let Ok(intent) = &new.meaning {
            self.pods.add_policy(intent, |name| namespace_labels(&self.namespaces, name), &mut self.touched);
        }
        self.policies.insert(key, new);
    }

    fn remove_policy(&mut self, key: &ObjectKey) -> Option<Written<Intent>> {
        let old = self.policies.remove(key)?;
        self.touched.policies([key]);
        if let Ok(intent) = &old.meaning {
            self.pods.remove_policy(
                intent,
                |name| namespace_labels(&self.namespaces, name),
                &mut self.touched,
            );
        }
        Some(old)
    }

    /// What changed since this was last asked; everything at first.
    pub(crate) fn take_touched(&mut self) -> Touched {
        self.touched.take()
    }
}

fn only_name(namespace: &str) -> Labels {
    Labels::from([(NAME_LABEL.to_owned(), namespace.to_owned())])
}

fn namespace_labels<'a>(declared: &'a BTreeMap<String, Labels>, namespace: &str) -> Cow<'a, Labels> {
    match declared.get(namespace) {
        Some(labels) => Cow::Borrowed(labels),
        None => Cow::Owned(only_name(namespace)),
    }
}

fn value<T: serde::Serialize>(status: &Option<T>) -> Value {
    status.as_ref().and_then(|s| serde_json::to_value(s).ok()).unwrap_or(Value::Null)
}

fn written<T>(object: &Object, status: Value, meaning: Result<T, Vec<Fault>>) -> Written<T> {
    Written { generation: object.metadata().generation, status, meaning: meaning.map(Arc::new) }
}

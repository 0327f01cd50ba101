//! A cluster in miniature: one controller, an agent per node, kernels that are values. It settles by letting
//! each write what it decides until nobody has anything to write.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::service::TOLD;
use egret_api::{EgressAddress, EgressNode, EgressNodeSpec, Kind, Object, ObjectKey, PortUse, Wire};
use egret_plan::allocate::Decider;
use egret_plan::tables::{Path, Tables, UnknownPods};
use egret_plan::{
    Affected, Change, ClusterSettings, Local, LocalWire, NodePlan, PodLink, SecondLink, Steering, Underlay,
    World, allocate, demand, diff, node,
};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

/// Something that the controller writes.
#[derive(Clone, Debug)]
pub enum Write {
    Record(String, Option<Box<Object>>),
    Status(ObjectKey, Value),
}

/// The cluster.
#[derive(Clone)]
pub struct Cluster {
    pub world: World,
    pub objects: BTreeMap<ObjectKey, Object>,
    pub decider: Decider,
    pub settings: ClusterSettings,
    pub now: Timestamp,
    pub off: BTreeSet<String>,
    pub steering: Steering,
    /// Gateways whose link was found to work, by node.
    pub links: BTreeMap<String, BTreeSet<String>>,
    pub flows: BTreeMap<(String, IpAddr), PortUse>,
    /// What a node has on its wire, where it is not what it began with.
    pub wires: BTreeMap<String, BTreeSet<IpNet>>,
    pub plans: BTreeMap<String, NodePlan>,
    /// What each plan was made from besides the world.
    locals: BTreeMap<String, Local>,
    /// What changed since each plan was made.
    affected: BTreeMap<String, Affected>,
    /// Plans of which only some addresses' ports were planned again.
    pub again: usize,
    pub kernels: BTreeMap<String, Tables>,
    pub changes: BTreeMap<String, Vec<Change>>,
}

impl Cluster {
    /// No node, at noon.
    pub fn new() -> Cluster {
        Cluster {
            world: World::default(),
            objects: BTreeMap::new(),
            decider: Decider::default(),
            settings: ClusterSettings { inside: ["10.96.0.0/12".parse().unwrap()].into() },
            now: "2026-01-01T12:00:00Z".parse().unwrap(),
            off: BTreeSet::new(),
            steering: Steering::Overlay,
            links: BTreeMap::new(),
            flows: BTreeMap::new(),
            wires: BTreeMap::new(),
            plans: BTreeMap::new(),
            locals: BTreeMap::new(),
            affected: BTreeMap::new(),
            again: 0,
            kernels: BTreeMap::new(),
            changes: BTreeMap::new(),
        }
    }

    /// The cluster of the documentation: six nodes, of which the last three have a wire to the outside.
    pub fn six_nodes() -> Cluster {
        let mut cluster = Cluster::new();
        for n in 1..=6 {
            cluster.apply(node_object(n));
        }
        cluster.settle();
        cluster
    }

    pub fn apply(&mut self, object: Object) {
        self.objects.insert(object.key(), object.clone());
        let affected = self.world.apply(object);
        self.affects(affected);
    }

    pub fn delete(&mut self, key: &ObjectKey) {
        self.objects.remove(key);
        self.world.delete(key);
        self.affects(Affected::Everything);
    }

    fn affects(&mut self, affected: Affected) {
        for node in self.plans.keys() {
            self.affected.entry(node.clone()).or_default().add(affected.clone());
        }
    }

    pub fn pass(&mut self, time: SignedDuration) {
        self.now = self.now.checked_add(time).unwrap();
    }

    pub fn nodes(&self) -> Vec<String> {
        self.world.nodes().keys().cloned().collect()
    }

    /// Lets controller and agents work until nothing changes.
    pub fn settle(&mut self) {
        for _ in 0..40 {
            let mut changed = self.controller();
            for node in self.nodes() {
                if !self.off.contains(&node) {
                    changed |= self.agent(&node);
                }
            }
            if !changed {
                return;
            }
        }
        panic!("the cluster does not settle");
    }

    /// The controller's turn; true if it wrote something.
    pub fn controller(&mut self) -> bool {
        let writes = self.writes();
        for write in &writes {
            self.write(write);
        }
        !writes.is_empty()
    }

    /// What the controller has to write. It decides from what changed, and must decide as from scratch.
    pub fn writes(&mut self) -> Vec<Write> {
        let scratch = allocate::decide(&self.world, &self.settings, self.now);
        let decision = self.decider.decide(&mut self.world, &self.settings, self.now).clone();
        assert_eq!(decision, scratch, "what changed does not tell the same as everything");
        let record = |name: &str| ObjectKey {
            kind: Kind::EgressAddress,
            namespace: String::new(),
            name: name.to_owned(),
        };
        let mut writes = Vec::new();
        for (name, spec) in &decision.addresses {
            let new = Object::EgressAddress(Box::new(EgressAddress::new(name, spec.clone())));
            if self.objects.get(&record(name)) != Some(&new) {
                writes.push(Write::Record(name.clone(), Some(Box::new(new))));
            }
        }
        let held = self.objects.keys().filter(|k| k.kind == Kind::EgressAddress);
        let gone = held.filter(|k| !decision.addresses.contains_key(&k.name));
        writes.extend(gone.map(|k| Write::Record(k.name.clone(), None)));
        let mut named: Vec<&str> =
            writes.iter().map(|w| if let Write::Record(n, _) = w { n } else { "" }).collect();
        named.sort_unstable();
        let mut unwritten: Vec<String> = self.decider.unwritten().collect();
        unwritten.sort_unstable();
        assert_eq!(named, unwritten, "records to be written");
        let status = |key: &ObjectKey| {
            let object = self.objects[key].encode().unwrap();
            let status = object.get("status").cloned().unwrap_or_default();
            match (key.kind, status.get("conditions")) {
                (Kind::Service, None) => Value::Null,
                (Kind::Service, Some(ours)) => match told_in(&object) {
                    told if told.is_empty() => json!({"conditions": ours}),
                    told => json!({"conditions": ours, "annotations": told}),
                },
                _ => status,
            }
        };
        let untold: Vec<&ObjectKey> =
            decision.statuses.iter().filter(|(k, v)| status(k) != **v).map(|(k, _)| k).collect();
        assert_eq!(untold, self.decider.untold().collect::<Vec<_>>(), "statuses to be written");
        writes.extend(untold.into_iter().map(|k| Write::Status(k.clone(), decision.statuses[k].clone())));
        writes
    }

    /// Writes one thing.
    pub fn write(&mut self, write: &Write) {
        match write {
            Write::Record(_, Some(object)) => self.apply((**object).clone()),
            Write::Record(name, None) => {
                let (kind, namespace) = (Kind::EgressAddress, String::new());
                self.delete(&ObjectKey { kind, namespace, name: name.clone() });
            }
            Write::Status(key, status) => {
                let mut value = self.objects[key].encode().unwrap();
                match key.kind {
                    Kind::Service => {
                        value["status"]["conditions"] = status["conditions"].clone();
                        for name in TOLD {
                            let annotations = value["metadata"]["annotations"].as_object_mut().unwrap();
                            match status["annotations"].get(name) {
                                Some(told) => drop(annotations.insert(name.to_owned(), told.clone())),
                                None => drop(annotations.remove(name)),
                            }
                        }
                    }
                    _ => value["status"] = status.clone(),
                }
                self.apply(key.kind.decode(value).unwrap());
            }
        }
    }

    /// An agent's turn; true if its report changed. Every step of its way to the new plan must be safe.
    pub fn agent(&mut self, node: &str) -> bool {
        let plan = node::plan(&self.world, &self.settings, &self.local(node));
        self.planned_again_is_as_from_scratch(node, &plan);
        let before = self.kernels.get(node).cloned().unwrap_or_default();
        let changes = diff(&before, &plan.tables);
        let mut kernel = before;
        for change in &changes {
            put(&mut kernel, change);
            refers_only_to_what_is_there(&kernel, &plan.tables);
        }
        assert_eq!(kernel, plan.tables, "the changes do not make the plan");
        self.kernels.insert(node.to_owned(), kernel);
        self.changes.insert(node.to_owned(), changes);
        let report = self.report(node, &plan);
        self.plans.insert(node.to_owned(), plan);
        let new = Object::EgressNode(Box::new(EgressNode::new(node, report)));
        let changed = self.objects.get(&new.key()) != Some(&new);
        if changed {
            self.apply(new);
        }
        changed
    }

    /// Where only ports were affected, planning these again must give the same plan, and the same changes.
    fn planned_again_is_as_from_scratch(&mut self, node: &str, scratch: &NodePlan) {
        let affected = self.affected.remove(node).unwrap_or_default();
        let local = self.local(node);
        let same = self.locals.insert(node.to_owned(), local.clone()).is_some_and(|before| before == local);
        let Some(old) = self.plans.get(node).filter(|_| same) else { return };
        let addresses = match affected {
            Affected::Nothing => BTreeSet::new(),
            Affected::Ports(addresses) => addresses,
            Affected::Everything => return,
        };
        let Some(part) = old.again(&self.world, &local, &addresses) else { return };
        let mut plan = old.clone();
        let (before, tables) = (plan.part(&addresses), part.tables.clone());
        assert_eq!(
            diff(&old.tables.part(&addresses), &tables),
            diff(&old.tables, &scratch.tables),
            "changes of {addresses:?} on {node}"
        );
        self.again += usize::from(before != part);
        plan.put(part);
        assert_eq!(plan, *scratch, "{addresses:?} on {node}");
        plan.put(before);
        assert_eq!(plan, *old, "a part that is put back");
    }

    fn report(&self, node: &str, plan: &NodePlan) -> EgressNodeSpec {
        let local = self.local(node);
        let mac = local.underlay.mac.map(|b| format!("{b:02x}")).join(":");
        let wire = |w: &LocalWire| Wire {
            interface: w.interface.clone(),
            addresses: w.addresses.iter().map(ToString::to_string).collect(),
            primary: w.primary.iter().map(ToString::to_string).collect(),
            carrier: w.carrier,
        };
        let mine = |((who, a), u): (&(String, IpAddr), &PortUse)| (who == node).then(|| (*a, u.clone()));
        let flows = self.flows.iter().filter_map(mine).collect();
        let ports = demand(&self.world, node, &plan.tables, &flows);
        EgressNodeSpec {
            underlay: local.underlay.address.to_string(),
            underlay_mac: Some(mac),
            wires: local.wires.iter().map(wire).collect(),
            programmed: plan.programmed.iter().map(|(a, r)| (a.to_string(), *r)).collect(),
            ports: ports.iter().map(|(a, p)| (a.to_string(), p.clone())).collect(),
            holds: plan.holds.keys().map(ToString::to_string).collect(),
            holders: plan.holders.iter().map(|(a, h)| (a.to_string(), h.clone())).collect(),
            links: plan.links.iter().cloned().collect(),
            ready: true,
            waiting: plan.waits().cloned().collect(),
            ..EgressNodeSpec::default()
        }
    }

    /// What a node knows of itself: wires by an annotation, links of its pods by their addresses.
    pub fn local(&self, node: &str) -> Local {
        let facts = &self.world.nodes()[node];
        let n = number(node);
        let address = facts.internal.first().copied().unwrap_or([127, 0, 0, 1].into());
        let wires = facts.labels.get("wire").map(|_| LocalWire {
            interface: "eth1".into(),
            link: 3,
            mac: [2, 0, 0, 0, 1, n],
            addresses: self.wires.get(node).cloned().unwrap_or_else(|| {
                let own = ["10.10.0.N/24", "fd00:10:10::N/64"];
                own.map(|net| net.replace('N', &(100 + n).to_string()).parse().unwrap()).into()
            }),
            primary: [].into(),
            carrier: true,
        });
        let link = |a: &IpAddr| {
            let last = match a {
                IpAddr::V4(a) => a.octets()[3],
                IpAddr::V6(a) => a.octets()[15],
            };
            PodLink {
                link: 100 + u32::from(last),
                mac: [2, 0, 0, 1, n, last],
                host_mac: [2, 0, 0, 2, n, last],
            }
        };
        let pods = || self.world.pods_on(node);
        let own = pods().filter(|(_, pod)| pod.network.is_none()).flat_map(|(_, pod)| &pod.addresses);
        // One that ends in .99 is on no link that the node can find, one of 10.88 belongs to a namespace's pods.
        let second = pods().filter(|(_, pod)| pod.network.is_some()).flat_map(|((namespace, place), pod)| {
            let name = format!("{namespace}/{}", place.split('/').next().unwrap());
            let found = pod.addresses.iter().filter(|a| match a {
                IpAddr::V4(a) => match a.octets() {
                    [.., 99] => false,
                    [10, 88, owner, _] => **namespace == *["a", "b", "c"][usize::from(owner)],
                    _ => true,
                },
                IpAddr::V6(_) => false,
            });
            found.map(move |a| (name.clone(), *a)).collect::<Vec<_>>()
        });
        let place =
            |a: IpAddr| SecondLink { at: link(&a), network: IpNet::new(a, 24).unwrap(), shared: false };
        let second = second.map(|(name, a)| ((name, a), place(a)));
        Local {
            node: node.to_owned(),
            unknown_pods: UnknownPods::Hold,
            steering: self.steering,
            overlay_mtu: 1450,
            underlay: Underlay {
                link: 2,
                address,
                mac: [2, 0, 0, 0, 0, n],
                addresses: [format!("10.0.0.{n}/24").parse().unwrap()].into(),
            },
            wires: wires.into_iter().collect(),
            pod_links: own.map(|a| (*a, link(a))).collect(),
            second_links: second.collect(),
            links: self.links.get(node).cloned().unwrap_or_default(),
            alive: self.nodes().into_iter().filter(|name| !self.off.contains(name)).collect(),
        }
    }
}

/// What annotations of a Service tell.
fn told_in(service: &Value) -> Map<String, Value> {
    let annotations = service["metadata"]["annotations"].as_object();
    let told = |name: &&str| Some(((*name).to_owned(), annotations?.get(*name)?.clone()));
    TOLD.iter().filter_map(told).collect()
}

fn number(node: &str) -> u8 {
    node.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// A node of the documentation's cluster.
pub fn node_object(n: u8) -> Object {
    let labels = match n {
        4.. => {
            json!({"wire": "eth1", "network-role": "egress-gateway", "kubernetes.io/hostname": format!("node-{n}")})
        }
        _ => json!({"kubernetes.io/hostname": format!("node-{n}")}),
    };
    decode(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{n}"), "labels": labels},
        "spec": {"podCIDRs": [format!("10.244.{n}.0/24"), format!("fd00:10:244:{n}::/64")]},
        "status": {"addresses": [
            {"type": "InternalIP", "address": format!("10.0.0.{n}")},
            {"type": "InternalIP", "address": format!("fd00:0:0:1::{n}")},
        ]},
    }))
}

/// A running pod.
pub fn pod_object(namespace: &str, name: &str, node: &str, last: u8, labels: Value) -> Object {
    let n = number(node);
    decode(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": "Running", "podIPs": [
            {"ip": format!("10.244.{n}.{last}")}, {"ip": format!("fd00:10:244:{n}::{last:x}")},
        ]},
    }))
}

/// Reads a manifest.
pub fn decode(value: Value) -> Object {
    let text = |field: &str| value[field].as_str().unwrap().to_owned();
    let kind = Kind::of(&text("apiVersion"), &text("kind")).unwrap();
    kind.decode(value).unwrap()
}

/// Applies one change as the kernel would.
pub fn put(kernel: &mut Tables, change: &Change) {
    match change.clone() {
        Change::Settings(s) => kernel.settings = s,
        Change::SetInside(n) => drop(kernel.inside.insert(n)),
        Change::RemoveInside(n) => assert!(kernel.inside.remove(&n)),
        Change::SetNode(a, e) => drop(kernel.nodes.insert(a, e)),
        Change::RemoveNode(a) => assert!(kernel.nodes.remove(&a).is_some()),
        Change::SetPod(a, e) => drop(kernel.pods.insert(a, e)),
        Change::RemovePod(a) => assert!(kernel.pods.remove(&a).is_some()),
        Change::SetRule(id, n, r) => drop(kernel.rules.insert((id, n), r)),
        Change::RemoveRule(id, n) => assert!(kernel.rules.remove(&(id, n)).is_some()),
        Change::SetEgress(a, e) => drop(kernel.egress.insert(a, e)),
        Change::RemoveEgress(a) => assert!(kernel.egress.remove(&a).is_some()),
        Change::SetServed(a, e) => drop(kernel.served.insert(a, e)),
        Change::RemoveServed(a) => assert!(kernel.served.remove(&a).is_some()),
        Change::SetLease(a, first, _, source) => drop(kernel.leases.insert((a, first), source)),
        Change::RemoveLease(a, first, _) => assert!(kernel.leases.remove(&(a, first)).is_some()),
        Change::SetGuard(g) => kernel.guard = g,
    }
}

/// No pod without its rules, no rule without its egress address: unless the plan itself is so.
pub fn refers_only_to_what_is_there(kernel: &Tables, desired: &Tables) {
    let sets: BTreeSet<u64> = kernel.rules.keys().map(|(id, _)| *id).collect();
    for (address, pod) in &kernel.pods {
        assert!(pod.rules == 0 || sets.contains(&pod.rules), "pod {address} has no rules");
        if let Some(id) = (pod.rules != 0)
            .then_some(pod.rules)
            .filter(|id| desired.pods.get(address).is_some_and(|p| p.rules == *id))
        {
            let part = |t: &Tables| t.rules.keys().filter(|(set, _)| *set == id).count();
            assert_eq!(part(kernel), part(desired), "pod {address} has a part of its rules");
        }
    }
    for ((id, net), rules) in &kernel.rules {
        for egress in rules.iter().filter_map(|r| r.egress) {
            let lacking = |t: &Tables| !t.egress.contains_key(&egress);
            assert!(
                !lacking(kernel) || lacking(desired),
                "rule {id:x} {net} names {egress}, which is not there"
            );
        }
    }
    for (address, entry) in &kernel.egress {
        if let Path::Overlay(gateway) = entry.path {
            let stays = desired.egress.get(address) == Some(entry);
            assert!(!stays || kernel.nodes.contains_key(&gateway), "{address} goes by an unknown node");
        }
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for object in self.objects.values().filter(|o| o.kind() != Kind::EgressNode && o.kind() != Kind::Node)
        {
            writeln!(f, "{}", object.encode().unwrap())?;
        }
        writeln!(f, "powered off: {:?}", self.off)
    }
}

//! What the store says and said, for the sniffer's verdicts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use egret_api::Object;
use egret_plan::{ClusterSettings, Expected, World, expected_source};
use egret_store::Directory;

use super::conntrack::{self, Connections};
use super::judge::{Expectation, Origin, Witness};
use super::packet::Flow;
use crate::kubernetes;
use crate::manifest;
use crate::reader::{self, Reader, View};
use crate::state::{Paths, State, StoreKind};

/// How long back a packet may have been caught.
const REMEMBERED: Duration = Duration::from_secs(30);

/// What the store has said in the last while. A packet is judged by what held when it was caught, which may be
/// a while before anybody has time to look at it.
#[derive(Clone, Default)]
pub struct History {
    moments: VecDeque<Arc<Moment>>,
    /// What is inside besides nodes and pods.
    settings: ClusterSettings,
}

/// The store at one moment.
struct Moment {
    since: SystemTime,
    /// Everything that people want.
    wanted: Arc<World>,
    /// Everything as each node last had it in force: a policy binds a node only from then on.
    in_force: BTreeMap<String, Arc<World>>,
    egress: BTreeMap<IpAddr, Ports>,
    /// Where Services are reached from outside: what comes from there is their answer.
    frontends: BTreeSet<(IpAddr, u16)>,
}

struct Ports {
    block_size: u16,
    blocks: BTreeSet<u16>,
}

impl History {
    fn add(&mut self, now: SystemTime, view: View) {
        let mut in_force = self.moments.back().map(|m| m.in_force.clone()).unwrap_or_default();
        let (mut seen, mut egress) = (BTreeSet::new(), BTreeMap::new());
        let mut frontends = BTreeSet::new();
        for object in &view.snapshot.objects {
            match &**object {
                Object::EgressNode(node) => {
                    let name = node.metadata.name.as_deref().unwrap_or_default();
                    if node.spec.observed_objects == view.digest_at(name) {
                        seen.insert(name.to_owned());
                    }
                }
                Object::EgressAddress(record) => {
                    let Ok(address) = record.spec.address.parse() else { continue };
                    let blocks = record.spec.leases.iter().map(|l| l.first_port).collect();
                    egress.insert(address, Ports { block_size: record.spec.block_size, blocks });
                }
                Object::Service(service) => {
                    frontends.extend(reached_at(&serde_json::to_value(service).unwrap_or_default()))
                }
                _ => {}
            }
        }
        let objects = view.snapshot.objects.iter().map(|object| Object::clone(object));
        let wanted = Arc::new(World::from_objects(objects));
        in_force.extend(seen.into_iter().map(|node| (node, Arc::clone(&wanted))));
        self.moments.push_back(Arc::new(Moment { since: now, wanted, in_force, egress, frontends }));
        // The oldest that still counts is the last from before the time that is remembered.
        let start = now.checked_sub(REMEMBERED).unwrap_or(SystemTime::UNIX_EPOCH);
        while self.moments.get(1).is_some_and(|second| second.since <= start) {
            self.moments.pop_front();
        }
    }

    /// The moment that a time belongs to, and all that came after.
    fn from(&self, time: SystemTime) -> impl Iterator<Item = &Moment> {
        let first = self.moments.partition_point(|m| m.since <= time).saturating_sub(1);
        self.moments.iter().skip(first).map(|moment| &**moment)
    }

    fn leased(&self, time: SystemTime, address: IpAddr, port: Option<u16>) -> Option<bool> {
        if port.is_some_and(|port| self.from(time).any(|m| m.frontends.contains(&(address, port)))) {
            return Some(true);
        }
        let records = self.from(time).filter_map(|m| m.egress.get(&address));
        records.map(|ports| port.is_none_or(|port| ports.hold(port))).reduce(|one, other| one || other)
    }

    fn expectation(&self, time: SystemTime, node: &str, origin: &Origin, protocol: u8) -> Expectation {
        let says = |moment: &Moment| expect(&moment.wanted, &self.settings, origin, protocol);
        let (Some(then), Some(now)) = (self.from(time).next(), self.moments.back()) else {
            return Expectation::UnknownPod;
        };
        // What was said of the pod as soon as anything was: of a pod that nobody knows yet, nothing may leave.
        let known = self.from(time).map(says).find(|said| *said != Expectation::UnknownPod);
        let at_node = then.in_force.get(node).map(|world| expect(world, &self.settings, origin, protocol));
        match (says(now), known, at_node) {
            (Expectation::Egress(_), Some(Expectation::Ordinary), _) => Expectation::Ordinary,
            // The node had not heard of the policy: it bound nobody there.
            (Expectation::Egress(_), _, None | Some(Expectation::Ordinary)) => Expectation::Ordinary,
            (said, _, _) => said,
        }
    }
}

impl Ports {
    fn hold(&self, port: u16) -> bool {
        port.checked_div(self.block_size).is_some_and(|n| self.blocks.contains(&(n * self.block_size)))
    }
}

/// The addresses and ports at which a Service is reached from outside.
fn reached_at(service: &serde_json::Value) -> Vec<(IpAddr, u16)> {
    let list = |pointer: &str| {
        service.pointer(pointer).and_then(|list| list.as_array().cloned()).unwrap_or_default()
    };
    let ports: Vec<u16> =
        list("/spec/ports").iter().filter_map(|port| u16::try_from(port["port"].as_u64()?).ok()).collect();
    let given = list("/status/loadBalancer/ingress").into_iter();
    let given = given.filter_map(|ingress| ingress["ip"].as_str()?.parse::<IpAddr>().ok());
    given.flat_map(|address| ports.iter().map(move |port| (address, *port)).collect::<Vec<_>>()).collect()
}

fn expect(world: &World, settings: &ClusterSettings, origin: &Origin, protocol: u8) -> Expectation {
    let to = egret_plan::Packet { address: origin.destination, protocol, port: origin.destination_port };
    match expected_source(world, settings, origin.source, to) {
        Expected::UnknownPod => Expectation::UnknownPod,
        Expected::Ordinary | Expected::EgressOrOrdinary(_) => Expectation::Ordinary,
        Expected::Egress(address) => Expectation::Egress(Some(address)),
        Expected::Dropped => Expectation::Egress(None),
    }
}

/// A history that a thread of its own keeps fresh, and what must be asked of the nodes' kernels.
pub struct Facts {
    shared: Arc<Mutex<History>>,
    history: History,
    caught: SystemTime,
    store: Store,
    namespaces: BTreeMap<String, String>,
    connections: BTreeMap<String, Connections>,
    failure: Option<anyhow::Error>,
}

impl Facts {
    /// Starts to follow the store. `namespaces`: the nodes' network namespaces by node.
    ///
    /// # Errors
    /// When the store cannot be watched.
    pub fn follow(paths: &Paths, state: &State, namespaces: BTreeMap<String, String>) -> Result<Facts> {
        let services = state.topology.has_proxies().then_some(kubernetes::SERVICES);
        let inside = services.into_iter().filter_map(|net| net.parse().ok()).collect();
        let history = History { settings: ClusterSettings { inside }, ..History::default() };
        let shared = Arc::new(Mutex::new(history));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (paths_, state_, writer) = (paths.clone(), state.clone(), Arc::clone(&shared));
        std::thread::Builder::new().name("store".to_owned()).spawn(move || {
            reader::block_on(&state_, async {
                let opened = Reader::open(&paths_, &state_).await;
                let (told, opened) = match opened {
                    Ok(reader) => (Ok(()), Some(reader)),
                    Err(error) => (Err(error), None),
                };
                let _ = ready.send(told);
                let Some(mut watched) = opened else { return Ok(()) };
                loop {
                    let view = watched.view().await;
                    writer.lock().unwrap_or_else(PoisonError::into_inner).add(SystemTime::now(), view);
                    watched.changed().await;
                }
            })
        })?;
        is_ready.recv().context("the store's thread ended")??;
        let store = match state.store {
            StoreKind::Directory => Store::Directory(Box::new(manifest::store(paths)?)),
            StoreKind::Kubernetes => Store::Kubernetes(paths.clone(), Box::new(state.clone())),
        };
        let (history, caught) = (History::default(), SystemTime::UNIX_EPOCH);
        Ok(Facts { shared, history, caught, store, namespaces, connections: BTreeMap::new(), failure: None })
    }

    /// Takes over what the store said last. To be called before a verdict on a packet caught at that time.
    pub fn refresh(&mut self, caught: SystemTime) {
        self.caught = caught;
        self.history = self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
    }

    /// Whether everything that was asked for since the last time could be looked up.
    ///
    /// # Errors
    /// What could not.
    pub fn check(&mut self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Reads the store now, for a verdict that must not rest on old news.
    pub fn insist(&mut self) {
        let view = self.store.read();
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        // A server that does not answer has no news either.
        if let Ok(view) = view {
            shared.add(SystemTime::now(), view);
        }
        self.history = shared.clone();
        drop(shared);
        self.connections.clear();
    }
}

/// The store, to be read at once.
enum Store {
    Directory(Box<Directory>),
    Kubernetes(Paths, Box<State>),
}

impl Store {
    fn read(&self) -> Result<View> {
        match self {
            Store::Directory(store) => Ok(View::of(store)),
            Store::Kubernetes(paths, state) => {
                reader::block_on(state, async { Ok(Reader::open(paths, state).await?.view().await) })
            }
        }
    }
}

impl Witness for Facts {
    fn origin(&mut self, node: &str, flow: &Flow) -> Option<Origin> {
        if let Some(known) = self.connections.get(node).and_then(|c| c.get(flow)) {
            return Some(*known);
        }
        match conntrack::read(self.namespaces.get(node)?) {
            Ok(fresh) => {
                let origin = fresh.get(flow).copied();
                self.connections.insert(node.to_owned(), fresh);
                origin
            }
            Err(error) => {
                self.failure.get_or_insert(error);
                None
            }
        }
    }

    fn expectation(&mut self, node: &str, origin: &Origin, protocol: u8) -> Expectation {
        self.history.expectation(self.caught, node, origin, protocol)
    }

    fn leased(&mut self, address: IpAddr, port: Option<u16>) -> Option<bool> {
        self.history.leased(self.caught, address, port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_api::{EgressAddress, EgressAddressSpec, EgressNode, EgressNodeSpec, Kind, Lease, Timeouts};
    use egret_store::Snapshot;
    use serde_json::json;

    const POD: &str = "10.244.1.10";
    const WRONG: Expectation = Expectation::Egress(None);

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn pod() -> Object {
        let meta = json!({"name": "web", "namespace": "prod"});
        let status = json!({"phase": "Running", "podIP": POD, "podIPs": [{"ip": POD}]});
        Kind::Pod
            .decode(
                json!({"metadata": meta, "spec": {"nodeName": "node-1", "containers": []}, "status": status}),
            )
            .unwrap()
    }

    fn namespace() -> Object {
        Kind::Namespace.decode(json!({"metadata": {"name": "prod"}})).unwrap()
    }

    /// A policy whose pool is missing: nothing of its pods may leave.
    fn policy() -> Object {
        let spec = json!({"namespaceSelector": {}, "pool": "missing"});
        Kind::ClusterEgressPolicy.decode(json!({"metadata": {"name": "all"}, "spec": spec})).unwrap()
    }

    fn node(observed: &str) -> Object {
        let spec = EgressNodeSpec { observed_objects: observed.into(), ..EgressNodeSpec::default() };
        Object::EgressNode(Box::new(EgressNode::new("node-1", spec)))
    }

    fn snapshot(digest: &str, objects: Vec<Object>) -> View {
        let objects = objects.into_iter().map(Into::into).collect();
        let snapshot = Snapshot { objects, objects_digest: digest.into(), ..Snapshot::default() };
        View { snapshot, ..View::default() }
    }

    fn expected(history: &History, second: u64) -> Expectation {
        let (source, destination) = (POD.parse().unwrap(), "198.51.100.10".parse().unwrap());
        history.expectation(at(second), "node-1", &Origin { source, destination, destination_port: 80 }, 6)
    }

    #[test]
    fn a_policy_binds_a_node_from_when_it_is_in_force_there() {
        let mut history = History::default();
        history.add(at(10), snapshot("a", vec![namespace(), pod(), node("a")]));
        history.add(at(20), snapshot("b", vec![namespace(), pod(), policy(), node("a")]));
        history.add(at(30), snapshot("b", vec![namespace(), pod(), policy(), node("b")]));
        let seen: Vec<Expectation> = [12, 22, 32].iter().map(|second| expected(&history, *second)).collect();
        assert_eq!(seen, [Expectation::Ordinary, Expectation::Ordinary, WRONG]);
    }

    #[test]
    fn a_policy_that_is_gone_binds_nobody() {
        let mut history = History::default();
        history.add(at(10), snapshot("a", vec![namespace(), pod(), policy(), node("a")]));
        assert_eq!(expected(&history, 12), WRONG);
        history.add(at(20), snapshot("b", vec![namespace(), pod(), node("a")]));
        assert_eq!(expected(&history, 22), Expectation::Ordinary);
    }

    #[test]
    fn a_pod_is_bound_before_anybody_knows_it_unless_its_policy_came_later() {
        let mut history = History::default();
        history.add(at(10), snapshot("a", vec![namespace(), policy(), node("a")]));
        assert_eq!(expected(&history, 12), Expectation::UnknownPod);
        history.add(at(20), snapshot("b", vec![namespace(), policy(), pod(), node("a")]));
        assert_eq!(expected(&history, 12), WRONG);
        let mut history = History::default();
        history.add(at(10), snapshot("a", vec![namespace(), node("a")]));
        history.add(at(20), snapshot("b", vec![namespace(), pod(), node("b")]));
        history.add(at(30), snapshot("c", vec![namespace(), pod(), policy(), node("c")]));
        assert_eq!(expected(&history, 12), Expectation::Ordinary);
    }

    #[test]
    fn a_port_may_be_used_that_was_leased_when_the_packet_was_caught() {
        let record = |first_port: u16| {
            let lease = Lease { node: "node-1".into(), first_port, revision: 1, released: None };
            let spec = EgressAddressSpec {
                address: "10.10.0.11".into(),
                pool: "EgressPool/p".into(),
                node_address: false,
                interface: None,
                claims: vec![],
                candidates: vec![],
                preferred: vec![],
                block_size: 1024,
                pod_share: 2,
                timeouts: Timeouts::default(),
                leases: vec![lease],
                revision: 1,
            };
            Object::EgressAddress(Box::new(EgressAddress::new("10-10-0-11", spec)))
        };
        let mut history = History::default();
        history.add(at(10), snapshot("a", vec![record(1024)]));
        history.add(at(20), snapshot("a", vec![record(4096)]));
        let leased = |second, port| history.leased(at(second), "10.10.0.11".parse().unwrap(), Some(port));
        assert_eq!(
            [leased(12, 1500), leased(22, 1500), leased(22, 5119)],
            [Some(true), Some(false), Some(true)]
        );
        assert_eq!(history.leased(at(12), "10.10.0.99".parse().unwrap(), Some(1500)), None);
    }

    #[test]
    fn what_comes_from_where_a_service_is_reached_is_its_answer() {
        let service = json!({
            "metadata": {"name": "sip", "namespace": "telephony"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 1100}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "10.10.0.40"}]}},
        });
        let mut history = History::default();
        history.add(at(10), snapshot("a", vec![Kind::Service.decode(service).unwrap()]));
        let leased = |port| history.leased(at(12), "10.10.0.40".parse().unwrap(), Some(port));
        assert_eq!([leased(1100), leased(1101)], [Some(true), None]);
    }
}

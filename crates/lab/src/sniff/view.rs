//! What the store says and said, for the sniffer's verdicts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use egret_api::Object;
use egret_plan::{ClusterSettings, Expected, World, expected_source};
use egret_store::{Directory, Snapshot};

use super::conntrack::{self, Connections};
use super::judge::{Expectation, Origin, Witness};
use super::packet::Flow;
use crate::manifest;
use crate::state::Paths;

/// How long back a packet may have been caught.
const REMEMBERED: Duration = Duration::from_secs(30);

/// What the store has said in the last while. A packet is judged by what held when it was caught, which may be
/// a while before anybody has time to look at it.
#[derive(Clone, Default)]
pub struct History {
    moments: VecDeque<Arc<Moment>>,
}

/// The store at one moment.
struct Moment {
    since: SystemTime,
    /// Everything that people want.
    wanted: Arc<World>,
    /// Everything as each node last had it in force: a policy binds a node only from then on.
    in_force: BTreeMap<String, Arc<World>>,
    egress: BTreeMap<IpAddr, Ports>,
}

struct Ports {
    block_size: u16,
    blocks: BTreeSet<u16>,
}

impl History {
    fn add(&mut self, now: SystemTime, snapshot: Snapshot) {
        let mut in_force = self.moments.back().map(|m| m.in_force.clone()).unwrap_or_default();
        let (mut seen, mut egress) = (BTreeSet::new(), BTreeMap::new());
        for object in &snapshot.objects {
            match object {
                Object::EgressNode(node) if node.spec.observed_objects == snapshot.objects_digest => {
                    seen.extend(node.metadata.name.clone());
                }
                Object::EgressAddress(record) => {
                    let Ok(address) = record.spec.address.parse() else { continue };
                    let blocks = record.spec.leases.iter().map(|l| l.first_port).collect();
                    egress.insert(address, Ports { block_size: record.spec.block_size, blocks });
                }
                _ => {}
            }
        }
        let wanted = Arc::new(World::from_objects(snapshot.objects));
        in_force.extend(seen.into_iter().map(|node| (node, Arc::clone(&wanted))));
        self.moments.push_back(Arc::new(Moment { since: now, wanted, in_force, egress }));
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
        let records = self.from(time).filter_map(|m| m.egress.get(&address));
        records.map(|ports| port.is_none_or(|port| ports.hold(port))).reduce(|one, other| one || other)
    }

    fn expectation(&self, time: SystemTime, node: &str, origin: &Origin, protocol: u8) -> Expectation {
        let says = |moment: &Moment| expect(&moment.wanted, origin, protocol);
        let (Some(then), Some(now)) = (self.from(time).next(), self.moments.back()) else {
            return Expectation::UnknownPod;
        };
        // What was said of the pod as soon as anything was: of a pod that nobody knows yet, nothing may leave.
        let known = self.from(time).map(says).find(|said| *said != Expectation::UnknownPod);
        let at_node = then.in_force.get(node).map(|world| expect(world, origin, protocol));
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

fn expect(world: &World, origin: &Origin, protocol: u8) -> Expectation {
    let to = egret_plan::Packet { address: origin.destination, protocol, port: origin.destination_port };
    match expected_source(world, &ClusterSettings::default(), origin.source, to) {
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
    store: Directory,
    namespaces: BTreeMap<String, String>,
    connections: BTreeMap<String, Connections>,
}

impl Facts {
    /// Starts to follow the store. `namespaces`: the nodes' network namespaces by node.
    ///
    /// # Errors
    /// When the store cannot be watched.
    pub fn follow(paths: &Paths, namespaces: BTreeMap<String, String>) -> Result<Facts> {
        let shared = Arc::new(Mutex::new(History::default()));
        let (mut watched, writer) = (manifest::store(paths)?, Arc::clone(&shared));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("store".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    let snapshot = watched.snapshot();
                    writer.lock().unwrap_or_else(PoisonError::into_inner).add(SystemTime::now(), snapshot);
                    watched.changed().await;
                }
            })
        })?;
        let store = manifest::store(paths)?;
        let (history, caught) = (History::default(), SystemTime::UNIX_EPOCH);
        Ok(Facts { shared, history, caught, store, namespaces, connections: BTreeMap::new() })
    }

    /// Takes over what the store said last. To be called before a verdict on a packet caught at that time.
    pub fn refresh(&mut self, caught: SystemTime) {
        self.caught = caught;
        self.history = self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
    }

    /// Reads the store now, for a verdict that must not rest on old news.
    pub fn insist(&mut self) {
        let snapshot = self.store.snapshot();
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.add(SystemTime::now(), snapshot);
        self.history = shared.clone();
        drop(shared);
        self.connections.clear();
    }
}

impl Witness for Facts {
    fn origin(&mut self, node: &str, flow: &Flow) -> Option<Origin> {
        if let Some(known) = self.connections.get(node).and_then(|c| c.get(flow)) {
            return Some(*known);
        }
        let fresh = conntrack::read(self.namespaces.get(node)?).unwrap_or_default();
        let origin = fresh.get(flow).copied();
        self.connections.insert(node.to_owned(), fresh);
        origin
    }

    fn expectation(&mut self, node: &str, origin: &Origin, protocol: u8) -> Expectation {
        self.history.expectation(self.caught, node, origin, protocol)
    }

    fn leased(&mut self, address: IpAddr, port: Option<u16>) -> Option<bool> {
        self.history.leased(self.caught, address, port)
    }
}

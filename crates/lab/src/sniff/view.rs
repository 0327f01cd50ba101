//! What the store says, kept fresh for the sniffer's verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use egret_api::Object;
use egret_plan::{ClusterSettings, Expected, World, expected_source};
use egret_store::{Directory, Snapshot};

use super::conntrack::{self, Connections};
use super::judge::{Expectation, Origin, Witness};
use super::packet::Flow;
use crate::manifest;
use crate::state::Paths;

/// The store at one moment.
#[derive(Clone, Default)]
pub struct View {
    /// Everything, as of now.
    latest: Arc<World>,
    /// Everything as of when each node last had it in force: a policy binds a node only from then on.
    in_force: BTreeMap<String, Arc<World>>,
    egress: BTreeMap<IpAddr, Ports>,
}

#[derive(Clone, Default)]
struct Ports {
    block_size: u16,
    blocks: BTreeSet<u16>,
}

impl View {
    fn update(&mut self, snapshot: Snapshot) {
        let mut seen = BTreeSet::new();
        self.egress.clear();
        for object in &snapshot.objects {
            match object {
                Object::EgressNode(node) if node.spec.observed_objects == snapshot.objects_digest => {
                    seen.extend(node.metadata.name.clone());
                }
                Object::EgressAddress(record) => {
                    let Ok(address) = record.spec.address.parse() else { continue };
                    let blocks = record.spec.leases.iter().map(|l| l.first_port).collect();
                    self.egress.insert(address, Ports { block_size: record.spec.block_size, blocks });
                }
                _ => {}
            }
        }
        self.latest = Arc::new(World::from_objects(snapshot.objects));
        for node in seen {
            self.in_force.insert(node, Arc::clone(&self.latest));
        }
    }

    fn leased(&self, address: IpAddr, port: Option<u16>) -> Option<bool> {
        let ports = self.egress.get(&address)?;
        let Some(port) = port else { return Some(true) };
        let block = port.checked_div(ports.block_size).map(|n| n * ports.block_size);
        Some(block.is_some_and(|b| ports.blocks.contains(&b)))
    }

    fn expectation(&self, node: &str, origin: &Origin, protocol: u8) -> Expectation {
        let in_world = |world: &World| {
            let to =
                egret_plan::Packet { address: origin.destination, protocol, port: origin.destination_port };
            match expected_source(world, &ClusterSettings::default(), origin.source, to) {
                Expected::UnknownPod => Expectation::UnknownPod,
                Expected::Ordinary | Expected::EgressOrOrdinary(_) => Expectation::Ordinary,
                Expected::Egress(address) => Expectation::Egress(Some(address)),
                Expected::Dropped => Expectation::Egress(None),
            }
        };
        let now = in_world(&self.latest);
        // A policy that the node has not heard of yet binds nobody there. A pod that it has not heard of is bound
        // at once: nothing of it may leave.
        match (now, self.in_force.get(node).map(|world| in_world(world))) {
            (Expectation::Egress(_), None | Some(Expectation::Ordinary)) => Expectation::Ordinary,
            (now, _) => now,
        }
    }
}

/// A view that a thread of its own keeps fresh, and what must be asked of the nodes' kernels.
pub struct Facts {
    shared: Arc<Mutex<View>>,
    view: View,
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
        let shared = Arc::new(Mutex::new(View::default()));
        let (mut watched, writer) = (manifest::store(paths)?, Arc::clone(&shared));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("store".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    let snapshot = watched.snapshot();
                    writer.lock().unwrap_or_else(PoisonError::into_inner).update(snapshot);
                    watched.changed().await;
                }
            })
        })?;
        let store = manifest::store(paths)?;
        Ok(Facts { shared, view: View::default(), store, namespaces, connections: BTreeMap::new() })
    }

    /// Takes over what the store said last. To be called before a verdict.
    pub fn refresh(&mut self) {
        self.view = self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
    }

    /// Reads the store now, for a verdict that must not rest on old news.
    pub fn insist(&mut self) {
        let snapshot = self.store.snapshot();
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.update(snapshot);
        self.view = shared.clone();
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
        self.view.expectation(node, origin, protocol)
    }

    fn leased(&mut self, address: IpAddr, port: Option<u16>) -> Option<bool> {
        self.view.leased(address, port)
    }
}

//! Addresses that are nodes' own: which of them a pool means, and which of them its policies prefer.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_api::{Family, Kind, ObjectKey};

use crate::elect;
use crate::facts::Report;
use crate::intent::Pool;
use crate::world::World;

/// So many nodes of a pool have ports leased of their addresses: the one that is used, and those that stand by. What
/// stands by costs each source node a block of each of these addresses.
const AT_ONCE: usize = 3;

/// An address, and the node whose own it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnAddress {
    pub address: IpAddr,
    pub node: String,
}

impl OwnAddress {
    /// What stands in the place of a pool: the node.
    pub fn owner(&self) -> ObjectKey {
        ObjectKey { kind: Kind::Node, namespace: String::new(), name: self.node.clone() }
    }
}

/// The addresses of every pool of nodes' own addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnAddresses {
    /// All of them, the preferred first.
    pools: BTreeMap<ObjectKey, Vec<OwnAddress>>,
}

impl OwnAddresses {
    pub fn new(world: &World) -> Self {
        let pools = world.pools().values().filter_map(|written| written.meaning.as_ref().ok());
        let own = pools.filter_map(|pool| Some((pool.key.clone(), of_pool(world, pool, pool.node_address?))));
        Self { pools: own.collect() }
    }

    /// Every address of a pool, the preferred first.
    pub fn of(&self, pool: &ObjectKey) -> &[OwnAddress] {
        self.pools.get(pool).map(Vec::as_slice).unwrap_or_default()
    }

    /// Those of which ports are leased.
    pub fn in_reserve(&self, pool: &ObjectKey) -> &[OwnAddress] {
        let all = self.of(pool);
        all.get(..AT_ONCE).unwrap_or(all)
    }

    /// The pools that an address is in.
    pub fn pools_with(&self, address: IpAddr) -> impl Iterator<Item = &ObjectKey> {
        let has = move |own: &&OwnAddress| own.address == address;
        self.pools.iter().filter(move |(_, list)| list.iter().any(|own| has(&own))).map(|(key, _)| key)
    }
}

fn of_pool(world: &World, pool: &Pool, family: Family) -> Vec<OwnAddress> {
    let v6 = family == Family::IPv6;
    let nodes = world
        .nodes()
        .iter()
        .filter(|(_, node)| pool.nodes.matches(&node.labels) && (node.suitable || !pool.suitable_nodes));
    let mut found: Vec<OwnAddress> = nodes
        .filter_map(|(name, _)| {
            let wires = &world.reports().get(name)?.wires;
            let wire = wires.iter().find(|wire| pool.interface.as_ref() == Some(&wire.interface))?;
            Some(OwnAddress { address: wire.first(v6)?, node: name.clone() })
        })
        .collect();
    let reference = pool.reference();
    found.sort_by_cached_key(|own| Reverse(elect::preference(&reference, &own.node)));
    found
}

/// Every address that a node has on an interface towards the outside.
pub(crate) fn every(world: &World) -> impl Iterator<Item = OwnAddress> {
    let of_node = |(name, report): (&String, &Report)| {
        let addresses = report.wires.iter().flat_map(|wire| &wire.addresses);
        let own = addresses.map(|net| OwnAddress { address: net.addr().to_canonical(), node: name.clone() });
        own.collect::<Vec<_>>()
    };
    world.reports().iter().flat_map(of_node)
}

/// The node that has an address on one of its interfaces; of several the first by name that has a carrier there.
pub(crate) fn node_with(world: &World, address: IpAddr) -> Option<OwnAddress> {
    let has = |(name, report): (&String, &Report)| {
        let wire = report.own_wire(address).filter(|_| world.nodes().contains_key(name))?;
        Some((!wire.carrier, name.clone()))
    };
    let (_, node) = world.reports().iter().filter_map(has).min()?;
    Some(OwnAddress { address, node })
}

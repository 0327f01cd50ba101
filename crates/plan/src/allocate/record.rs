//! The record of one address.

use std::collections::BTreeSet;
use std::net::IpAddr;

use egret_api::EgressAddressSpec;
use jiff::Timestamp;

use super::candidates::Candidates;
use super::claims::{self, Claims};
use super::leases;
use crate::intent::{Rank, reference};
use crate::world::World;

/// What is decided about one address.
#[derive(Default)]
pub(crate) struct Decided {
    /// The record; `None` if the address is nobody's.
    pub spec: Option<EgressAddressSpec>,
    /// When time alone changes the record.
    pub wake: Option<Timestamp>,
    /// Nodes that need ports and get none.
    pub starved: Vec<String>,
}

/// Decides the record of an address.
pub(crate) fn decide(
    world: &World,
    claims: &Claims,
    candidates: &Candidates,
    address: IpAddr,
    now: Timestamp,
) -> Decided {
    let before = world.record(address).map(|r| &r.spec);
    let uses = claims.by_address.get(&address);
    let pool = uses.and_then(|u| claims::pool(world, &u.pool).ok());
    let nodes: BTreeSet<&str> = uses
        .into_iter()
        .flat_map(|u| &u.ranks)
        .flat_map(|rank| world.users_of(&rank.key))
        .filter(|node| world.nodes().contains_key(*node))
        .collect();
    let ports = pool.map(|p| p.ports.clone()).unwrap_or_default();
    let leased = leases::lease(world, address, before, &nodes, &ports, now);
    if uses.is_none() && leased.leases.is_empty() {
        return Decided::default();
    }
    let spec = EgressAddressSpec {
        address: address.to_string(),
        pool: match (uses, before) {
            (Some(uses), _) => reference(&uses.pool),
            (None, before) => before.map(|r| r.pool.clone()).unwrap_or_default(),
        },
        interface: match (pool, before) {
            (Some(pool), _) => pool.interface.clone(),
            (None, before) => before.and_then(|r| r.interface.clone()),
        },
        claims: uses.map(|u| u.ranks.iter().map(Rank::claim).collect()).unwrap_or_default(),
        candidates: match (pool, before) {
            (Some(pool), _) => candidates.of(&pool.key, address),
            (None, before) => before.map(|r| r.candidates.clone()).unwrap_or_default(),
        },
        block_size: leased.block_size,
        leases: leased.leases,
        revision: leased.revision,
    };
    Decided { spec: Some(spec), wake: leased.wake, starved: leased.starved }
}

//! What the controller decides: whose an address is, whose its ports are, and what each object is told.

mod candidates;
mod claims;
mod leases;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::{EgressAddressSpec, ObjectKey, PortSettings};
use jiff::Timestamp;

use crate::facts::{Record, record_name};
use crate::inside::ClusterSettings;
use crate::intent::{Pool, Rank, reference};
use crate::world::World;

pub use leases::QUARANTINE;

/// What the controller writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Every EgressAddress that must exist, by the record's name. What is not here must not exist.
    pub addresses: BTreeMap<String, EgressAddressSpec>,
    /// The whole `.status` of every pool and policy.
    pub statuses: BTreeMap<ObjectKey, serde_json::Value>,
    /// When time alone changes the decision.
    pub wake: Option<Timestamp>,
}

/// Decides from scratch.
pub fn decide(world: &World, _settings: &ClusterSettings, now: Timestamp) -> Decision {
    let claims = claims::settle(world);
    let users = users(world);
    let mut decision = Decision::default();
    let mut starved: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    let mut addresses: BTreeSet<IpAddr> = claims.by_address.keys().copied().collect();
    addresses.extend(world.records().values().map(|r| r.address));
    for address in addresses {
        let (record, wake, without) = record(world, &claims, &users, address, now);
        decision.wake = [decision.wake, wake].into_iter().flatten().min();
        if let Some(record) = record {
            starved.insert(address, without);
            decision.addresses.insert(record_name(address), record);
        }
    }
    status::write(world, &claims, &starved, now, &mut decision);
    decision
}

/// The nodes on which each policy selects a pod.
pub(crate) type Users = BTreeMap<Rank, BTreeSet<String>>;

fn users(world: &World) -> Users {
    let mut users = Users::new();
    for (key, pod) in world.pods() {
        for intent in world.policies_of(key, pod) {
            users.entry(intent.rank.clone()).or_default().insert(pod.node.clone());
        }
    }
    users
}

/// The record of an address, when it changes by itself, and nodes that get no port of it.
fn record(
    world: &World,
    claims: &claims::Claims,
    users: &Users,
    address: IpAddr,
    now: Timestamp,
) -> (Option<EgressAddressSpec>, Option<Timestamp>, Vec<String>) {
    let before = world.record(address);
    let uses = claims.by_address.get(&address);
    let pool = uses.and_then(|u| claims::pool(world, &u.pool).ok());
    let ports = pool.map(|p| p.ports.clone()).unwrap_or_default();
    let nodes: BTreeSet<&str> = uses
        .into_iter()
        .flat_map(|u| &u.ranks)
        .filter_map(|rank| users.get(rank))
        .flatten()
        .map(String::as_str)
        .filter(|node| world.nodes().contains_key(*node))
        .collect();
    let leased = leases::lease(world, address, before.map(|r| &r.spec), &nodes, &ports, now);
    if uses.is_none() && leased.leases.is_empty() {
        return (None, None, Vec::new());
    }
    let spec = EgressAddressSpec {
        address: address.to_string(),
        pool: match (uses, before) {
            (Some(uses), _) => reference(&uses.pool),
            (None, before) => before.map(|r| r.spec.pool.clone()).unwrap_or_default(),
        },
        interface: match (pool, before) {
            (Some(pool), _) => pool.interface.clone(),
            (None, before) => before.and_then(|r| r.spec.interface.clone()),
        },
        claims: uses.map(|u| u.ranks.iter().map(Rank::claim).collect()).unwrap_or_default(),
        candidates: match (pool, before) {
            (Some(pool), _) => candidates::of(world, pool, address),
            (None, before) => before.map(|r| r.spec.candidates.clone()).unwrap_or_default(),
        },
        block_size: leased.block_size,
        leases: leased.leases,
        revision: leased.revision,
    };
    (Some(spec), leased.wake, leased.starved)
}

/// The block size of an address: a record keeps its own while any of its ports is leased.
fn block_size(before: Option<&EgressAddressSpec>, ports: &PortSettings) -> u16 {
    before
        .filter(|r| !r.leases.is_empty() && r.block_size.is_power_of_two() && r.block_size <= 8192)
        .map_or(ports.block_size, |r| r.block_size)
}

/// The holder of an address by what nodes report: the one that most of the nodes that use the address believe
/// in (or none, if most find none alive). Where nobody uses it, the candidates say themselves; of several the
/// one that would only hold if the others were dead.
pub(crate) fn reported_holder<'a>(world: &World, record: &'a Record) -> Option<&'a str> {
    let text = record.address.to_string();
    let report = |node: &str| world.reports().get(node).filter(|r| r.spec.ready);
    let mut votes: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    let users: BTreeSet<&str> = record.spec.leases.iter().map(|l| l.node.as_str()).collect();
    for user in users.into_iter().filter_map(report).filter(|r| r.spec.ports.contains_key(&text)) {
        *votes.entry(user.spec.holders.get(&text).map(String::as_str)).or_default() += 1;
    }
    if let Some((winner, _)) = votes.into_iter().max_by_key(|(_, count)| *count) {
        let serves = |c: &&str| report(c).is_some_and(|r| r.programmed.contains_key(&record.address));
        let winner = winner?;
        return record.ranking.iter().map(String::as_str).find(|c| *c == winner).filter(serves);
    }
    let holds = |c: &&str| report(c).is_some_and(|r| r.holds.contains(&record.address));
    record.ranking.iter().map(String::as_str).rfind(holds)
}

/// The pools that are in force, oldest first.
pub(crate) fn pools(world: &World) -> Vec<&Pool> {
    let mut pools: Vec<&Pool> =
        world.pools().values().filter_map(|p| p.meaning.as_ref().ok().map(AsRef::as_ref)).collect();
    pools.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.key.cmp(&b.key)));
    pools
}

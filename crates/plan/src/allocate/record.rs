//! The record of one address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::{EgressAddressSpec, Kind, Mode, PortSettings, Timeouts};
use jiff::Timestamp;

use super::candidates::Candidates;
use super::claims::{self, Claims, Use};
use super::leases::{self, OWN_PORTS, Ports, SHARED_PORTS};
use super::preferred::preferred;
use crate::elect;
use crate::facts::Report;
use crate::intent::{Pool, Rank, reference};
use crate::world::World;

/// What is decided about one address.
#[derive(Default)]
pub(crate) struct Decided {
    /// The record; `None` if the address is nobody's.
    pub spec: Option<EgressAddressSpec>,
    /// When time alone changes the record.
    pub wake: Option<Timestamp>,
    /// The store holds the record as decided.
    pub written: bool,
    /// What else is known of it.
    pub standing: Standing,
}

/// What is known of an address besides its record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// A node that needs ports and gets none.
    pub starved: Option<String>,
    /// The holder, by what nodes report.
    pub holder: Option<String>,
    /// No candidate can carry packets, or a node that uses the address finds none alive.
    pub dead: bool,
}

/// A node on which pods use an address.
pub(crate) struct User<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its report.
    pub report: Option<&'a Report>,
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
    let own = uses.map(|u| &u.pool).filter(|pool| pool.kind == Kind::Node);
    let node_address = own.is_some() || (uses.is_none() && before.is_some_and(|r| r.node_address));
    let pool = match (uses, own) {
        (Some(uses), Some(_)) => of_first_policy(world, uses),
        (uses, _) => uses.and_then(|u| claims::pool(world, &u.pool).ok()),
    };
    let users = uses.map(|u| users(world, u)).unwrap_or_default();
    let ports = match (pool, own) {
        (Some(pool), _) => pool.ports.clone(),
        (None, Some(_)) => PortSettings::of_node_address(),
        (None, None) => PortSettings::default(),
    };
    let first = if node_address { OWN_PORTS } else { SHARED_PORTS };
    let frontends = uses.map(|u| frontends(world, u)).unwrap_or_default();
    let ports_to_lease = Ports { settings: &ports, first, frontends: &frontends };
    let leased = leases::lease(world, address, before, &users, &ports_to_lease, now);
    let left = uses.is_none() && before.is_some_and(|before| is_of_others(world, before));
    if uses.is_none() && leased.leases.is_empty() || left {
        return Decided { written: before.is_none(), ..Decided::default() };
    }
    let candidates = match (own, pool, before) {
        (Some(node), ..) => vec![node.name.clone()],
        (None, Some(pool), _) => candidates.of(&pool.key, address),
        (None, None, before) => before.map(|r| r.candidates.clone()).unwrap_or_default(),
    };
    let preferred_before = before.map(|r| r.preferred.as_slice()).unwrap_or_default();
    let preferred = uses.map(|u| preferred(world, u, address, &candidates, preferred_before));
    let spec = EgressAddressSpec {
        address: address.to_string(),
        pool: match (uses, before) {
            (Some(uses), _) => reference(&uses.pool),
            (None, before) => before.map(|r| r.pool.clone()).unwrap_or_default(),
        },
        node_address,
        interface: match (pool, before) {
            _ if own.is_some() => None,
            (Some(pool), _) => pool.interface.clone(),
            (None, before) => before.and_then(|r| r.interface.clone()),
        },
        claims: uses.map(|u| u.ranks.iter().map(Rank::claim).collect()).unwrap_or_default(),
        candidates,
        preferred: preferred.unwrap_or_default(),
        block_size: leased.block_size,
        pod_share: match (pool, before) {
            (Some(pool), _) => pool.ports.pod_share,
            _ if own.is_some() => ports.pod_share,
            (None, before) => before.map_or(ports.pod_share, |r| r.pod_share),
        },
        timeouts: match (pool, before) {
            (Some(pool), _) => pool.timeouts,
            _ if own.is_some() => Timeouts::default(),
            (None, before) => before.map(|r| r.timeouts).unwrap_or_default(),
        },
        leases: leased.leases,
        revision: leased.revision,
    };
    let standing = Standing {
        starved: leased.starved,
        holder: holder(world, address, &spec, &users).map(str::to_owned),
        dead: dead(world, address, &spec, &users),
    };
    let written = before.is_some_and(|before| *before == spec);
    Decided { spec: Some(spec), wake: leased.wake, written, standing }
}

/// The address was used for a system that is not on any more: whoever serves the system now has it at once, and no
/// gateway may answer for it while ports of it are in quarantine.
fn is_of_others(world: &World, record: &EgressAddressSpec) -> bool {
    let kind = |name: &str| Kind::ALL.iter().copied().find(|kind| kind.as_str() == name);
    let apart = |name: &str| kind(name).is_some_and(|kind| world.mode(kind) != Mode::On);
    let pool = record.pool.split('/').next().unwrap_or_default();
    apart(pool) || !record.claims.is_empty() && record.claims.iter().all(|claim| apart(&claim.kind))
}

/// Policies of several pools may use a node's own address: the pool of the first says how its ports are shared.
fn of_first_policy<'a>(world: &'a World, uses: &Use) -> Option<&'a Pool> {
    uses.ranks.iter().find_map(|rank| {
        let intent = world.policies().get(&rank.key)?.meaning.as_ref().ok()?;
        claims::pool(world, intent.pool.as_ref()?).ok()
    })
}

/// Ports by which Services are reached at an address that their pods leave by.
fn frontends(world: &World, uses: &Use) -> BTreeSet<u16> {
    let intents = uses.ranks.iter().filter_map(|rank| world.policies().get(&rank.key)?.meaning.as_ref().ok());
    intents.flat_map(|intent| intent.frontends.iter().copied()).collect()
}

/// The nodes on which pods use an address, by name.
fn users<'a>(world: &'a World, uses: &Use) -> Vec<User<'a>> {
    let mut names: Vec<&str> = uses.ranks.iter().flat_map(|rank| world.users_of(&rank.key)).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| world.nodes().contains_key(*name));
    names.into_iter().map(|name| User { name, report: world.reports().get(name) }).collect()
}

/// Users that say how they use the address.
fn voters<'a, 'u>(address: IpAddr, users: &'u [User<'a>]) -> impl Iterator<Item = &'a Report> + use<'a, 'u> {
    users.iter().filter_map(|user| user.report).filter(move |r| r.ready && r.ports.contains_key(&address))
}

/// The holder of an address by what nodes report: the one that most of the nodes that use the address believe
/// in (or none, if most find none alive). Where nobody uses it, the candidates say themselves; of several the
/// one that would only hold if the others were dead. For a node's own address nobody needs to answer: its kernel does.
fn holder<'a>(
    world: &World,
    address: IpAddr,
    record: &'a EgressAddressSpec,
    users: &[User],
) -> Option<&'a str> {
    let report = |node: &str| world.reports().get(node).filter(|r| r.ready);
    let mut votes: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for voter in voters(address, users) {
        *votes.entry(voter.holders.get(&address).map(String::as_str)).or_default() += 1;
    }
    if let Some((winner, _)) = votes.into_iter().max_by_key(|(_, count)| *count) {
        let winner = winner?;
        let serves = report(winner).is_some_and(|r| r.programmed.contains_key(&address));
        return record.candidates.iter().find(|c| *c == winner && serves).map(String::as_str);
    }
    if record.node_address {
        let serves = |node: &str| report(node).is_some_and(|r| r.programmed.contains_key(&address));
        return record
            .candidates
            .iter()
            .map(String::as_str)
            .find(|node| serves(node) && world.carries(node, record, address));
    }
    let holding: Vec<&str> = world.holding(address).filter(|node| report(node).is_some()).collect();
    let order = elect::order(address, &record.candidates, &record.preferred).into_iter().rev();
    let ranked = order.filter_map(|at| record.candidates.get(at)).map(String::as_str);
    ranked.into_iter().find(|candidate| holding.contains(candidate))
}

/// No candidate says that it can carry packets, or a node that uses the address finds none alive.
fn dead(world: &World, address: IpAddr, record: &EgressAddressSpec, users: &[User]) -> bool {
    let able = |candidate: &String| world.carries(candidate, record, address);
    !record.candidates.iter().any(able)
        || voters(address, users).any(|voter| !voter.holders.contains_key(&address))
}

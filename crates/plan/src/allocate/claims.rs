//! Which policy has which address. What a record says stays; then come policies that ask for an address by
//! name, then the others, each in the order of precedence, first free address first.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use egret_api::{Kind, ObjectKey, Reason};

use crate::fault::Fault;
use crate::intent::{Intent, Pool, Rank, reference};
use crate::range::{Range, Taken};
use crate::world::World;

/// The claims of all policies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    /// Each policy's address, or why it has none.
    pub outcomes: BTreeMap<Rank, Result<IpAddr, Fault>>,
    /// Addresses in use.
    pub by_address: BTreeMap<IpAddr, Use>,
    /// What each pool can give out: its ranges less those of older pools.
    pub usable: BTreeMap<ObjectKey, Vec<Range>>,
    /// What a pool lost to older pools.
    pub overlaps: BTreeMap<ObjectKey, Vec<(Range, ObjectKey)>>,
}

/// The use of an address.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    /// The pool it comes from.
    pub pool: ObjectKey,
    /// Policies that use it, in the order of precedence.
    pub ranks: Vec<Rank>,
    /// Whose it is.
    owner: Owner,
}

/// Who may share an address: a namespace with itself, those who write for the whole cluster with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    Namespace(String),
    Cluster,
}

impl Owner {
    fn of(rank: &Rank) -> Owner {
        match rank.namespace.as_str() {
            "" => Owner::Cluster,
            namespace => Owner::Namespace(namespace.to_owned()),
        }
    }
}

/// A pool that is in force.
pub(crate) fn pool<'a>(world: &'a World, key: &ObjectKey) -> Result<&'a Pool, Fault> {
    let (kind, name) = (key.kind.as_str(), &key.name);
    match world.pools().get(key).map(|p| &p.meaning) {
        Some(Ok(pool)) => Ok(pool),
        Some(Err(faults)) => {
            let first = faults.first().map(ToString::to_string).unwrap_or_default();
            let message = format!("{kind} {name} is not in force: {first}");
            Err(Fault::new(Reason::PoolNotFound, pool_field(key), message, format!("mend {kind} {name}")))
        }
        None => {
            let message = format!("{kind} {name} does not exist");
            Err(Fault::new(Reason::PoolNotFound, pool_field(key), message, "create it, or name another"))
        }
    }
}

fn pool_field(key: &ObjectKey) -> &'static str {
    match key.kind {
        Kind::ExternalIPPool => "spec.externalIPPool",
        _ => "spec.pool",
    }
}

fn address_field(rank: &Rank) -> &'static str {
    match rank.kind {
        Kind::Egress => "spec.egressIP",
        _ => "spec.address",
    }
}

/// Settles every policy.
pub(crate) fn settle(world: &World) -> Claims {
    let mut claims = Claims::default();
    let mut taken = Taken::default();
    for pool in super::pools(world) {
        let (mut usable, mut lost) = (Vec::new(), Vec::new());
        for range in &pool.ranges {
            let (free, had) = taken.take(*range, &pool.key);
            usable.extend(free);
            lost.extend(had.into_iter().filter(|(_, by)| *by != pool.key));
        }
        claims.usable.insert(pool.key.clone(), usable);
        if !lost.is_empty() {
            claims.overlaps.insert(pool.key.clone(), lost);
        }
    }
    let mut intents: Vec<&Arc<Intent>> =
        world.policies().values().filter_map(|p| p.meaning.as_ref().ok()).collect();
    intents.sort_by(|a, b| a.rank.cmp(&b.rank));
    let (mut asking, mut waiting) = (Vec::new(), Vec::new());
    for intent in intents {
        let found = permitted(world, intent);
        match found {
            Err(fault) => claims.refuse(intent, fault),
            Ok(pool) => match kept(world, intent, pool).filter(|a| claims.open(*a, intent, pool)) {
                Some(address) => claims.grant(intent, pool, address),
                None if intent.address.is_some() => asking.push((intent, pool)),
                None => waiting.push((intent, pool)),
            },
        }
    }
    for (intent, pool) in asking {
        let Some(address) = intent.address else { continue };
        match claims.open(address, intent, pool) && claims.gives(pool, address) {
            true => claims.grant(intent, pool, address),
            false => claims.refuse(intent, claims.taken(intent, address)),
        }
    }
    let mut cursors: BTreeMap<ObjectKey, Box<dyn Iterator<Item = IpAddr>>> = BTreeMap::new();
    for (intent, pool) in waiting {
        let usable = claims.usable.get(&pool.key).cloned().unwrap_or_default();
        let cursor = cursors
            .entry(pool.key.clone())
            .or_insert_with(|| Box::new(usable.into_iter().flat_map(|range| range.addresses())));
        match cursor.find(|a| !claims.by_address.contains_key(a)) {
            Some(address) => claims.grant(intent, pool, address),
            None => claims.refuse(intent, exhausted(pool)),
        }
    }
    for used in claims.by_address.values_mut() {
        used.ranks.sort();
    }
    claims
}

/// The pool that a policy may use.
fn permitted<'a>(world: &'a World, intent: &Intent) -> Result<&'a Pool, Fault> {
    let Some(key) = &intent.pool else {
        return Err(Fault::new(
            Reason::StaticAddressUnsupported,
            "spec.externalIPPool",
            "an egressIP without a pool is not served; its packets are dropped",
            "name an ExternalIPPool that contains the address",
        ));
    };
    let pool = pool(world, key)?;
    let namespace = &intent.rank.namespace;
    if !namespace.is_empty() && !pool.grant.allows(namespace, &world.namespace_labels(namespace)) {
        return Err(Fault::new(
            Reason::NamespaceNotGranted,
            "spec.pool",
            format!("{} {} does not grant namespace {namespace}", key.kind.as_str(), key.name),
            format!("add {namespace} to spec.namespaces.names of the pool"),
        ));
    }
    match intent.address {
        Some(address) if !pool.contains(address) => Err(Fault::new(
            Reason::AddressNotInPool,
            address_field(&intent.rank),
            format!("IP {address} is not within the IP range of {} {}", key.kind.as_str(), key.name),
            "ask for an address of the pool, or add a range with it to the pool",
        )),
        _ => Ok(pool),
    }
}

/// The address that a record gives the policy already, if the policy can keep it.
fn kept(world: &World, intent: &Intent, pool: &Pool) -> Option<IpAddr> {
    let stays =
        |address: &IpAddr| pool.contains(*address) && intent.address.is_none_or(|asked| asked == *address);
    world
        .records_claimed_by(&intent.rank.claim())
        .filter(|r| r.spec.pool == pool.reference())
        .map(|r| r.address)
        .find(stays)
}

fn exhausted(pool: &Pool) -> Fault {
    let (kind, name) = (pool.key.kind.as_str(), &pool.key.name);
    let ranges = match pool.key.kind {
        Kind::ExternalIPPool => "spec.ipRanges",
        _ => "spec.ranges",
    };
    Fault::new(
        Reason::PoolExhausted,
        pool_field(&pool.key),
        format!("every address of {kind} {name} is in use"),
        format!("add a range to {ranges} of {kind} {name}, or remove a policy that uses it"),
    )
}

impl Claims {
    /// Nobody else has the address.
    fn open(&self, address: IpAddr, intent: &Intent, pool: &Pool) -> bool {
        self.by_address
            .get(&address)
            .is_none_or(|used| used.pool == pool.key && used.owner == Owner::of(&intent.rank))
    }

    /// The pool is the one to give the address out: no older pool has it.
    fn gives(&self, pool: &Pool, address: IpAddr) -> bool {
        self.by_address.get(&address).is_some_and(|used| used.pool == pool.key)
            || self.usable.get(&pool.key).is_some_and(|ranges| ranges.iter().any(|r| r.contains(address)))
    }

    fn grant(&mut self, intent: &Intent, pool: &Pool, address: IpAddr) {
        let owner = Owner::of(&intent.rank);
        let used = self.by_address.entry(address).or_insert_with(|| Use {
            pool: pool.key.clone(),
            ranks: Vec::new(),
            owner,
        });
        used.ranks.push(intent.rank.clone());
        self.outcomes.insert(intent.rank.clone(), Ok(address));
    }

    fn refuse(&mut self, intent: &Intent, fault: Fault) {
        self.outcomes.insert(intent.rank.clone(), Err(fault));
    }

    fn taken(&self, intent: &Intent, address: IpAddr) -> Fault {
        let by = match self.by_address.get(&address) {
            // Whose it is stays unsaid: a namespace learns nothing about others.
            Some(used) if used.owner != Owner::of(&intent.rank) => {
                "a policy that does not share it".to_owned()
            }
            Some(used) => reference(&used.pool),
            None => "an older pool".to_owned(),
        };
        Fault::new(
            Reason::AddressTaken,
            address_field(&intent.rank),
            format!("{address} belongs to {by}"),
            "ask for another address, or leave the field out",
        )
    }
}

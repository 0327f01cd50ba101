//! What a policy may have: the pool that it names, or the one that has the address that it names, if its namespace may use it.

use std::net::IpAddr;

use egret_api::{Kind, ObjectKey, Reason};

use super::Claims;
use super::refusal::{address_field, not_granted, pool_field, unpooled, without_node};
use crate::allocate::own::{self, OwnAddress};
use crate::fault::Fault;
use crate::intent::{Intent, Pool};
use crate::world::World;

/// What a policy may have.
pub(super) enum Wish<'a> {
    /// An address of a pool: the one that a record gives it already, if it can keep it.
    Of(&'a Pool, Option<IpAddr>),
    /// These addresses of nodes, the preferred first.
    Own(Vec<OwnAddress>),
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

/// The address that a record gives the policy already, if the policy can keep it.
fn kept(world: &World, intent: &Intent, pool: &Pool) -> Option<IpAddr> {
    let stays = |address: &IpAddr| {
        pool.contains(*address) && pool.asked(intent).is_none_or(|asked| asked == *address)
    };
    world
        .records_claimed_by(&intent.rank.claim())
        .filter(|r| r.spec.pool == pool.reference())
        .map(|r| r.address)
        .find(stays)
}

impl Claims {
    /// The pool that a policy may use.
    fn permitted<'a>(&self, world: &'a World, intent: &Intent) -> Result<&'a Pool, Fault> {
        let pool = match &intent.pool {
            Some(key) => pool(world, key)?,
            None => self.pool_with(world, intent)?,
        };
        let namespace = &intent.rank.key.namespace;
        if !namespace.is_empty() && !pool.grant.allows(namespace, &world.namespace_labels(namespace)) {
            return Err(not_granted(intent, pool));
        }
        match intent.address {
            Some(address) if pool.node_address.is_none() && !pool.contains(address) => Err(Fault::new(
                Reason::AddressNotInPool,
                address_field(&intent.rank),
                format!(
                    "IP {address} is not within the IP range of {} {}",
                    pool.key.kind.as_str(),
                    pool.key.name
                ),
                "ask for an address of the pool, or add a range with it to the pool",
            )),
            _ => Ok(pool),
        }
    }

    /// The pool that gives out the address of a policy that names no pool.
    fn pool_with<'a>(&self, world: &'a World, intent: &Intent) -> Result<&'a Pool, Fault> {
        let Some(address) = intent.address else {
            return Err(Fault::new(
                Reason::AddressMissing,
                address_field(&intent.rank),
                "the object has no address yet; its packets are dropped",
                "write one, or let a load balancer's controller give it one",
            ));
        };
        let gives = self.usable.iter().find(|(_, ranges)| ranges.iter().any(|r| r.contains(address)));
        match gives {
            Some((key, _)) => pool(world, key),
            None => {
                let message = format!("no pool has {address}");
                Err(unpooled(intent, address, Reason::AddressNotInPool, message))
            }
        }
    }

    /// What the policy may have.
    pub(super) fn wish<'a>(&self, world: &'a World, intent: &Intent) -> Result<Wish<'a>, Fault> {
        if let (Kind::Egress, None, Some(address)) = (intent.rank.key.kind, &intent.pool, intent.address) {
            return Self::of_a_node(world, intent, address);
        }
        let pool = self.permitted(world, intent)?;
        if pool.node_address.is_none() {
            return Ok(Wish::Of(pool, kept(world, intent, pool)));
        }
        let fits = |own: &&OwnAddress| intent.address.is_none_or(|asked| asked == own.address);
        let all = self.own.of(&pool.key);
        let chosen = if intent.address.is_some() { all } else { self.own.in_reserve(&pool.key) };
        let chosen: Vec<OwnAddress> = chosen.iter().filter(fits).cloned().collect();
        if chosen.is_empty() {
            return Err(without_node(intent, pool));
        }
        Ok(Wish::Own(chosen))
    }

    /// An address that a policy names without a pool: it is the node's that has it.
    fn of_a_node<'a>(world: &World, intent: &Intent, address: IpAddr) -> Result<Wish<'a>, Fault> {
        let own = own::node_with(world, address).ok_or_else(|| {
            Fault::new(
                Reason::NoCandidate,
                address_field(&intent.rank),
                format!("no node has {address} on an interface towards the outside; packets are dropped"),
                "add the address to an interface of a node, or name an ExternalIPPool that contains it",
            )
        })?;
        Ok(Wish::Own(vec![own]))
    }
}

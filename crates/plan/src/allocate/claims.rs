//! Which policy has which address. What a record says stays; then come policies that ask for an address by
//! name, then the others, each in the order of precedence, first free address first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use egret_api::{Kind, ObjectKey, Reason};

use super::own::{self, OwnAddress, OwnAddresses};
use crate::dialect::kube_vip;
use crate::fault::Fault;
use crate::intent::{Intent, Pool, Rank, reference};
use crate::range::{Range, Taken, host};
use crate::spread::answers;
use crate::world::World;

/// The claims of all policies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    /// Each policy's address, or why it has none.
    pub outcomes: BTreeMap<ObjectKey, Result<IpAddr, Fault>>,
    /// Addresses in use.
    pub by_address: BTreeMap<IpAddr, Use>,
    /// What each pool can give out: its ranges less those of older pools.
    pub usable: BTreeMap<ObjectKey, Vec<Range>>,
    /// What a pool lost to older pools.
    pub overlaps: BTreeMap<ObjectKey, Vec<(Range, ObjectKey)>>,
    /// Addresses of each pool that are in use.
    pub in_use: BTreeMap<ObjectKey, BTreeSet<IpAddr>>,
    /// Policies that do not just keep what a record gives them: they are looked at again with each change.
    unsettled: BTreeSet<ObjectKey>,
    /// Policies and pools whose standing may have changed.
    changed: BTreeSet<ObjectKey>,
    /// The addresses of pools of nodes' own addresses.
    pub own: OwnAddresses,
    /// Of a policy of such a pool: the addresses that stand by, besides that of its outcome.
    in_reserve: BTreeMap<ObjectKey, Vec<IpAddr>>,
    /// Addresses that their pool holds even while no policy uses them.
    shared: BTreeMap<IpAddr, ObjectKey>,
}

/// The use of an address.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    /// The pool it comes from.
    pub pool: ObjectKey,
    /// Policies that use it, in the order of precedence.
    pub ranks: BTreeSet<Rank>,
    /// Whose it is.
    owner: Owner,
}

/// A policy and the pool that it may use.
type Asking<'a> = (&'a Arc<Intent>, &'a Pool);

/// What a policy may have.
enum Wish<'a> {
    /// An address of a pool: the one that a record gives it already, if it can keep it.
    Of(&'a Pool, Option<IpAddr>),
    /// These addresses of nodes, the preferred first.
    Own(Vec<OwnAddress>),
}

/// Who may share an address: a namespace with itself, those who write for the whole cluster with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    Namespace(String),
    Cluster,
}

impl Owner {
    fn of(rank: &Rank) -> Owner {
        match rank.key.namespace.as_str() {
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
        Kind::EgressGateway => "spec.egressGatewayName",
        _ => "spec.pool",
    }
}

fn address_field(rank: &Rank) -> &'static str {
    match rank.key.kind {
        Kind::Egress => "spec.egressIP",
        Kind::LoxilbEgress => "spec.vip",
        Kind::Service => kube_vip::ADDRESS_FIELD,
        _ => "spec.address",
    }
}

/// The pools that are in force, oldest first.
fn by_age(world: &World) -> Vec<&Pool> {
    let mut pools: Vec<&Pool> =
        world.pools().values().filter_map(|p| p.meaning.as_ref().ok()).map(AsRef::as_ref).collect();
    pools.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.key.cmp(&b.key)));
    pools
}

/// An object that names an address and no pool asks an administrator for one.
fn unpooled(intent: &Intent, address: IpAddr, reason: Reason, message: String) -> Fault {
    let namespace = &intent.rank.key.namespace;
    let cure = format!(
        "let an administrator write an EgressPool with `ranges: [{{cidr: {}}}]` and `namespaces: {{names: [{namespace}]}}`",
        host(address)
    );
    Fault::new(reason, address_field(&intent.rank), message, cure)
}

fn not_granted(intent: &Intent, pool: &Pool) -> Fault {
    let namespace = &intent.rank.key.namespace;
    let message =
        format!("{} {} does not grant namespace {namespace}", pool.key.kind.as_str(), pool.key.name);
    match (pool.key.kind, intent.address) {
        (Kind::EgressPool, _) => {
            let field = if intent.pool.is_some() { "spec.pool" } else { address_field(&intent.rank) };
            let cure = format!("add {namespace} to spec.namespaces.names of the pool");
            Fault::new(Reason::NamespaceNotGranted, field, message, cure)
        }
        (_, Some(address)) => unpooled(intent, address, Reason::NamespaceNotGranted, message),
        (_, None) => Fault::new(Reason::NamespaceNotGranted, "spec.pool", message, "name an EgressPool"),
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

fn without_node(intent: &Intent, pool: &Pool) -> Fault {
    let name = format!("{} {}", pool.key.kind.as_str(), pool.key.name);
    let interface = pool.interface.as_deref().unwrap_or_default();
    match intent.address {
        Some(address) => Fault::new(
            Reason::AddressNotInPool,
            address_field(&intent.rank),
            format!("{address} is the own address of no node of {name}"),
            format!("name the first address of {interface} on one of its nodes, or leave the field out"),
        ),
        None => Fault::new(
            Reason::NoCandidate,
            pool_field(&pool.key),
            format!("no suitable node that {name} selects reports an address on {interface}"),
            format!("select a node with an address on {interface}, or correct the interface's name"),
        ),
    }
}

fn still_given(intent: &Intent, address: IpAddr) -> Fault {
    Fault::new(
        Reason::AddressTaken,
        address_field(&intent.rank),
        format!("{address} is a node's own now, and another policy still has it from a pool"),
        "take it out of the pool's ranges",
    )
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

    fn wish<'a>(&self, world: &'a World, intent: &Intent) -> Result<Wish<'a>, Fault> {
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

    /// Settles every policy.
    pub fn settle(&mut self, world: &World) {
        self.own = OwnAddresses::new(world);
        let mut taken = Taken::default();
        // What a node has on an interface is no pool's to give.
        for own in own::every(world) {
            taken.take(Range { first: own.address, last: own.address }, &own.owner());
        }
        for pool in by_age(world) {
            let (mut usable, mut lost) = (Vec::new(), Vec::new());
            for range in &pool.ranges {
                let (free, had) = taken.take(*range, &pool.key);
                usable.extend(free);
                lost.extend(had.into_iter().filter(|(_, by)| *by != pool.key && by.kind != Kind::Node));
            }
            let holds = |address: &IpAddr| usable.iter().any(|r: &Range| r.contains(*address));
            if let Some(address) = pool.shared.filter(holds) {
                self.shared.insert(address, pool.key.clone());
            }
            self.usable.insert(pool.key.clone(), usable);
            if !lost.is_empty() {
                self.overlaps.insert(pool.key.clone(), lost);
            }
        }
        let intents = world.policies().values().filter_map(|p| p.meaning.as_ref().ok()).collect();
        self.place(world, intents);
        for address in self.shared.keys().copied().collect::<Vec<_>>() {
            self.hold(address);
        }
        self.changed.clear();
    }

    /// Settles these policies anew, and with them all that are unsettled. Returns the addresses that may have
    /// changed hands. `None` if records contradict each other: then only the whole can be settled.
    pub fn again(&mut self, world: &World, policies: &BTreeSet<ObjectKey>) -> Option<BTreeSet<IpAddr>> {
        let mut addresses = BTreeSet::new();
        let again: BTreeSet<ObjectKey> = policies.iter().chain(&self.unsettled).cloned().collect();
        for key in &again {
            addresses.extend(self.forget(key));
        }
        let intents: Vec<&Arc<Intent>> =
            again.iter().filter_map(|key| world.policies().get(key)?.meaning.as_ref().ok()).collect();
        let contradiction = self.place(world, intents);
        for address in &addresses {
            self.hold(*address);
        }
        addresses.extend(again.iter().flat_map(|key| self.addresses(key)));
        self.changed.extend(again);
        (!contradiction).then_some(addresses)
    }

    /// The policy's address.
    pub fn address(&self, policy: &ObjectKey) -> Option<IpAddr> {
        self.outcomes.get(policy)?.as_ref().ok().copied()
    }

    /// All addresses that the policy may use, the preferred first: several if they are nodes' own.
    pub fn addresses(&self, policy: &ObjectKey) -> impl Iterator<Item = IpAddr> + use<'_> {
        self.address(policy).into_iter().chain(self.in_reserve.get(policy).into_iter().flatten().copied())
    }

    /// Policies and pools whose standing may have changed since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.changed)
    }

    /// Places policies; true if one cannot keep what its record says because another has it.
    fn place(&mut self, world: &World, mut intents: Vec<&Arc<Intent>>) -> bool {
        intents.sort_unstable_by(|a, b| a.rank.cmp(&b.rank));
        let (mut asking, mut waiting, mut contradiction) = (Vec::new(), Vec::new(), false);
        let wishes = answers(&intents, |intent| self.wish(world, intent));
        for (intent, wish) in intents.into_iter().zip(wishes) {
            self.unsettled.remove(&intent.rank.key);
            match wish {
                Err(fault) => self.refuse(intent, fault),
                Ok(Wish::Own(own)) => {
                    let (own, others): (Vec<_>, Vec<_>) = own.into_iter().partition(|own| self.is_own(own));
                    contradiction |= !others.is_empty();
                    match (own.is_empty(), others.first()) {
                        (true, Some(other)) => self.refuse(intent, still_given(intent, other.address)),
                        _ => self.grant_own(intent, &own),
                    }
                }
                Ok(Wish::Of(pool, kept)) => {
                    let open = kept.filter(|a| self.open(*a, intent, pool));
                    contradiction |= kept.is_some() && open.is_none();
                    match open {
                        Some(address) => self.grant(intent, pool, address),
                        None if pool.asked(intent).is_some() => asking.push((intent, pool)),
                        None => waiting.push((intent, pool)),
                    }
                }
            }
        }
        self.unsettled.extend(asking.iter().chain(&waiting).map(|(intent, _)| intent.rank.key.clone()));
        self.give_what_is_asked(asking);
        self.give_what_is_free(waiting);
        contradiction
    }

    fn give_what_is_asked(&mut self, asking: Vec<Asking>) {
        for (intent, pool) in asking {
            let Some(address) = pool.asked(intent) else { continue };
            match self.open(address, intent, pool) && self.gives(pool, address) {
                true => self.grant(intent, pool, address),
                false => self.refuse(intent, self.taken(intent, pool, address)),
            }
        }
    }

    fn give_what_is_free(&mut self, waiting: Vec<Asking>) {
        let mut cursors: BTreeMap<&ObjectKey, Box<dyn Iterator<Item = IpAddr>>> = BTreeMap::new();
        for (intent, pool) in waiting {
            let cursor = cursors.entry(&pool.key).or_insert_with(|| {
                let usable = self.usable.get(&pool.key).cloned().unwrap_or_default();
                Box::new(usable.into_iter().flat_map(|range| range.addresses()))
            });
            match cursor.find(|a| !self.by_address.contains_key(a)) {
                Some(address) => self.grant(intent, pool, address),
                None => self.refuse(intent, exhausted(pool)),
            }
        }
    }

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

    /// A pool's shared address is in use even if no policy uses it.
    fn hold(&mut self, address: IpAddr) {
        if let Some(pool) = self.shared.get(&address).filter(|_| !self.by_address.contains_key(&address)) {
            self.use_of(&pool.clone(), address, Owner::Cluster);
        }
    }

    /// The use of an address, which begins if it is not in use yet.
    fn use_of(&mut self, pool: &ObjectKey, address: IpAddr, owner: Owner) -> &mut Use {
        match self.in_use.get_mut(pool) {
            Some(addresses) => drop(addresses.insert(address)),
            None => drop(self.in_use.insert(pool.clone(), [address].into())),
        }
        self.changed.insert(pool.clone());
        let new = || Use { pool: pool.clone(), ranks: BTreeSet::new(), owner };
        self.by_address.entry(address).or_insert_with(new)
    }

    fn grant(&mut self, intent: &Intent, pool: &Pool, address: IpAddr) {
        let used = self.use_of(&pool.key, address, Owner::of(&intent.rank));
        used.ranks.insert(intent.rank.clone());
        self.outcomes.insert(intent.rank.key.clone(), Ok(address));
    }

    /// Nobody has the address from a pool, which gave it away before a node had it.
    fn is_own(&self, own: &OwnAddress) -> bool {
        self.by_address.get(&own.address).is_none_or(|used| used.pool.kind == Kind::Node)
    }

    fn grant_own(&mut self, intent: &Intent, own: &[OwnAddress]) {
        for own in own {
            let used = self.use_of(&own.owner(), own.address, Owner::Cluster);
            used.ranks.insert(intent.rank.clone());
        }
        let mut addresses = own.iter().map(|own| own.address);
        if let Some(first) = addresses.next() {
            self.outcomes.insert(intent.rank.key.clone(), Ok(first));
            self.in_reserve.insert(intent.rank.key.clone(), addresses.collect());
        }
    }

    fn refuse(&mut self, intent: &Intent, fault: Fault) {
        self.outcomes.insert(intent.rank.key.clone(), Err(fault));
    }

    /// Forgets a policy; returns the addresses that it had.
    fn forget(&mut self, key: &ObjectKey) -> Vec<IpAddr> {
        self.unsettled.remove(key);
        let address = self.outcomes.remove(key).and_then(Result::ok);
        let addresses = address.into_iter().chain(self.in_reserve.remove(key).unwrap_or_default());
        addresses.filter_map(|address| self.leave(key, address)).collect()
    }

    /// A policy uses an address no more.
    fn leave(&mut self, key: &ObjectKey, address: IpAddr) -> Option<IpAddr> {
        let used = self.by_address.get_mut(&address)?;
        used.ranks.retain(|rank| rank.key != *key);
        self.changed.extend(used.ranks.iter().map(|rank| rank.key.clone()));
        self.changed.insert(used.pool.clone());
        if used.ranks.is_empty() && self.shared.get(&address) != Some(&used.pool) {
            if let Some(addresses) = self.in_use.get_mut(&used.pool) {
                addresses.remove(&address);
            }
            self.by_address.remove(&address);
        }
        Some(address)
    }

    fn taken(&self, intent: &Intent, pool: &Pool, address: IpAddr) -> Fault {
        // Who uses an address of an older pool is not looked at: it may not have been decided yet.
        let by = match self.by_address.get(&address).filter(|_| self.gives(pool, address)) {
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

//! Which policy has which address. What a record says stays; then come policies that ask for an address by
//! name, then the others, each in the order of precedence, first free address first.

mod refusal;
mod wish;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use egret_api::{Kind, ObjectKey, Reason};

use self::refusal::{address_field, exhausted, still_given};
use self::wish::Wish;
use super::own::{self, OwnAddress, OwnAddresses};
use crate::fault::Fault;
use crate::intent::{Intent, Pool, Rank, reference};
use crate::range::{Range, Taken};
use crate::spread::answers;
use crate::world::World;

pub(crate) use self::wish::pool;

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

/// The pools that are in force, oldest first.
fn by_age(world: &World) -> Vec<&Pool> {
    let mut pools: Vec<&Pool> =
        world.pools().values().filter_map(|p| p.meaning.as_ref().ok()).map(AsRef::as_ref).collect();
    pools.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.key.cmp(&b.key)));
    pools
}

impl Claims {
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

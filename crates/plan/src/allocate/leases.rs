//! Whose the ports of an address are. A block goes to a node that needs it and comes back only when its flows
//! are gone and the quarantine has passed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::{EgressAddressSpec, Lease, PortSettings};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::record::User;
use crate::tables::MAX_BLOCKS;
use crate::world::World;

/// How long a block rests before another node gets it: remote ends may still remember its flows.
pub const QUARANTINE: SignedDuration = SignedDuration::from_secs(120);

/// First port that a node may lease of an address that is nobody else's.
pub(crate) const SHARED_PORTS: u16 = 1024;
/// The same of an address that is a node's own: below are the node's services, the range of NodePorts and what the
/// kernel takes for connections of its own.
pub const OWN_PORTS: u16 = 40960;

/// What ports of an address there are to lease.
pub(crate) struct Ports<'a> {
    pub settings: &'a PortSettings,
    /// The first of them.
    pub first: u16,
    /// Ports by which a Service is reached at the address: a block with one of them is nobody's.
    pub frontends: &'a BTreeSet<u16>,
}

/// The leases of one address.
pub(crate) struct Leased {
    pub leases: Vec<Lease>,
    pub block_size: u16,
    pub revision: u64,
    /// When a quarantine ends.
    pub wake: Option<Timestamp>,
    /// A node that needs a block and gets none.
    pub starved: Option<String>,
}

/// Decides the leases of an address that these nodes use.
pub(crate) fn lease(
    world: &World,
    address: IpAddr,
    before: Option<&EgressAddressSpec>,
    users: &[User],
    ports: &Ports,
    now: Timestamp,
) -> Leased {
    let Ports { settings: ports, first: lowest, frontends } = *ports;
    let block_size = block_size(before, ports);
    let spared: BTreeSet<u16> = frontends.iter().map(|port| port - port % block_size).collect();
    let old = before.map(|r| r.leases.as_slice()).unwrap_or_default();
    let mut leases: BTreeMap<u16, Lease> = BTreeMap::new();
    for lease in old.iter().filter(|l| l.first_port >= lowest && l.first_port % block_size == 0) {
        leases.entry(lease.first_port).or_insert_with(|| lease.clone());
    }
    let revision = before.map_or(0, |r| r.revision);
    let mut wake = None;
    leases.retain(|first, lease| {
        let Some(Time(released)) = &lease.released else { return true };
        let ends = released.checked_add(QUARANTINE).unwrap_or(now);
        if ends > now {
            wake = [wake, Some(ends)].into_iter().flatten().min();
            return true;
        }
        let report = world.reports().get(&lease.node).and_then(|r| r.ports.get(&address));
        world.nodes().contains_key(&lease.node) && report.is_some_and(|p| p.busy_blocks.contains(first))
    });
    // A Service got the port later: flows of the block end as they would, and new ones have another.
    for lease in leases.values_mut().filter(|l| l.released.is_none() && spared.contains(&l.first_port)) {
        lease.released = Some(Time(now));
        wake = [wake, now.checked_add(QUARANTINE).ok()].into_iter().flatten().min();
    }
    let most = usize::from(ports.max_blocks).clamp(1, MAX_BLOCKS);
    let first = usize::from(ports.initial_blocks).clamp(1, most);
    let mut users: Vec<Tenant> = (users.iter())
        .map(|user| {
            let report = user.report.and_then(|r| r.ports.get(&address));
            let wanted = report.map_or(first, |p| usize::from(p.wanted_blocks)).clamp(first, most);
            Tenant { name: user.name, wanted, busy: report.map_or(&[][..], |p| &p.busy_blocks), held: 0 }
        })
        .collect();
    for lease in leases.values_mut().filter(|l| l.released.is_none()) {
        match users.binary_search_by(|u| u.name.cmp(&lease.node)) {
            Ok(at) => users[at].held += 1,
            Err(_) => {
                lease.released = Some(Time(now));
                wake = [wake, now.checked_add(QUARANTINE).ok()].into_iter().flatten().min();
            }
        }
    }
    let mut blocks = Blocks { leases, lowest, block_size, spared, revision: revision.saturating_add(1), now };
    // Every node gets one block before any gets a second.
    for share in 1..=users.iter().map(|user| user.wanted).max().unwrap_or(0) {
        for user in users.iter_mut().filter(|user| user.wanted >= share && user.held < share) {
            user.held += usize::from(blocks.give(user.name));
        }
    }
    for user in users.iter().filter(|user| user.held > user.wanted) {
        wake = [wake, blocks.shrink(user)].into_iter().flatten().min();
    }
    let starved = users.iter().find(|user| user.held == 0).map(|user| user.name.to_owned());
    let leases: Vec<Lease> = blocks.leases.into_values().collect();
    let revision = if leases == old { revision.max(1) } else { revision.saturating_add(1) };
    Leased { leases, block_size, revision, wake, starved }
}

/// A node that holds blocks.
struct Tenant<'a> {
    name: &'a str,
    /// Blocks it asks for, within the pool's bounds.
    wanted: usize,
    /// Blocks with flows in them.
    busy: &'a [u16],
    /// Blocks it may take ports from.
    held: usize,
}

/// The block size of an address: a record keeps its own while any of its ports is leased.
fn block_size(before: Option<&EgressAddressSpec>, ports: &PortSettings) -> u16 {
    before
        .filter(|r| !r.leases.is_empty() && r.block_size.is_power_of_two() && r.block_size <= 8192)
        .map_or(ports.block_size, |r| r.block_size)
}

struct Blocks {
    leases: BTreeMap<u16, Lease>,
    lowest: u16,
    block_size: u16,
    /// Blocks that nobody gets.
    spared: BTreeSet<u16>,
    revision: u64,
    now: Timestamp,
}

impl Blocks {
    /// Gives a node one more block: one that it just gave back, else the first free one. False if there is none.
    fn give(&mut self, node: &str) -> bool {
        let spared = &self.spared;
        let given_back =
            |l: &&mut Lease| l.node == node && l.released.is_some() && !spared.contains(&l.first_port);
        if let Some(own) = self.leases.values_mut().find(given_back) {
            own.released = None;
            return true;
        }
        let first = self.block_size.max(self.lowest);
        let open = |first: &u16| !self.leases.contains_key(first) && !self.spared.contains(first);
        let free = (first..=u16::MAX).step_by(self.block_size.into()).find(open);
        if let Some(first_port) = free {
            let lease = Lease { node: node.to_owned(), first_port, revision: self.revision, released: None };
            self.leases.insert(first_port, lease);
        }
        free.is_some()
    }

    /// Takes back what a node no longer asks for, last block first, but none with flows in it. Returns when the
    /// quarantine of these ends.
    fn shrink(&mut self, user: &Tenant) -> Option<Timestamp> {
        let idle = self.leases.values_mut().rev().filter(|l| {
            l.node == user.name
                && l.released.is_none()
                && l.revision < self.revision
                && !user.busy.contains(&l.first_port)
        });
        let released =
            idle.take(user.held - user.wanted).map(|lease| lease.released = Some(Time(self.now))).count();
        (released > 0).then(|| self.now.checked_add(QUARANTINE).ok()).flatten()
    }
}

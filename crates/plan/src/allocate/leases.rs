//! Whose the ports of an address are. A block goes to a node that needs it and comes back only when its flows
//! are gone and the quarantine has passed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::{EgressAddressSpec, Lease, PortSettings};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::tables::MAX_BLOCKS;
use crate::world::World;

/// How long a block rests before another node gets it: remote ends may still remember its flows.
pub const QUARANTINE: SignedDuration = SignedDuration::from_secs(120);

/// The leases of one address.
pub(crate) struct Leased {
    pub leases: Vec<Lease>,
    pub block_size: u16,
    pub revision: u64,
    /// When a quarantine ends.
    pub wake: Option<Timestamp>,
    /// Nodes that need a block and get none.
    pub starved: Vec<String>,
}

/// Decides the leases of an address that these nodes use.
pub(crate) fn lease(
    world: &World,
    address: IpAddr,
    before: Option<&EgressAddressSpec>,
    users: &BTreeSet<&str>,
    ports: &PortSettings,
    now: Timestamp,
) -> Leased {
    let block_size = super::block_size(before, ports);
    let old = before.map(|r| r.leases.as_slice()).unwrap_or_default();
    let text = address.to_string();
    let mut leases: BTreeMap<u16, Lease> = BTreeMap::new();
    for lease in old.iter().filter(|l| l.first_port >= 1024 && l.first_port % block_size == 0) {
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
        let report = world.reports().get(&lease.node).and_then(|r| r.spec.ports.get(&text));
        world.nodes().contains_key(&lease.node) && report.is_some_and(|p| p.busy_blocks.contains(first))
    });
    for lease in leases.values_mut() {
        if lease.released.is_none() && !users.contains(lease.node.as_str()) {
            lease.released = Some(Time(now));
            wake = [wake, now.checked_add(QUARANTINE).ok()].into_iter().flatten().min();
        }
    }
    let most = usize::from(ports.max_blocks).clamp(1, MAX_BLOCKS);
    let first = usize::from(ports.initial_blocks).clamp(1, most);
    let wanted = |node: &str| {
        let report = world.reports().get(node).and_then(|r| r.spec.ports.get(&text));
        report.map_or(first, |p| usize::from(p.wanted_blocks)).clamp(first, most)
    };
    let mut state = Blocks { leases, block_size, revision: revision + 1, now };
    // Every node gets one block before any gets a second.
    for share in 1..=users.iter().map(|node| wanted(node)).max().unwrap_or(0) {
        for node in users.iter().filter(|node| wanted(node) >= share) {
            if state.held(node) < share {
                state.give(node);
            }
        }
    }
    for node in users {
        let busy = world.reports().get(*node).and_then(|r| r.spec.ports.get(&text)).map(|p| &p.busy_blocks);
        state.shrink(node, wanted(node), busy.map(Vec::as_slice).unwrap_or_default());
    }
    let starved = users.iter().filter(|node| state.held(node) == 0).map(|n| (*n).to_owned()).collect();
    let leases: Vec<Lease> = state.leases.into_values().collect();
    let revision = if leases == old { revision.max(1) } else { revision + 1 };
    Leased { leases, block_size, revision, wake, starved }
}

struct Blocks {
    leases: BTreeMap<u16, Lease>,
    block_size: u16,
    revision: u64,
    now: Timestamp,
}

impl Blocks {
    /// Blocks that a node may take ports from.
    fn held(&self, node: &str) -> usize {
        self.leases.values().filter(|l| l.node == node && l.released.is_none()).count()
    }

    /// Gives a node one more block: one that it just gave back, else the first free one.
    fn give(&mut self, node: &str) {
        if let Some(own) = self.leases.values_mut().find(|l| l.node == node && l.released.is_some()) {
            own.released = None;
            return;
        }
        let first = self.block_size.max(1024);
        let free = (first..=u16::MAX).step_by(self.block_size.into()).find(|p| !self.leases.contains_key(p));
        if let Some(first_port) = free {
            let lease = Lease { node: node.to_owned(), first_port, revision: self.revision, released: None };
            self.leases.insert(first_port, lease);
        }
    }

    /// Takes back what a node no longer asks for, last block first, but none with flows in it.
    fn shrink(&mut self, node: &str, wanted: usize, busy: &[u16]) {
        let surplus = self.held(node).saturating_sub(wanted);
        let idle = self.leases.values_mut().rev().filter(|l| {
            l.node == node
                && l.released.is_none()
                && l.revision < self.revision
                && !busy.contains(&l.first_port)
        });
        for lease in idle.take(surplus) {
            lease.released = Some(Time(self.now));
        }
    }
}

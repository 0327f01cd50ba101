//! From what the kernel holds to what it must hold, in an order in which every step is safe: what is referred
//! to comes first, what is referred to goes last.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::tables::{
    EgressEntry, Guard, NodeEntry, PodEntry, PortRule, RuleSetId, ServedEntry, Settings, Tables,
};

/// One change of the kernel's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets the settings.
    Settings(Settings),
    /// Puts a network inside.
    SetInside(IpNet),
    /// Takes a network out of the inside.
    RemoveInside(IpNet),
    /// Sets a node, by its underlay address.
    SetNode(IpAddr, NodeEntry),
    /// Removes a node.
    RemoveNode(IpAddr),
    /// Sets a pod.
    SetPod(IpAddr, PodEntry),
    /// Removes a pod.
    RemovePod(IpAddr),
    /// Sets the rules of one destination.
    SetRule(RuleSetId, IpNet, Vec<PortRule>),
    /// Removes the rules of one destination.
    RemoveRule(RuleSetId, IpNet),
    /// Sets an egress address that pods of the node use.
    SetEgress(IpAddr, EgressEntry),
    /// Removes such an address.
    RemoveEgress(IpAddr),
    /// Sets an egress address that the node can serve.
    SetServed(IpAddr, ServedEntry),
    /// Removes such an address.
    RemoveServed(IpAddr),
    /// Leases a block: egress address, first port, ports in the block, underlay address of the source node.
    SetLease(IpAddr, u16, u16, IpAddr),
    /// Ends a lease: egress address, first port, ports in the block.
    RemoveLease(IpAddr, u16, u16),
    /// Sets the guard.
    SetGuard(Guard),
}

/// The changes that make `desired` of `actual`, in a safe order. The guard comes before the pods: a packet that
/// a new policy captures is dropped rather than leaked until the pod's rules are in.
pub fn diff(actual: &Tables, desired: &Tables) -> Vec<Change> {
    let mut changes = Vec::new();
    if actual.settings != desired.settings {
        changes.push(Change::Settings(desired.settings));
    }
    changes.extend(desired.inside.difference(&actual.inside).map(|n| Change::SetInside(*n)));
    changes.extend(set(&actual.nodes, &desired.nodes).map(|(k, v)| Change::SetNode(*k, *v)));
    changes.extend(ended(actual, desired, true));
    changes.extend(leases(actual, desired));
    changes.extend(set(&actual.served, &desired.served).map(|(k, v)| Change::SetServed(*k, *v)));
    changes.extend(set(&actual.egress, &desired.egress).map(|(k, v)| Change::SetEgress(*k, v.clone())));
    changes.extend(set(&actual.rules, &desired.rules).map(|(k, v)| Change::SetRule(k.0, k.1, v.clone())));
    if actual.guard != desired.guard {
        changes.push(Change::SetGuard(desired.guard.clone()));
    }
    changes.extend(set(&actual.pods, &desired.pods).map(|(k, v)| Change::SetPod(*k, *v)));
    changes.extend(gone(&actual.pods, &desired.pods).map(|k| Change::RemovePod(*k)));
    changes.extend(gone(&actual.rules, &desired.rules).map(|k| Change::RemoveRule(k.0, k.1)));
    changes.extend(gone(&actual.egress, &desired.egress).map(|k| Change::RemoveEgress(*k)));
    changes.extend(gone(&actual.served, &desired.served).map(|k| Change::RemoveServed(*k)));
    changes.extend(ended(actual, desired, false));
    changes.extend(gone(&actual.nodes, &desired.nodes).map(|k| Change::RemoveNode(*k)));
    changes.extend(actual.inside.difference(&desired.inside).map(|n| Change::RemoveInside(*n)));
    changes
}

/// What is new or different.
fn set<'a, K: Ord, V: PartialEq>(
    actual: &'a BTreeMap<K, V>,
    desired: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    let mut before = actual.iter().peekable();
    desired.iter().filter(move |(key, value)| {
        while before.next_if(|(old, _)| old < key).is_some() {}
        before.next_if(|(old, _)| old == key).is_none_or(|(_, old)| old != *value)
    })
}

/// What is no longer there.
fn gone<'a, K: Ord, V>(
    actual: &'a BTreeMap<K, V>,
    desired: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    let mut after = desired.keys().peekable();
    actual.keys().filter(move |key| {
        while after.next_if(|new| new < key).is_some() {}
        after.next_if(|new| new == key).is_none()
    })
}

/// Ports in a block of an address, as one side has it.
fn block_size(tables: &Tables, address: IpAddr) -> Option<u16> {
    tables.served.get(&address).map(|s| s.block_size)
}

/// The block sizes before and after of addresses that change theirs, begin or end: nearly always none.
fn sizes(actual: &Tables, desired: &Tables) -> BTreeMap<IpAddr, (Option<u16>, Option<u16>)> {
    let both =
        set(&actual.served, &desired.served).map(|(a, _)| a).chain(gone(&actual.served, &desired.served));
    both.map(|a| (*a, (block_size(actual, *a), block_size(desired, *a))))
        .filter(|(_, (b, a))| b != a)
        .collect()
}

fn leases<'a>(actual: &'a Tables, desired: &'a Tables) -> impl Iterator<Item = Change> + 'a {
    let resized = sizes(actual, desired);
    let changed: Vec<_> = set(&actual.leases, &desired.leases).map(|(key, _)| key).collect();
    let mut changed = changed.into_iter().peekable();
    desired.leases.iter().filter_map(move |(key, source)| {
        let new = changed.next_if_eq(&key).is_some();
        let again = !resized.is_empty() && resized.contains_key(&key.0);
        let size = (new || again).then(|| block_size(desired, key.0)).flatten()?;
        Some(Change::SetLease(key.0, key.1, size, *source))
    })
}

/// Leases that end. Those of an address whose blocks change their size end first: the kernel knows a block by
/// its number, and numbers of both sizes would meet.
fn ended<'a>(actual: &'a Tables, desired: &'a Tables, first: bool) -> impl Iterator<Item = Change> + 'a {
    let resized = sizes(actual, desired);
    let gone: Vec<_> = gone(&actual.leases, &desired.leases).collect();
    let mut gone = gone.into_iter().peekable();
    actual.leases.keys().filter_map(move |key| {
        let ends = gone.next_if_eq(&key).is_some();
        let sizes = if resized.is_empty() { None } else { resized.get(&key.0) };
        let other = sizes.is_some_and(|(before, after)| before.is_some() && after.is_some());
        if !(ends || other) || other != first {
            return None;
        }
        let size = block_size(actual, key.0).or_else(|| block_size(desired, key.0))?;
        Some(Change::RemoveLease(key.0, key.1, size))
    })
}

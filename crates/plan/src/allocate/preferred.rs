//! Which candidates come before the others: those that run a pod of the Service that is reached at the address, where
//! nobody else lets packets in to it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::claims::Use;
use crate::elect;
use crate::intent::{Beside, Intent};
use crate::world::World;

/// The candidates that come first, in the order of turn. Who was before whom stays so: a holder that changes ends the
/// connections from outside to the Service.
pub(crate) fn preferred(
    world: &World,
    uses: &Use,
    address: IpAddr,
    candidates: &[String],
    before: &[String],
) -> Vec<String> {
    let mut nodes: BTreeSet<&String> = BTreeSet::new();
    for intent in uses.ranks.iter().filter_map(|rank| world.policies().get(&rank.key)?.meaning.as_ref().ok())
    {
        let own = beside(world, intent, candidates);
        let both: BTreeSet<&String> = nodes.intersection(&own).copied().collect();
        // Of Services that no node can serve together the first has its will.
        match (nodes.is_empty(), both.is_empty()) {
            (true, _) => nodes = own,
            (false, false) => nodes = both,
            (false, true) => {}
        }
    }
    let stay = before.iter().filter(|node| nodes.contains(node));
    let mut new: Vec<&String> = nodes.iter().copied().filter(|node| !before.contains(node)).collect();
    new.sort_by_cached_key(|node| std::cmp::Reverse(elect::score(address, node)));
    stay.chain(new).cloned().collect()
}

/// The policy has a will about which candidate holds its address, and none can.
pub(crate) fn is_refused(world: &World, intent: &Intent, preferred: &[String]) -> bool {
    intent.beside != Beside::Nobody
        && !world.beside(&intent.rank.key).any(|node| preferred.iter().any(|p| p == node))
}

fn beside<'a>(world: &World, intent: &Intent, candidates: &'a [String]) -> BTreeSet<&'a String> {
    let nodes: BTreeSet<&str> = world.beside(&intent.rank.key).collect();
    candidates.iter().filter(|candidate| nodes.contains(candidate.as_str())).collect()
}

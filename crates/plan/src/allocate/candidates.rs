//! Who may serve an address: nodes that the pool selects, with a wire that reaches it.

use std::net::IpAddr;

use crate::intent::Pool;
use crate::world::World;

/// The candidates of an address, sorted.
pub(crate) fn of(world: &World, pool: &Pool, address: IpAddr) -> Vec<String> {
    world
        .reports()
        .iter()
        .filter(|(name, report)| {
            report.wire(pool.interface.as_deref(), address).is_some()
                && world.nodes().get(*name).is_some_and(|node| pool.nodes.matches(&node.labels))
        })
        .map(|(name, _)| name.clone())
        .collect()
}

//! How many ports a node asks for: it changes with every connection, and the rest of a node's plan does not.

use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_api::PortUse;

use crate::facts::Record;
use crate::tables::Tables;
use crate::world::World;

/// For each egress address that the node uses by `planned`, or has ports of: how its ports are used, and how many
/// blocks it wants. `flows` is what it counted by address; only `flows` and `busy_blocks` are read of it.
pub fn demand(
    world: &World,
    node: &str,
    planned: &Tables,
    flows: &BTreeMap<IpAddr, PortUse>,
) -> BTreeMap<IpAddr, PortUse> {
    let used =
        planned.egress.keys().filter_map(|address| world.record(*address)).map(|record| (record, true));
    let held = world.records_naming(node).filter(|record| {
        !planned.egress.contains_key(&record.address) && record.spec.leases.iter().any(|l| l.node == node)
    });
    let counted = |record: &Record| flows.get(&record.address).cloned().unwrap_or_default();
    used.chain(held.map(|record| (record, false)))
        .map(|(record, used)| (record.address, of(record, node, used, counted(record))))
        .collect()
}

fn of(record: &Record, node: &str, used: bool, counted: PortUse) -> PortUse {
    let mine = record.spec.leases.iter().filter(|l| l.node == node && l.released.is_none()).count();
    let blocks = u16::try_from(mine).unwrap_or(u16::MAX);
    // One pod must not be stopped at its share while the node could lease more.
    let ports =
        u64::from(blocks) * u64::from(record.spec.block_size) / u64::from(record.spec.pod_share.max(1));
    let flows = counted.flows;
    let wanted_blocks = match used {
        false => 0,
        // So many that a quarter is in use then: a node that opens many at once asks once.
        true if short_of_ports(flows, ports) => {
            let more = flows.saturating_mul(4).div_ceil((ports / u64::from(blocks.max(1))).max(1));
            u16::try_from(more).unwrap_or(u16::MAX).max(1)
        }
        true if flows.saturating_mul(8) >= ports => blocks.max(1),
        true => (blocks / 2).max(1),
    };
    PortUse { wanted_blocks, ..counted }
}

/// More than half of the ports that one pod may use would be taken: it is time to ask for more.
pub fn short_of_ports(flows: u64, ports: u64) -> bool {
    flows.saturating_mul(2) > ports
}

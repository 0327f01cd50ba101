//! A part of a node's plan: the ports of some addresses. They change with the load, many times a second, and all else
//! changes when somebody changes the cluster; so they can be planned without the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::local::Local;
use crate::node::{NodePlan, Planner};
use crate::tables::{ServedEntry, Tables};
use crate::world::World;

/// What a plan says of some addresses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// The addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// What the kernel must hold of them, as [`Tables::part`] has it.
    pub tables: Tables,
    programmed: BTreeMap<IpAddr, u64>,
    waiting_for_ports: BTreeMap<IpAddr, String>,
}

impl NodePlan {
    /// Plans the ports of these addresses again. Nothing else of the world, and nothing of the node, may be other than
    /// it was for this plan; then this plan with the part put in is what [`crate::node::plan`] would say. `None` if
    /// more than these ports depends on what changed.
    pub fn again(&self, world: &World, local: &Local, addresses: &BTreeSet<IpAddr>) -> Option<Part> {
        let mut planner = Planner::new(world, local);
        let mut part = Part { addresses: addresses.clone(), ..Part::default() };
        for address in addresses {
            // Whether this node has ports of a node's own address decides more than its ports.
            if world.record(*address).is_some_and(|record| record.spec.node_address) {
                return None;
            }
            let (used, served) = (self.tables.egress.get(address), self.tables.served.get(address));
            if used.is_none() && served.is_none() {
                continue;
            }
            let record = world.record(*address)?;
            if let Some(used) = used {
                let (entry, waits) = planner.entry(record, used.path, true);
                // Links are tried from the first of the ports.
                if entry.blocks.first() != used.blocks.first() {
                    return None;
                }
                part.tables.egress.insert(*address, entry);
                part.waiting_for_ports.extend(waits.map(|waits| (*address, waits)));
            }
            if let Some(served) = served {
                let entry = ServedEntry { block_size: record.spec.block_size, ..*served };
                part.tables.served.insert(*address, entry);
                part.tables.leases.extend(planner.leases(record));
                part.programmed.insert(*address, record.spec.revision);
            }
        }
        Some(part)
    }

    /// What this plan says of these addresses.
    pub fn part(&self, addresses: &BTreeSet<IpAddr>) -> Part {
        fn of<V: Clone>(all: &BTreeMap<IpAddr, V>, addresses: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, V> {
            addresses.iter().filter_map(|address| Some((*address, all.get(address)?.clone()))).collect()
        }
        Part {
            addresses: addresses.clone(),
            tables: self.tables.part(addresses),
            programmed: of(&self.programmed, addresses),
            waiting_for_ports: of(&self.waiting_for_ports, addresses),
        }
    }

    /// Puts a part in, in place of what the plan says of its addresses.
    pub fn put(&mut self, part: Part) {
        for address in &part.addresses {
            self.programmed.remove(address);
            self.waiting_for_ports.remove(address);
        }
        self.tables.put(&part.addresses, part.tables);
        self.programmed.extend(part.programmed);
        self.waiting_for_ports.extend(part.waiting_for_ports);
    }
}

impl Tables {
    /// Of these addresses: the ways there, which are served, and whose their ports are; of all else nothing.
    pub fn part(&self, addresses: &BTreeSet<IpAddr>) -> Tables {
        let mut part = Tables::default();
        for address in addresses {
            part.egress.extend(self.egress.get(address).map(|entry| (*address, entry.clone())));
            part.served.extend(self.served.get(address).map(|entry| (*address, *entry)));
            part.leases.extend(self.leases.range((*address, 0)..=(*address, u16::MAX)));
        }
        part
    }

    /// Puts a part in, in place of what there is of these addresses.
    pub fn put(&mut self, addresses: &BTreeSet<IpAddr>, part: Tables) {
        for address in addresses {
            self.egress.remove(address);
            self.served.remove(address);
            let ends: Vec<_> =
                self.leases.range((*address, 0)..=(*address, u16::MAX)).map(|(key, _)| *key).collect();
            for key in ends {
                self.leases.remove(&key);
            }
        }
        self.egress.extend(part.egress);
        self.served.extend(part.served);
        self.leases.extend(part.leases);
    }
}

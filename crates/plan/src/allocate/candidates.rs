//! Who may serve an address: nodes that the pool selects, with a wire that reaches it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::ObjectKey;
use ipnet::IpNet;

use crate::facts::{NodeFacts, Report};
use crate::intent::Pool;
use crate::world::World;

/// The candidates of every pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates(BTreeMap<ObjectKey, Reach>);

/// What a pool's nodes reach.
#[derive(Clone, Debug)]
enum Reach {
    /// The pool names the interface: nodes that have it reach every address.
    Everything(BTreeSet<String>),
    /// Nodes by the subnets of their wires.
    Subnets(BTreeMap<IpNet, BTreeSet<String>>),
}

impl Candidates {
    pub fn new(world: &World) -> Candidates {
        let wired = world.reports().iter().filter(|(_, report)| !report.wires.is_empty());
        let wired: Vec<Wired> =
            wired.filter_map(|(name, report)| Some((name, world.nodes().get(name)?, report))).collect();
        let pools = world.pools().iter().filter_map(|(key, pool)| Some((key, pool.meaning.as_ref().ok()?)));
        Candidates(pools.map(|(key, pool)| (key.clone(), reach(&wired, pool))).collect())
    }

    /// The candidates of an address, sorted.
    pub fn of(&self, pool: &ObjectKey, address: IpAddr) -> Vec<String> {
        match self.0.get(pool) {
            None => Vec::new(),
            Some(Reach::Everything(nodes)) => nodes.iter().cloned().collect(),
            Some(Reach::Subnets(subnets)) => {
                let holding: Vec<_> =
                    subnets.iter().filter(|(n, _)| n.contains(&address)).map(|(_, n)| n).collect();
                match holding.as_slice() {
                    [one] => one.iter().cloned().collect(),
                    several => several
                        .iter()
                        .flat_map(|n| n.iter())
                        .collect::<BTreeSet<_>>()
                        .into_iter()
                        .cloned()
                        .collect(),
                }
            }
        }
    }
}

/// A node that has wires.
type Wired<'a> = (&'a String, &'a NodeFacts, &'a Report);

fn reach(wired: &[Wired], pool: &Pool) -> Reach {
    let selected = wired
        .iter()
        .filter(|(_, node, _)| pool.nodes.matches(&node.labels) && (node.suitable || !pool.suitable_nodes));
    match &pool.interface {
        Some(interface) => {
            let named =
                selected.filter(|(.., report)| report.wires.iter().any(|w| w.interface == *interface));
            Reach::Everything(named.map(|(name, ..)| (*name).clone()).collect())
        }
        None => {
            let mut subnets: BTreeMap<IpNet, BTreeSet<String>> = BTreeMap::new();
            for (name, _, report) in selected {
                for subnet in report.wires.iter().flat_map(|w| &w.addresses) {
                    subnets.entry(subnet.trunc()).or_default().insert((*name).clone());
                }
            }
            Reach::Subnets(subnets)
        }
    }
}

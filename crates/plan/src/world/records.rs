//! Records of addresses, found by policy and by node, and who says that he holds one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::Claim;

use super::World;
use crate::affected::Affected;
use crate::facts::{Record, Report, address_of_record};

impl World {
    pub(super) fn set_record(&mut self, name: &str, record: Option<Record>) -> Affected {
        let Some(address) = address_of_record(name) else { return Affected::Nothing };
        let old = self.records.remove(&address);
        let affected = match (&old, &record) {
            (Some(old), Some(new)) if old.same_but_for_leases(new) => Affected::ports([address].into()),
            (None, None) => Affected::Nothing,
            _ => Affected::Everything,
        };
        if let Some(old) = old {
            self.touched.record(&old);
            for claim in &old.spec.claims {
                remove_from(&mut self.records_by_claim, claim, &old.address);
            }
            for node in nodes_of(&old) {
                remove_from(&mut self.records_by_node, node, &old.address);
            }
        }
        if let Some(new) = record {
            self.touched.record(&new);
            for claim in &new.spec.claims {
                self.records_by_claim.entry(claim.clone()).or_default().insert(new.address);
            }
            for node in nodes_of(&new) {
                match self.records_by_node.get_mut(node) {
                    Some(set) => drop(set.insert(new.address)),
                    None => drop(self.records_by_node.insert(node.clone(), [new.address].into())),
                }
            }
            self.records.insert(address, new);
        }
        affected
    }

    pub(super) fn set_holding(&mut self, node: &String, old: Option<&Report>, new: Option<&Report>) {
        let none = BTreeSet::new();
        let [old, new] = [old, new].map(|report| report.map_or(&none, |report| &report.holds));
        for address in old.difference(new) {
            remove_from(&mut self.holding, address, node);
        }
        for address in new.difference(old) {
            self.holding.entry(*address).or_default().insert(node.clone());
        }
    }

    /// Every record of an address.
    pub fn records(&self) -> &BTreeMap<IpAddr, Record> {
        &self.records
    }

    /// The record of an address.
    pub fn record(&self, address: IpAddr) -> Option<&Record> {
        self.records.get(&address)
    }

    /// The records that a policy has a claim in.
    pub fn records_claimed_by(&self, claim: &Claim) -> impl Iterator<Item = &Record> + use<'_> {
        self.records_by_claim.get(claim).into_iter().flatten().filter_map(|a| self.record(*a))
    }

    /// The records in which a node is a candidate or has a lease.
    pub fn records_naming(&self, node: &str) -> impl Iterator<Item = &Record> + use<'_> {
        self.records_by_node.get(node).into_iter().flatten().filter_map(|a| self.record(*a))
    }

    /// Nodes that say they hold an address.
    pub(crate) fn holding(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        self.holding.get(&address).into_iter().flatten().map(String::as_str)
    }
}

fn nodes_of(record: &Record) -> impl Iterator<Item = &String> {
    record.spec.candidates.iter().chain(record.spec.leases.iter().map(|l| &l.node))
}

fn remove_from<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = map.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

//! Reading back what the kernel holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use aya::maps::MapError;
use egret_plan::tables::{Guard, Settings, Tables, UnknownPods};

use crate::address;
use crate::entry::{self, Problem};
use crate::error::DatapathError;
use crate::layout;
use crate::maps::{Maps, from_rule_key};

/// What the maps hold. The guard is not read back.
pub fn tables(maps: &Maps) -> Result<Tables, DatapathError> {
    let settings = maps.settings.get(&0, 0).map_err(|e| DatapathError::map("settings", e))?;
    let served = addresses("served", maps.served.iter(), entry::to_served)?;
    Ok(Tables {
        settings: to_settings(&settings),
        inside: inside(maps)?,
        nodes: addresses("nodes", maps.nodes.iter(), |value| Ok(entry::to_node(value)))?,
        pods: addresses("pods", maps.pods.iter(), |value| Ok(entry::to_pod(value)))?,
        rules: rules(maps)?,
        egress: addresses("egress", maps.egress.iter(), entry::to_egress)?,
        leases: leases(maps)?.into_iter().filter_map(|lease| known(lease, &served)).collect(),
        served,
        guard: Guard::default(),
    })
}

fn to_settings(value: &layout::Settings) -> Settings {
    let unknown_pods = if value.hold_unknown != 0 { UnknownPods::Hold } else { UnknownPods::Pass };
    let hops = address::to_hops(value.hop4, value.hop6);
    Settings { unknown_pods, overlay_mtu: value.overlay_mtu, hops }
}

fn addresses<V, E>(
    map: &str,
    entries: impl Iterator<Item = Result<(layout::Addr, V), MapError>>,
    read: impl Fn(&V) -> Result<E, Problem>,
) -> Result<BTreeMap<IpAddr, E>, DatapathError> {
    let mut found = BTreeMap::new();
    for entry in entries {
        let (key, value) = entry.map_err(|error| DatapathError::map(map, error))?;
        let address = IpAddr::from(key);
        let entry = read(&value).map_err(|why| DatapathError::map(map, format!("{address}: {why}")))?;
        found.insert(address, entry);
    }
    Ok(found)
}

fn inside(maps: &Maps) -> Result<BTreeSet<ipnet::IpNet>, DatapathError> {
    let mut found = BTreeSet::new();
    for key in maps.inside.keys() {
        let key = key.map_err(|error| DatapathError::map("inside", error))?;
        found.extend(address::from_network(key.prefix_len(), key.data().addr));
    }
    Ok(found)
}

type Rules = BTreeMap<(u64, ipnet::IpNet), Vec<egret_plan::tables::PortRule>>;

fn rules(maps: &Maps) -> Result<Rules, DatapathError> {
    let mut found = BTreeMap::new();
    for entry in maps.rules.iter() {
        let (key, value) = entry.map_err(|error| DatapathError::map("rules", error))?;
        if value.pad == layout::RULE_SHADOW {
            continue;
        }
        let Some((set, net)) = from_rule_key(&key) else { continue };
        let rules = entry::to_rule(&value)
            .map_err(|why| DatapathError::map("rules", format!("{set:016x} {net}: {why}")))?;
        found.insert((set, net), rules);
    }
    Ok(found)
}

/// Every lease, by its key.
pub fn leases(maps: &Maps) -> Result<Vec<(layout::LeaseKey, IpAddr)>, DatapathError> {
    let mut found = Vec::new();
    for entry in maps.leases.iter() {
        let (key, node) = entry.map_err(|error| DatapathError::map("leases", error))?;
        found.push((key, IpAddr::from(node)));
    }
    Ok(found)
}

type Served = BTreeMap<IpAddr, egret_plan::tables::ServedEntry>;

/// A lease tells its first port only together with the size of its address's blocks.
fn known((key, node): (layout::LeaseKey, IpAddr), served: &Served) -> Option<((IpAddr, u16), IpAddr)> {
    let egress = IpAddr::from(key.egress);
    let block_size = served.get(&egress)?.block_size;
    Some(((egress, key.block.checked_mul(block_size)?), node))
}

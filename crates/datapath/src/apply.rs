//! Applying changes of the plan to the maps, one entry each.

use std::collections::BTreeSet;
use std::net::IpAddr;

use aya::maps::MapError;
use egret_plan::Change;
use egret_plan::tables::{PortRule, RuleSetId, Settings, UnknownPods};
use ipnet::IpNet;

use crate::address::{self, all_v4, covers_mapped};
use crate::entry;
use crate::error::in_full;
use crate::layout::Addr;
use crate::maps::{Maps, inside_key, lease_key, removed, rule_key};

/// Writes one change; `None` if it is not about a map. The answer names map and entry if it failed.
pub fn write(maps: &mut Maps, known: &mut KnownRules, change: &Change) -> Option<Result<(), String>> {
    let addr = |address: &IpAddr| Addr::from(*address);
    let result = match change {
        Change::SetGuard(_) => return None,
        Change::Settings(settings) => write_settings(maps, settings).map_err(in_map("settings", "")),
        Change::SetInside(net) => set_inside(maps, net),
        Change::RemoveInside(net) => {
            removed(maps.inside.remove(&inside_key(net))).map_err(in_map("inside", net))
        }
        Change::SetNode(address, node) => {
            maps.nodes.insert(addr(address), entry::node(node), 0).map_err(in_map("nodes", address))
        }
        Change::RemoveNode(address) => {
            removed(maps.nodes.remove(&addr(address))).map_err(in_map("nodes", address))
        }
        Change::SetPod(address, pod) => {
            maps.pods.insert(addr(address), entry::pod(pod), 0).map_err(in_map("pods", address))
        }
        Change::RemovePod(address) => {
            removed(maps.pods.remove(&addr(address))).map_err(in_map("pods", address))
        }
        Change::SetRule(set, net, rules) => set_rule(maps, known, *set, net, rules),
        Change::RemoveRule(set, net) => remove_rule(maps, known, *set, net),
        Change::SetEgress(address, egress) => entry::egress(egress)
            .map_err(in_map("egress", address))
            .and_then(|value| maps.egress.insert(addr(address), value, 0).map_err(in_map("egress", address))),
        Change::RemoveEgress(address) => {
            removed(maps.egress.remove(&addr(address))).map_err(in_map("egress", address))
        }
        Change::SetServed(address, served) => entry::served(served)
            .map_err(in_map("served", address))
            .and_then(|value| maps.served.insert(addr(address), value, 0).map_err(in_map("served", address))),
        Change::RemoveServed(address) => {
            removed(maps.served.remove(&addr(address))).map_err(in_map("served", address))
        }
        Change::SetLease(address, first, size, node) => lease(address, *first, *size)
            .and_then(|key| maps.leases.insert(key, Addr::from(*node), 0).map_err(full))
            .map_err(in_map("leases", format!("{address} port {first}"))),
        Change::RemoveLease(address, first, size) => lease(address, *first, *size)
            .and_then(|key| removed(maps.leases.remove(&key)).map_err(full))
            .map_err(in_map("leases", format!("{address} port {first}"))),
    };
    Some(result)
}

/// Rules that a plan asked for, so that IPv6 prefixes that would cover IPv4 in the kernel's form are seen.
#[derive(Default)]
pub struct KnownRules(pub BTreeSet<(RuleSetId, IpNet)>);

impl KnownRules {
    /// The rule set has a prefix that covers the mapped IPv4 addresses, and no rule for all of them.
    fn needs_shadow(&self, set: RuleSetId) -> bool {
        let lowest = IpNet::V4(ipnet::Ipv4Net::default());
        let mut of_set = self.0.range((set, lowest)..).take_while(|(of, _)| *of == set);
        !self.0.contains(&(set, all_v4())) && of_set.any(|(_, net)| covers_mapped(net))
    }
}

fn write_settings(maps: &mut Maps, settings: &Settings) -> Result<(), MapError> {
    let mut value = maps.settings.get(&0, 0)?;
    value.hold_unknown = u8::from(settings.unknown_pods == UnknownPods::Hold);
    value.overlay_mtu = settings.overlay_mtu;
    (value.hop4, value.hop6) = address::hops(settings.hops);
    maps.settings.set(0, value, 0)
}

fn set_inside(maps: &mut Maps, net: &IpNet) -> Result<(), String> {
    if covers_mapped(net) {
        let why = "it would cover IPv4 as well; name 2000::/3 and fc00::/7 for all of IPv6";
        return Err(in_map("inside", net)(why));
    }
    maps.inside.insert(&inside_key(net), 1, 0).map_err(in_map("inside", net))
}

fn set_rule(
    maps: &mut Maps,
    known: &mut KnownRules,
    set: RuleSetId,
    net: &IpNet,
    rules: &[PortRule],
) -> Result<(), String> {
    let place = format!("{set:016x} {net}");
    let value = entry::rule(rules).map_err(in_map("rules", &place))?;
    known.0.insert((set, *net));
    // The shadow first: for no moment may an IPv6 rule decide about IPv4.
    if known.needs_shadow(set) {
        maps.rules.insert(&rule_key(set, &all_v4()), entry::shadow(), 0).map_err(in_map("rules", &place))?;
    }
    maps.rules.insert(&rule_key(set, net), value, 0).map_err(in_map("rules", &place))
}

fn remove_rule(maps: &mut Maps, known: &mut KnownRules, set: RuleSetId, net: &IpNet) -> Result<(), String> {
    let failed = || in_map("rules", format!("{set:016x} {net}"));
    let shadowed = known.needs_shadow(set);
    known.0.remove(&(set, *net));
    if known.needs_shadow(set) {
        maps.rules.insert(&rule_key(set, &all_v4()), entry::shadow(), 0).map_err(failed())?;
        if *net == all_v4() {
            return Ok(());
        }
    }
    removed(maps.rules.remove(&rule_key(set, net))).map_err(failed())?;
    if shadowed && !known.needs_shadow(set) {
        removed(maps.rules.remove(&rule_key(set, &all_v4()))).map_err(failed())?;
    }
    Ok(())
}

fn lease(egress: &IpAddr, first_port: u16, block_size: u16) -> Result<crate::layout::LeaseKey, String> {
    Ok(lease_key(*egress, first_port, entry::shift(block_size)?))
}

fn full(error: MapError) -> String {
    in_full(&error)
}

fn in_map<E: std::fmt::Display>(
    map: &'static str,
    entry: impl std::fmt::Display,
) -> impl FnOnce(E) -> String {
    let entry = entry.to_string();
    move |error| format!("map {map}, entry {entry}: {error}")
}

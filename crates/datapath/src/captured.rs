//! The guard's part for one rule set: which destinations only the datapath may carry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use egret_plan::tables::{Captured, PortMatch, RuleSetId};

/// The two families have tables of their own: nftables sets hold one type of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    pub fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Family::V4)
    }

    pub fn digit(self) -> char {
        if self == Family::V4 { '4' } else { '6' }
    }

    pub fn word(self) -> &'static str {
        if self == Family::V4 { "ipv4_addr" } else { "ipv6_addr" }
    }

    pub fn header(self) -> &'static str {
        if self == Family::V4 { "ip" } else { "ip6" }
    }
}

/// Name of the chain of a rule set.
pub fn chain_name(family: Family, set: RuleSetId) -> String {
    format!("rules{}_{set:016x}", family.digit())
}

/// Writes sets and chain of a rule set, if it captures anything of the family.
pub fn chain(text: &mut String, family: Family, set: RuleSetId, captured: &BTreeSet<Captured>) {
    let of_family: Vec<&Captured> = captured.iter().filter(|range| family.has(range.first)).collect();
    if of_family.is_empty() {
        return;
    }
    let (name, ip, word) = (chain_name(family, set), family.header(), family.word());
    let whole: Vec<String> = of_family
        .iter()
        .filter(|range| range.ports == PortMatch::Any)
        .map(|range| between(range.first, range.last))
        .collect();
    let ports = by_port(&of_family);
    let mut rules = String::new();
    if !whole.is_empty() {
        let elements = whole.join(", ");
        let _ = writeln!(
            text,
            "  set {name}_any {{\n    type {word}; flags interval; auto-merge;\n    elements = {{ {elements} }}\n  }}"
        );
        let _ = writeln!(rules, "    {ip} daddr @{name}_any counter name captured drop");
    }
    if !ports.is_empty() {
        let elements = ports.join(", ");
        let _ = writeln!(
            text,
            "  set {name}_ports {{\n    type {word} . inet_proto . inet_service; flags interval;\n    \
             elements = {{ {elements} }}\n  }}"
        );
        let _ = writeln!(
            rules,
            "    {ip} daddr . meta l4proto . th dport @{name}_ports counter name captured drop"
        );
    }
    let _ = writeln!(text, "  chain {name} {{\n{rules}  }}");
}

/// What the sets of a rule set are called, behind its name.
pub fn sets_of(family: Family, captured: &BTreeSet<Captured>) -> Vec<&'static str> {
    let has = |any: bool| {
        captured.iter().any(|range| family.has(range.first) && (range.ports == PortMatch::Any) == any)
    };
    [("any", true), ("ports", false)].into_iter().filter(|(_, any)| has(*any)).map(|(name, _)| name).collect()
}

fn between(first: IpAddr, last: IpAddr) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// Protocol, and its captured ports as ranges.
type Ports = BTreeSet<(&'static str, u16, u16)>;

/// Elements that do not overlap, which nftables wants of concatenated ranges: address ranges are cut where another
/// one begins or ends, and what shares a range then has its ports joined.
fn by_port(captured: &[&Captured]) -> Vec<String> {
    let ranges: Vec<(u128, u128, &'static str, u16, u16)> = captured
        .iter()
        .filter_map(|range| {
            let (protocol, first, last) = match range.ports {
                PortMatch::Any => return None,
                PortMatch::Tcp(first, last) => ("tcp", first, last),
                PortMatch::Udp(first, last) => ("udp", first, last),
            };
            Some((number(range.first), number(range.last), protocol, first, last))
        })
        .collect();
    let v4 = captured.first().is_some_and(|range| range.first.is_ipv4());
    let mut cuts: BTreeSet<u128> = BTreeSet::new();
    for (first, last, ..) in &ranges {
        cuts.insert(*first);
        // Behind the last address of all there is nothing to cut.
        cuts.extend(last.checked_add(1));
    }
    let cuts: Vec<u128> = cuts.into_iter().collect();
    let mut pieces: BTreeMap<(u128, u128), Ports> = BTreeMap::new();
    for (index, start) in cuts.iter().enumerate() {
        let end = cuts.get(index + 1).map_or(u128::MAX, |next| next - 1);
        let covering = ranges.iter().filter(|(first, last, ..)| first <= start && end <= *last);
        let ports: Ports = covering.map(|(_, _, protocol, first, last)| (*protocol, *first, *last)).collect();
        if !ports.is_empty() {
            pieces.insert((*start, end), joined(&ports));
        }
    }
    let mut elements = Vec::new();
    for ((start, end), ports) in pieces {
        for (protocol, first, last) in ports {
            let addresses = between(address(start, v4), address(end, v4));
            let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
            elements.push(format!("{addresses} . {protocol} . {ports}"));
        }
    }
    elements
}

fn joined(ports: &Ports) -> Ports {
    let mut joined: Vec<(&'static str, u16, u16)> = Vec::new();
    for (protocol, first, last) in ports {
        match joined.last_mut() {
            Some((of, _, end)) if of == protocol && u32::from(*first) <= u32::from(*end) + 1 => {
                *end = (*end).max(*last);
            }
            _ => joined.push((protocol, *first, *last)),
        }
    }
    joined.into_iter().collect()
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(number: u128, v4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(bits) if v4 => IpAddr::V4(bits.into()),
        _ => IpAddr::V6(number.into()),
    }
}

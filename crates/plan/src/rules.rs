//! From a pod's policies to rules by destination: the longest prefix decides, and each prefix holds all that
//! can apply to a packet that finds it, so one look-up in the kernel is enough.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use xxhash_rust::xxh3::Xxh3;

use crate::intent::Traffic;
use crate::ports::{self, compact};
use crate::tables::{MAX_PORT_RULES, PortMatch, PortRule, RuleSetId};

/// The egress address of rules whose policy has none: no such address is ever programmed, so packets are dropped.
pub const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What a policy does with the packets that are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// They leave by this address.
    Egress(IpAddr),
    /// They go the ordinary way.
    Ordinary,
    /// They are dropped: the policy has no address.
    Drop,
}

/// One policy of a pod, as far as rules care.
#[derive(Clone, Debug)]
pub struct Layer<'a> {
    /// Its destinations.
    pub traffic: &'a [Traffic],
    /// What it does.
    pub verdict: Verdict,
    /// It captures IPv4 destinations.
    pub v4: bool,
    /// It captures IPv6 destinations.
    pub v6: bool,
}

/// A compiled rule set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// Its name: the hash of its content; 0 if it is empty.
    pub id: RuleSetId,
    /// Rules by destination.
    pub rules: BTreeMap<IpNet, Vec<PortRule>>,
    /// Layers that lost a rule because too many meet at one destination. Their packets there are dropped.
    pub overflow: BTreeSet<usize>,
}

/// What one prefix means to the layers.
#[derive(Default)]
struct Point {
    begins: Vec<(usize, usize)>,
    ends: Vec<(usize, usize)>,
}

/// A prefix above the one in hand.
struct Above {
    net: IpNet,
    applies: BTreeSet<(usize, usize)>,
    rules: Vec<PortRule>,
}

/// Compiles a pod's policies, the first in the order of precedence first.
pub fn compile(layers: &[Layer]) -> RuleSet {
    let mut points: BTreeMap<IpNet, Point> = BTreeMap::new();
    for (l, layer) in layers.iter().enumerate() {
        for (t, traffic) in layer.traffic.iter().enumerate() {
            let family = if traffic.net.network().is_ipv4() { layer.v4 } else { layer.v6 };
            if !family || traffic.except.iter().any(|e| e.contains(&traffic.net)) {
                continue;
            }
            points.entry(traffic.net).or_default().begins.push((l, t));
            for except in &traffic.except {
                points.entry(*except).or_default().ends.push((l, t));
            }
        }
    }
    let mut set = RuleSet::default();
    let mut above: Vec<Above> = Vec::new();
    for (net, point) in &points {
        while above.last().is_some_and(|outer| !outer.net.contains(net)) {
            above.pop();
        }
        let mut applies = above.last().map(|outer| outer.applies.clone()).unwrap_or_default();
        applies.extend(point.begins.iter().copied());
        for ended in &point.ends {
            applies.remove(ended);
        }
        let rules = at_prefix(layers, &applies, &mut set.overflow);
        if above.last().map_or(&[][..], |outer| &outer.rules) != rules {
            let ordinary = vec![PortRule { ports: PortMatch::Any, egress: None }];
            set.rules.insert(*net, if rules.is_empty() { ordinary } else { rules.clone() });
        }
        above.push(Above { net: *net, applies, rules });
    }
    // IPv4 addresses are ::ffff:0:0/96 to the kernel's look-up: an IPv6 rule above that must not catch them.
    let v4 = IpNet::V4(Ipv4Net::default());
    let mapped = IpAddr::V6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped());
    if set.rules.keys().any(|n| n.contains(&mapped)) && !set.rules.contains_key(&v4) {
        set.rules.insert(v4, vec![PortRule { ports: PortMatch::Any, egress: None }]);
    }
    set.id = identify(&set.rules);
    set
}

fn at_prefix(
    layers: &[Layer],
    applies: &BTreeSet<(usize, usize)>,
    overflow: &mut BTreeSet<usize>,
) -> Vec<PortRule> {
    let mut rules: Vec<PortRule> = Vec::new();
    let mut from: Vec<usize> = Vec::new();
    for (l, t) in applies {
        let egress = match layers[*l].verdict {
            Verdict::Egress(address) => Some(address),
            Verdict::Ordinary => None,
            Verdict::Drop => Some(NOWHERE),
        };
        for ports in &layers[*l].traffic[*t].ports {
            rules.push(PortRule { ports: *ports, egress });
            from.push(*l);
        }
        if rules.last().is_some_and(|r| r.ports == PortMatch::Any) {
            break;
        }
    }
    let short = compact(&rules);
    if short.len() <= MAX_PORT_RULES {
        return short;
    }
    // What does not fit is dropped: whoever lost a rule must not leave with the wrong source.
    let mut cut = ports::unshadowed(&rules);
    let lost = cut.split_off(cut.len().min(MAX_PORT_RULES - 1));
    overflow.extend(rules.iter().zip(&from).filter(|(rule, _)| lost.contains(rule)).map(|(_, layer)| *layer));
    cut.push(PortRule { ports: PortMatch::Any, egress: Some(NOWHERE) });
    cut
}

fn identify(rules: &BTreeMap<IpNet, Vec<PortRule>>) -> RuleSetId {
    if rules.is_empty() {
        return 0;
    }
    let mut hash = Xxh3::new();
    let address = |hash: &mut Xxh3, address: IpAddr| match address {
        IpAddr::V4(a) => hash.update(&a.to_ipv6_mapped().octets()),
        IpAddr::V6(a) => hash.update(&a.octets()),
    };
    for (net, list) in rules {
        hash.update(&[net.network().is_ipv4().into(), net.prefix_len()]);
        address(&mut hash, net.network());
        hash.update(&(list.len() as u64).to_be_bytes());
        for rule in list {
            let (kind, first, last) = match rule.ports {
                PortMatch::Any => (0u8, 0, 0),
                PortMatch::Tcp(first, last) => (1, first, last),
                PortMatch::Udp(first, last) => (2, first, last),
            };
            hash.update(&[kind, rule.egress.is_some().into()]);
            hash.update(&first.to_be_bytes());
            hash.update(&last.to_be_bytes());
            address(&mut hash, rule.egress.unwrap_or(NOWHERE));
        }
    }
    hash.digest().max(1)
}

/// A policy's own destinations alone hold more port rules at one network than fit.
pub fn overflows(traffic: &[Traffic]) -> bool {
    // Fewer rules than fit altogether cannot meet in too great a number.
    traffic.iter().map(|t| t.ports.len()).sum::<usize>() > MAX_PORT_RULES
        && !compile(&[Layer { traffic, verdict: Verdict::Drop, v4: true, v6: true }]).overflow.is_empty()
}

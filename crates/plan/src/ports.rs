//! Lists of port rules, made as short as their meaning allows.

use std::collections::BTreeMap;

use crate::tables::{PortMatch, PortRule};

/// A list of the same meaning that is as short as it gets: without rules that never decide, and with
/// neighbouring ranges joined where that helps.
pub fn compact(rules: &[PortRule]) -> Vec<PortRule> {
    let ordered = unshadowed(rules);
    let pieces = pieces(&ordered);
    if pieces.len() < ordered.len() { pieces } else { ordered }
}

/// The rules without those that earlier ones decide altogether.
pub fn unshadowed(rules: &[PortRule]) -> Vec<PortRule> {
    let (mut tcp, mut udp) = (Spans::default(), Spans::default());
    let mut kept = Vec::new();
    for rule in rules {
        let decides = match rule.ports {
            PortMatch::Any => true,
            PortMatch::Tcp(first, last) => tcp.add(first, last, rule),
            PortMatch::Udp(first, last) => udp.add(first, last, rule),
        };
        if decides {
            kept.push(*rule);
        }
        if rule.ports == PortMatch::Any {
            break;
        }
    }
    // A list that ends by leaving the rest alone says what no list says.
    while kept.last().is_some_and(|r| r.egress.is_none()) {
        kept.pop();
    }
    kept
}

/// The list as disjoint ranges, joined where neighbours agree.
fn pieces(rules: &[PortRule]) -> Vec<PortRule> {
    let (mut tcp, mut udp) = (Spans::default(), Spans::default());
    let mut rest = None;
    for rule in rules {
        match rule.ports {
            PortMatch::Any => rest = Some(rule.egress),
            PortMatch::Tcp(first, last) => {
                tcp.add(first, last, rule);
            }
            PortMatch::Udp(first, last) => {
                udp.add(first, last, rule);
            }
        }
    }
    let otherwise = rest.flatten();
    let mut list = Vec::new();
    for (spans, form) in [(tcp, PortMatch::Tcp as fn(u16, u16) -> PortMatch), (udp, PortMatch::Udp)] {
        let joined = spans.joined().into_iter().filter(|(.., egress)| *egress != otherwise);
        list.extend(joined.map(|(first, last, egress)| PortRule { ports: form(first, last), egress }));
    }
    list.extend(otherwise.map(|address| PortRule { ports: PortMatch::Any, egress: Some(address) }));
    list
}

/// What a list captures: what it sends by an egress address, or drops, as ranges that do not overlap.
/// Where a list captures the rest after leaving some ports alone, only TCP and UDP can be named.
pub fn captured(rules: &[PortRule]) -> Vec<PortMatch> {
    let (mut tcp, mut udp) = (Spans::default(), Spans::default());
    let mut spared = false;
    for rule in rules {
        match rule.ports {
            PortMatch::Any if rule.egress.is_some() && !spared => return vec![PortMatch::Any],
            PortMatch::Any => {
                tcp.add(0, u16::MAX, rule);
                udp.add(0, u16::MAX, rule);
            }
            PortMatch::Tcp(first, last) => spared |= tcp.add(first, last, rule) && rule.egress.is_none(),
            PortMatch::Udp(first, last) => spared |= udp.add(first, last, rule) && rule.egress.is_none(),
        }
    }
    let mut list = Vec::new();
    for (spans, form) in [(tcp, PortMatch::Tcp as fn(u16, u16) -> PortMatch), (udp, PortMatch::Udp)] {
        let mut union: Vec<(u16, u16)> = Vec::new();
        for (first, last, _) in spans.joined().into_iter().filter(|(.., egress)| egress.is_some()) {
            match union.last_mut() {
                Some(open) if open.1 != u16::MAX && open.1 + 1 == first => open.1 = last,
                _ => union.push((first, last)),
            }
        }
        list.extend(union.into_iter().map(|(first, last)| form(first, last)));
    }
    list
}

/// Disjoint ranges of ports; what is taken first stays taken.
#[derive(Default)]
struct Spans(BTreeMap<u16, (u16, Option<std::net::IpAddr>)>);

impl Spans {
    /// Takes what is free of a range; false if nothing was.
    fn add(&mut self, first: u16, last: u16, rule: &PortRule) -> bool {
        let mut free = Vec::new();
        let mut next = u32::from(first);
        let before = self.0.range(..first).next_back();
        for (from, (to, _)) in before.into_iter().chain(self.0.range(first..=last)) {
            if u32::from(*from) > next {
                free.push((next as u16, from - 1));
            }
            next = next.max(u32::from(*to) + 1);
        }
        if next <= u32::from(last) {
            free.push((next as u16, last));
        }
        for (from, to) in &free {
            self.0.insert(*from, (*to, rule.egress));
        }
        !free.is_empty()
    }

    fn joined(&self) -> Vec<(u16, u16, Option<std::net::IpAddr>)> {
        let mut list: Vec<(u16, u16, Option<std::net::IpAddr>)> = Vec::new();
        for (first, (last, egress)) in &self.0 {
            match list.last_mut() {
                Some(open) if open.2 == *egress && open.1 != u16::MAX && open.1 + 1 == *first => {
                    open.1 = *last
                }
                _ => list.push((*first, *last, *egress)),
            }
        }
        list
    }
}

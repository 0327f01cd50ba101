//! What a rule set captures, as ranges of destinations that do not overlap: the form that an nftables set takes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::ports;
use crate::range::{address, number};
use crate::tables::{Captured, PortMatch, PortRule};

/// The ranges that only the datapath may carry.
pub fn captured(rules: &BTreeMap<IpNet, Vec<PortRule>>) -> BTreeSet<Captured> {
    let mut pieces: Vec<(IpAddr, IpAddr, Vec<PortMatch>)> = Vec::new();
    // Networks that hold the one in hand, each with the first number that none of its inner networks has taken.
    let mut open: Vec<(IpNet, Option<u128>, Vec<PortMatch>)> = Vec::new();
    for (net, list) in rules {
        close(&mut open, &mut pieces, Some(*net));
        let (first, last) = (number(net.network()), number(net.broadcast()));
        if let Some((outer, next, ports)) = open.last_mut() {
            push(&mut pieces, outer.network(), *next, first.checked_sub(1), ports);
            *next = last.checked_add(1);
        }
        open.push((*net, Some(first), ports::captured(list)));
    }
    close(&mut open, &mut pieces, None);
    pieces.sort();
    let mut joined: Vec<(IpAddr, IpAddr, Vec<PortMatch>)> = Vec::new();
    for (first, last, ports) in pieces {
        match joined.last_mut() {
            Some(before)
                if before.2 == ports
                    && before.1.is_ipv4() == first.is_ipv4()
                    && number(before.1).checked_add(1) == Some(number(first)) =>
            {
                before.1 = last;
            }
            _ => joined.push((first, last, ports)),
        }
    }
    let each = |(first, last, ports): (IpAddr, IpAddr, Vec<PortMatch>)| {
        ports.into_iter().map(move |ports| Captured { first, last, ports })
    };
    joined.into_iter().flat_map(each).collect()
}

/// Closes the networks that do not hold the next one: what is left of them is theirs.
fn close(
    open: &mut Vec<(IpNet, Option<u128>, Vec<PortMatch>)>,
    pieces: &mut Vec<(IpAddr, IpAddr, Vec<PortMatch>)>,
    next: Option<IpNet>,
) {
    while open.last().is_some_and(|(outer, ..)| next.is_none_or(|n| !outer.contains(&n))) {
        if let Some((outer, from, ports)) = open.pop() {
            push(pieces, outer.network(), from, Some(number(outer.broadcast())), &ports);
        }
    }
}

fn push(
    pieces: &mut Vec<(IpAddr, IpAddr, Vec<PortMatch>)>,
    like: IpAddr,
    from: Option<u128>,
    to: Option<u128>,
    ports: &[PortMatch],
) {
    if let (Some(from), Some(to), false) = (from, to, ports.is_empty())
        && from <= to
    {
        pieces.push((address(from, like), address(to, like), ports.to_vec()));
    }
}

//! Which policies come second: where two of them select a pod and match a packet, the first in the order of
//! precedence decides, and the other is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use egret_api::ObjectKey;

use crate::intent::{Intent, Rank, Traffic};
use crate::tables::PortMatch;
use crate::touched::Touched;

/// Pairs of destinations that are compared one by one; policies with more are taken to meet.
const MANY: usize = 4096;

/// In which families two policies meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Families {
    pub v4: bool,
    pub v6: bool,
}

/// Stacks in which two policies meet, by family.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    v4: usize,
    v6: usize,
}

/// Policies that meet on some pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disputes {
    /// Pods by their policies, where there are several.
    stacks: BTreeMap<Vec<ObjectKey>, usize>,
    /// For each policy those before it.
    before: BTreeMap<ObjectKey, BTreeMap<Rank, Count>>,
    /// For each policy those after it, with the stacks in which they meet.
    after: BTreeMap<ObjectKey, BTreeMap<ObjectKey, usize>>,
}

impl Disputes {
    pub fn before(&self, policy: &ObjectKey) -> impl Iterator<Item = (&Rank, Families)> + use<'_> {
        let rivals = self.before.get(policy).into_iter().flatten();
        rivals.map(|(rank, count)| (rank, Families { v4: count.v4 > 0, v6: count.v6 > 0 }))
    }

    pub fn after(&self, policy: &ObjectKey) -> impl Iterator<Item = &ObjectKey> + use<'_> {
        self.after.get(policy).into_iter().flat_map(BTreeMap::keys)
    }

    /// A pod's policies change.
    pub fn change(&mut self, before: &[Arc<Intent>], after: &[Arc<Intent>], touched: &mut Touched) {
        if before.len() < 2 && after.len() < 2
            || before.len() == after.len() && before.iter().zip(after).all(|(a, b)| Arc::ptr_eq(a, b))
        {
            return;
        }
        let keys = |stack: &[Arc<Intent>]| -> Vec<ObjectKey> {
            stack.iter().map(|intent| intent.rank.key.clone()).collect()
        };
        if after.len() > 1 {
            let count = self.stacks.entry(keys(after)).or_default();
            *count += 1;
            if *count == 1 {
                self.pairs(after, true, touched);
            }
        }
        if before.len() > 1 {
            let stack = keys(before);
            let Some(count) = self.stacks.get_mut(&stack) else { return };
            *count -= 1;
            if *count == 0 {
                self.stacks.remove(&stack);
                self.pairs(before, false, touched);
            }
        }
    }

    fn pairs(&mut self, stack: &[Arc<Intent>], begin: bool, touched: &mut Touched) {
        for (n, second) in stack.iter().enumerate() {
            for first in &stack[..n] {
                let meet = meet(&first.traffic, &second.traffic);
                if meet != Families::default() {
                    self.count(&first.rank, &second.rank.key, meet, begin);
                    touched.status(&second.rank.key);
                }
            }
        }
    }

    fn count(&mut self, first: &Rank, second: &ObjectKey, meet: Families, begin: bool) {
        let step = |count: &mut usize, by: bool| match begin {
            true => *count += usize::from(by),
            false => *count = count.saturating_sub(usize::from(by)),
        };
        let rivals = self.before.entry(second.clone()).or_default();
        let count = rivals.entry(first.clone()).or_default();
        step(&mut count.v4, meet.v4);
        step(&mut count.v6, meet.v6);
        if count.v4 + count.v6 == 0 {
            rivals.remove(first);
        }
        if rivals.is_empty() {
            self.before.remove(second);
        }
        let outranked = self.after.entry(first.key.clone()).or_default();
        let count = outranked.entry(second.clone()).or_default();
        step(count, true);
        if *count == 0 {
            outranked.remove(second);
        }
        if outranked.is_empty() {
            self.after.remove(&first.key);
        }
    }
}

/// The families in which some packet is both policies'.
fn meet(a: &[Traffic], b: &[Traffic]) -> Families {
    let many = a.len().saturating_mul(b.len()) > MANY;
    let of = |v4: bool| {
        let family = |traffic: &&Traffic| traffic.net.network().is_ipv4() == v4;
        let mut pairs = a.iter().filter(family).flat_map(|a| b.iter().filter(family).map(move |b| (a, b)));
        pairs.any(|(a, b)| many || both(a, b))
    };
    Families { v4: of(true), v6: of(false) }
}

fn both(a: &Traffic, b: &Traffic) -> bool {
    let (wide, narrow) = if a.net.contains(&b.net) { (a.net, b.net) } else { (b.net, a.net) };
    let spared = a.except.iter().chain(&b.except).any(|except| except.contains(&narrow));
    wide.contains(&narrow) && !spared && a.ports.iter().any(|a| b.ports.iter().any(|b| ports_meet(*a, *b)))
}

fn ports_meet(a: PortMatch, b: PortMatch) -> bool {
    match (a, b) {
        (PortMatch::Any, _) | (_, PortMatch::Any) => true,
        (PortMatch::Tcp(first, last), PortMatch::Tcp(other, end))
        | (PortMatch::Udp(first, last), PortMatch::Udp(other, end)) => first <= end && other <= last,
        _ => false,
    }
}

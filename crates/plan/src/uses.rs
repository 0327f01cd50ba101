//! Where policies select pods: on which nodes, and on which of them their address should be held.

use std::collections::BTreeMap;
use std::sync::Arc;

use egret_api::{Kind, ObjectKey};

use crate::intent::{Beside, Intent};
use crate::touched::Touched;

/// A policy selects a pod on a node, which is ready or not.
pub(crate) type Choice = (Arc<Intent>, Arc<str>, bool);

/// Pods by policy, counted by node.
type Counts = BTreeMap<ObjectKey, BTreeMap<Arc<str>, usize>>;

/// Where policies select pods.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    all: Counts,
    /// Those beside which the policy's address should be held.
    beside: Counts,
}

impl Uses {
    /// The nodes on which a policy selects a pod.
    pub fn of(&self, policy: &ObjectKey) -> impl Iterator<Item = &str> + use<'_> {
        nodes(&self.all, policy)
    }

    /// The nodes on which a policy's address should be held.
    pub fn beside(&self, policy: &ObjectKey) -> impl Iterator<Item = &str> + use<'_> {
        nodes(&self.beside, policy)
    }

    /// Some uses end, some begin.
    pub fn change(&mut self, before: &[Choice], after: &[Choice], touched: &mut Touched) {
        // Statuses that name pods.
        let named = |intent: &Intent| matches!(intent.rank.key.kind, Kind::LoxilbEgress | Kind::Service);
        for (intent, ..) in before.iter().chain(after).filter(|(intent, ..)| named(intent)) {
            touched.status(&intent.rank.key);
        }
        let beside =
            |choices: &[Choice]| choices.iter().filter(|c| is_beside(c)).cloned().collect::<Vec<_>>();
        count(&mut self.all, before, after, touched);
        count(&mut self.beside, &beside(before), &beside(after), touched);
    }
}

fn nodes<'a>(counts: &'a Counts, policy: &ObjectKey) -> impl Iterator<Item = &'a str> + use<'a> {
    counts.get(policy).into_iter().flat_map(BTreeMap::keys).map(AsRef::as_ref)
}

fn is_beside((intent, _, ready): &Choice) -> bool {
    match intent.beside {
        Beside::Nobody => false,
        Beside::ReadyPod => *ready,
        Beside::AnyPod => true,
    }
}

fn count(counts: &mut Counts, before: &[Choice], after: &[Choice], touched: &mut Touched) {
    for (intent, node, _) in after {
        let nodes = match counts.get_mut(&intent.rank.key) {
            Some(nodes) => nodes,
            None => counts.entry(intent.rank.key.clone()).or_default(),
        };
        match nodes.get_mut(node) {
            Some(count) => *count += 1,
            None => {
                nodes.insert(node.clone(), 1);
                touched.used([&intent.rank.key]);
            }
        }
    }
    for (intent, node, _) in before {
        let Some(nodes) = counts.get_mut(&intent.rank.key) else { continue };
        let Some(count) = nodes.get_mut(node) else { continue };
        *count -= 1;
        if *count == 0 {
            nodes.remove(node);
            touched.used([&intent.rank.key]);
        }
        if nodes.is_empty() {
            counts.remove(&intent.rank.key);
        }
    }
}

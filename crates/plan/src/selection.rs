//! Which policies select a pod, found by a namespace or a label that the policy requires: the cost depends on
//! the policies that may fit, not on all there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::intent::{Intent, Namespaces, PodChoice, PodScope};
use crate::pods::PodFacts;
use crate::select::Labels;

/// Policies, filed by what each pod they select must have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    own: BTreeMap<String, Shelf>,
    labelled: BTreeMap<String, BTreeMap<String, Shelf>>,
    anywhere: Shelf,
}

/// Policies, filed by a label that the pod must carry.
#[derive(Clone, Debug, Default)]
struct Shelf {
    labelled: BTreeMap<String, BTreeMap<String, Vec<Arc<Intent>>>>,
    others: Vec<Arc<Intent>>,
}

impl Selection {
    pub fn insert(&mut self, intent: &Arc<Intent>) {
        for scope in &intent.pods {
            let shelf = match &scope.namespaces {
                Namespaces::One(name) => self.own.entry(name.clone()).or_default(),
                Namespaces::Matching(selector) => match selector.pairs().next() {
                    None => &mut self.anywhere,
                    Some((k, v)) => {
                        self.labelled.entry(k.to_owned()).or_default().entry(v.to_owned()).or_default()
                    }
                },
            };
            shelf.pile(&scope.pods).push(intent.clone());
        }
    }

    pub fn remove(&mut self, intent: &Arc<Intent>) {
        for scope in &intent.pods {
            let shelf = match &scope.namespaces {
                Namespaces::One(name) => self.own.get_mut(name),
                Namespaces::Matching(selector) => match selector.pairs().next() {
                    None => Some(&mut self.anywhere),
                    Some((k, v)) => self.labelled.get_mut(k).and_then(|values| values.get_mut(v)),
                },
            };
            if let Some(shelf) = shelf {
                shelf.forget(intent, &scope.pods);
            }
        }
    }

    /// The policies that select a pod, in the order of precedence.
    pub fn of_pod(&self, namespace: &str, namespace_labels: &Labels, pod: &PodFacts) -> Vec<Arc<Intent>> {
        let mut found = Vec::new();
        let selects = |i: &&Arc<Intent>| {
            i.pods.iter().any(|scope| scope.covers(namespace, namespace_labels) && scope.pods.matches(pod))
        };
        let mut look = |shelf: &Shelf| found.extend(shelf.under(&pod.labels).filter(selects).cloned());
        self.own.get(namespace).map(&mut look);
        for (k, v) in namespace_labels {
            self.labelled.get(k).and_then(|values| values.get(v)).map(&mut look);
        }
        look(&self.anywhere);
        found.sort_unstable_by(|a, b| a.rank.cmp(&b.rank));
        found.dedup_by(|a, b| a.rank == b.rank);
        found
    }
}

impl Shelf {
    /// Where a policy with this pod selector belongs: of the labels it requires, under the one with the fewest.
    fn pile(&mut self, pods: &PodChoice) -> &mut Vec<Arc<Intent>> {
        let count = |(k, v): &(&str, &str)| {
            self.labelled.get(*k).and_then(|values| values.get(*v)).map_or(0, Vec::len)
        };
        match pods.pairs().min_by_key(count) {
            None => &mut self.others,
            Some((k, v)) => self.labelled.entry(k.to_owned()).or_default().entry(v.to_owned()).or_default(),
        }
    }

    fn forget(&mut self, intent: &Intent, pods: &PodChoice) {
        self.others.retain(|i| i.rank != intent.rank);
        for (k, v) in pods.pairs() {
            let Some(values) = self.labelled.get_mut(k) else { continue };
            let Some(pile) = values.get_mut(v) else { continue };
            pile.retain(|i| i.rank != intent.rank);
            if pile.is_empty() {
                values.remove(v);
            }
        }
    }

    /// The policies that may select a pod with these labels.
    fn under(&self, labels: &Labels) -> impl Iterator<Item = &Arc<Intent>> {
        self.others.iter().chain(labels.iter().filter_map(|(k, v)| self.labelled.get(k)?.get(v)).flatten())
    }
}

impl PodChoice {
    /// The pairs that a pod must carry to be chosen.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = match self {
            PodChoice::Labelled(selector) | PodChoice::Attached(selector, _) => Some(selector.pairs()),
            PodChoice::Addressed(_) => None,
        };
        labels.into_iter().flatten()
    }

    /// The pod is chosen.
    pub(crate) fn matches(&self, pod: &PodFacts) -> bool {
        match (self, pod.network.as_deref()) {
            (PodChoice::Labelled(selector), None) => selector.matches(&pod.labels),
            (PodChoice::Attached(selector, networks), Some(network)) => {
                networks.contains(network) && selector.matches(&pod.labels)
            }
            (PodChoice::Labelled(_), Some(_)) | (PodChoice::Attached(..), None) => false,
            (PodChoice::Addressed(nets), _) => {
                pod.addresses.iter().any(|a| nets.iter().any(|net| net.contains(a)))
            }
        }
    }
}

impl PodScope {
    /// The namespace belongs to the scope.
    pub(crate) fn covers(&self, namespace: &str, labels: &Labels) -> bool {
        match &self.namespaces {
            Namespaces::One(name) => name == namespace,
            Namespaces::Matching(selector) => selector.matches(labels),
        }
    }
}

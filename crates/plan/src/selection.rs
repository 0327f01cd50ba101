//! Which policies select a pod, found by a namespace or a label that the policy requires: the cost depends on
//! the policies that may fit, not on all there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::intent::{Intent, Namespaces, Rank};
use crate::select::Labels;

type Bucket = BTreeMap<Rank, Arc<Intent>>;

/// Where a policy is filed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shelf {
    Namespace(String),
    NamespaceLabel(String, String),
    PodLabel(String, String),
    Any,
}

/// Policies, filed by something that each pod they select must have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    shelves: BTreeMap<Shelf, Bucket>,
    filed: BTreeMap<Rank, Shelf>,
}

impl Selection {
    pub fn insert(&mut self, intent: &Arc<Intent>) {
        let Some(scope) = &intent.pods else { return };
        let mut shelves: Vec<Shelf> = Vec::new();
        match &scope.namespaces {
            Namespaces::One(name) => shelves.push(Shelf::Namespace(name.clone())),
            Namespaces::Matching(selector) => {
                shelves
                    .extend(selector.pairs().map(|(k, v)| Shelf::NamespaceLabel(k.to_owned(), v.to_owned())));
                shelves.extend(scope.pods.pairs().map(|(k, v)| Shelf::PodLabel(k.to_owned(), v.to_owned())));
            }
        }
        let shelf = shelves
            .into_iter()
            .min_by_key(|shelf| self.shelves.get(shelf).map_or(0, Bucket::len))
            .unwrap_or(Shelf::Any);
        self.filed.insert(intent.rank.clone(), shelf.clone());
        self.shelves.entry(shelf).or_default().insert(intent.rank.clone(), intent.clone());
    }

    pub fn remove(&mut self, intent: &Intent) {
        let Some(shelf) = self.filed.remove(&intent.rank) else { return };
        if let Some(bucket) = self.shelves.get_mut(&shelf) {
            bucket.remove(&intent.rank);
            if bucket.is_empty() {
                self.shelves.remove(&shelf);
            }
        }
    }

    /// The policies that select a pod, in the order of precedence.
    pub fn of_pod(&self, namespace: &str, namespace_labels: &Labels, labels: &Labels) -> Vec<Arc<Intent>> {
        let pair = |(k, v): (&String, &String)| (k.clone(), v.clone());
        let shelves = [Shelf::Namespace(namespace.to_owned()), Shelf::Any]
            .into_iter()
            .chain(namespace_labels.iter().map(pair).map(|(k, v)| Shelf::NamespaceLabel(k, v)))
            .chain(labels.iter().map(pair).map(|(k, v)| Shelf::PodLabel(k, v)));
        let mut found: Vec<Arc<Intent>> = shelves
            .filter_map(|shelf| self.shelves.get(&shelf))
            .flat_map(Bucket::values)
            .filter(|intent| selects(intent, namespace, namespace_labels, labels))
            .cloned()
            .collect();
        found.sort_by(|a, b| a.rank.cmp(&b.rank));
        found
    }
}

/// The policy selects a pod with these labels in this namespace.
fn selects(intent: &Intent, namespace: &str, namespace_labels: &Labels, labels: &Labels) -> bool {
    intent.pods.as_ref().is_some_and(|scope| {
        let here = match &scope.namespaces {
            Namespaces::One(name) => name == namespace,
            Namespaces::Matching(selector) => selector.matches(namespace_labels),
        };
        here && scope.pods.matches(labels)
    })
}

//! The pods of the cluster, the policies that select each, and the nodes on which each policy selects one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use egret_api::ObjectKey;
use k8s_openapi::api::core::v1::Pod;

use crate::attached;
use crate::disputes::Disputes;
use crate::intent::{Intent, Namespaces};
use crate::select::Labels;
use crate::selection::Selection;
use crate::touched::Touched;
use crate::uses::{Choice, Uses};
use crate::world::NAME_LABEL;

/// A pod's namespace and name; of its place in another network than the cluster's `NAME/INTERFACE`.
pub type PodKey = (Arc<str>, Arc<str>);

/// A pod that has a network of its own, runs on a node and has not finished. Others are nobody's business here. In each
/// other network that it is attached to it is one more, for policies that mean it there.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    /// Its node.
    pub node: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// It is ready to be spoken to: nothing says that it is not, nor that it ends.
    pub ready: bool,
    /// Its addresses, of both families, sorted.
    pub addresses: Vec<IpAddr>,
    /// Namespace and name of the network's definition; `None` for the cluster's own.
    pub network: Option<Arc<str>>,
    /// The policies that select it, in the order of precedence.
    pub policies: Vec<Arc<Intent>>,
}

impl PodFacts {
    /// Reads a pod, as what it is in each network, by interface; nothing for pods that no policy ever selects.
    pub fn read(pod: Pod) -> Vec<(Option<String>, PodFacts)> {
        let attached = attached::of(&pod);
        let Some(own) = Self::in_cluster(pod) else { return Vec::new() };
        let second = attached.into_iter().map(|attached| {
            let facts = PodFacts {
                addresses: attached.addresses.into_iter().map(IpAddr::V4).collect(),
                network: Some(attached.network.into()),
                ..own.clone()
            };
            (Some(attached.interface), facts)
        });
        second.chain([(None, own.clone())]).collect()
    }

    fn in_cluster(pod: Pod) -> Option<PodFacts> {
        let (spec, status) = (pod.spec?, pod.status.unwrap_or_default());
        let finished = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if spec.host_network == Some(true) || finished {
            return None;
        }
        let given = status.pod_ips.into_iter().flatten().map(|ip| ip.ip).chain(status.pod_ip);
        let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast();
        let read = |ip: String| ip.parse::<IpAddr>().ok().map(|a| a.to_canonical());
        let mut addresses: Vec<IpAddr> = given.filter_map(read).filter(usable).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let unready = conditions.iter().any(|c| c.type_ == "Ready" && c.status != "True");
        Some(PodFacts {
            ready: !unready && pod.metadata.deletion_timestamp.is_none(),
            node: spec.node_name.filter(|n| !n.is_empty())?.into(),
            labels: pod.metadata.labels.unwrap_or_default(),
            addresses,
            network: None,
            policies: Vec::new(),
        })
    }
}

/// The pods.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pods {
    pods: BTreeMap<PodKey, PodFacts>,
    by_node: BTreeMap<Arc<str>, BTreeSet<PodKey>>,
    by_address: BTreeSet<(IpAddr, PodKey)>,
    by_namespace: BTreeMap<Arc<str>, usize>,
    selection: Selection,
    uses: Uses,
    disputes: Disputes,
}

impl Pods {
    pub fn all(&self) -> &BTreeMap<PodKey, PodFacts> {
        &self.pods
    }

    pub fn on(&self, node: &str) -> impl Iterator<Item = (&PodKey, &PodFacts)> + use<'_> {
        self.by_node.get(node).into_iter().flatten().filter_map(|key| self.pods.get_key_value(key))
    }

    pub fn with(&self, address: IpAddr) -> impl Iterator<Item = (&PodKey, &PodFacts)> {
        let from = (address, (Arc::from(""), Arc::from("")));
        let keys = self.by_address.range(from..).take_while(move |(a, _)| *a == address);
        keys.filter_map(|(_, key)| self.pods.get_key_value(key))
    }

    /// Where policies select pods.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Which policies come before which.
    pub fn disputes(&self) -> &Disputes {
        &self.disputes
    }

    /// The policies that select a pod of a node.
    pub fn policies_on(&self, node: &str) -> impl Iterator<Item = &ObjectKey> + use<'_> {
        self.on(node).flat_map(|(_, pod)| &pod.policies).map(|intent| &intent.rank.key)
    }

    /// Puts a pod in, or takes it out.
    pub fn set(
        &mut self,
        (ns, name): (&str, &str),
        pod: Option<PodFacts>,
        labels: &Labels,
        touched: &mut Touched,
    ) {
        let key: PodKey = (self.namespace(ns), name.into());
        let old = self.pods.remove(&key);
        let pod = pod.map(|mut pod| {
            if let Some((node, _)) = self.by_node.get_key_value(&pod.node) {
                pod.node = node.clone();
            }
            pod.policies = match &old {
                Some(old)
                    if old.labels == pod.labels
                        && old.addresses == pod.addresses
                        && old.network == pod.network =>
                {
                    old.policies.clone()
                }
                _ => self.selection.of_pod(ns, labels, &pod),
            };
            pod
        });
        if old != pod {
            if let Some(old) = &old {
                self.unlist(&key, old);
            }
            if let Some(new) = &pod {
                self.list(&key, new);
            }
            let uses = |pod: &Option<PodFacts>| {
                pod.iter()
                    .flat_map(|p| p.policies.iter().map(|i| (i.clone(), p.node.clone(), p.ready)))
                    .collect::<Vec<_>>()
            };
            let (before, after) = (uses(&old), uses(&pod));
            self.uses.change(&before, &after, touched);
            let policies =
                |pod: &Option<PodFacts>| pod.as_ref().map(|p| p.policies.clone()).unwrap_or_default();
            self.disputes.change(&policies(&old), &policies(&pod), touched);
        }
        if let Some(new) = pod {
            self.pods.insert(key, new);
        }
    }

    /// The namespace's labels changed.
    pub fn relabelled(&mut self, namespace: &str, labels: &Labels, touched: &mut Touched) {
        for key in self.keys_in(namespace) {
            let Some(pod) = self.pods.get_mut(&key) else { continue };
            let policies = self.selection.of_pod(namespace, labels, pod);
            let (node, ready) = (pod.node.clone(), pod.ready);
            let before = std::mem::replace(&mut pod.policies, policies.clone());
            self.disputes.change(&before, &policies, touched);
            let at = |list: Vec<Arc<Intent>>| {
                list.into_iter().map(|i| (i, node.clone(), ready)).collect::<Vec<Choice>>()
            };
            let (before, after) = (at(before), at(policies));
            self.uses.change(&before, &after, touched);
        }
    }

    pub fn add_policy<'a>(
        &mut self,
        intent: &Arc<Intent>,
        labels: impl Fn(&str) -> Cow<'a, Labels>,
        touched: &mut Touched,
    ) {
        self.selection.insert(intent);
        for key in self.selected_by(intent, labels) {
            let Some(pod) = self.pods.get_mut(&key) else { continue };
            let before = pod.policies.clone();
            let at = pod.policies.partition_point(|i| i.rank < intent.rank);
            pod.policies.insert(at, intent.clone());
            self.disputes.change(&before, &pod.policies, touched);
            let use_ = (intent.clone(), pod.node.clone(), pod.ready);
            self.uses.change(&[], &[use_], touched);
        }
    }

    pub fn remove_policy<'a>(
        &mut self,
        intent: &Arc<Intent>,
        labels: impl Fn(&str) -> Cow<'a, Labels>,
        touched: &mut Touched,
    ) {
        self.selection.remove(intent);
        for key in self.selected_by(intent, labels) {
            let Some(pod) = self.pods.get_mut(&key) else { continue };
            let before = pod.policies.clone();
            pod.policies.retain(|i| i.rank != intent.rank);
            self.disputes.change(&before, &pod.policies, touched);
            let use_ = (intent.clone(), pod.node.clone(), pod.ready);
            self.uses.change(&[use_], &[], touched);
        }
    }

    /// The pods that a policy selects, each once.
    fn selected_by<'a>(&self, intent: &Intent, labels: impl Fn(&str) -> Cow<'a, Labels>) -> Vec<PodKey> {
        let mut found = Vec::new();
        for scope in &intent.pods {
            let one = match &scope.namespaces {
                Namespaces::One(name) => Some(name.as_str()),
                Namespaces::Matching(selector) => {
                    selector.pairs().find(|(k, _)| *k == NAME_LABEL).map(|(_, v)| v)
                }
            };
            let namespaces: Vec<&str> = match one {
                Some(name) => vec![name],
                None => self.by_namespace.keys().map(AsRef::as_ref).collect(),
            };
            for namespace in namespaces.into_iter().filter(|ns| scope.covers(ns, &labels(ns))) {
                let chosen = self.in_namespace(namespace).filter(|(_, p)| scope.pods.matches(p));
                found.extend(chosen.map(|(k, _)| k.clone()));
            }
        }
        if intent.pods.len() > 1 {
            found.sort_unstable();
            found.dedup();
        }
        found
    }

    fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = (&PodKey, &PodFacts)> {
        let namespace: Arc<str> = namespace.into();
        let from: PodKey = (namespace.clone(), "".into());
        self.pods.range(from..).take_while(move |((ns, _), _)| *ns == namespace)
    }

    /// Names of a namespace's pods that begin like this.
    pub fn names(&self, namespace: &str, beginning: &str) -> Vec<String> {
        let from: PodKey = (namespace.into(), beginning.into());
        let found = self.pods.range(from..).map(|(key, _)| key);
        let found = found.take_while(|(ns, name)| **ns == *namespace && name.starts_with(beginning));
        found.map(|(_, name)| name.to_string()).collect()
    }

    fn keys_in(&self, namespace: &str) -> Vec<PodKey> {
        self.in_namespace(namespace).map(|(key, _)| key.clone()).collect()
    }

    /// One text for each namespace's name.
    fn namespace(&self, name: &str) -> Arc<str> {
        self.by_namespace.get_key_value(name).map_or_else(|| name.into(), |(name, _)| name.clone())
    }

    fn list(&mut self, key: &PodKey, pod: &PodFacts) {
        self.by_node.entry(pod.node.clone()).or_default().insert(key.clone());
        self.by_address.extend(pod.addresses.iter().map(|a| (*a, key.clone())));
        *self.by_namespace.entry(key.0.clone()).or_default() += 1;
    }

    fn unlist(&mut self, key: &PodKey, pod: &PodFacts) {
        if let Some(pods) = self.by_node.get_mut(&pod.node) {
            pods.remove(key);
            if pods.is_empty() {
                self.by_node.remove(&pod.node);
            }
        }
        for address in &pod.addresses {
            self.by_address.remove(&(*address, key.clone()));
        }
        if let Some(count) = self.by_namespace.get_mut(&key.0) {
            *count -= 1;
            if *count == 0 {
                self.by_namespace.remove(&key.0);
            }
        }
    }
}

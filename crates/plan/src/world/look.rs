//! What there is in a cluster.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_api::{EgressAddressSpec, ObjectKey};
use ipnet::IpNet;

use super::{PodFacts, PodKey, World, Written, namespace_labels};
use crate::disputes::Families;
use crate::facts::{NodeFacts, Report};
use crate::intent::{Intent, Pool, Rank};
use crate::select::Labels;

impl World {
    /// Labels of a namespace. Its name is always among them, and a namespace that only pods name exists, too.
    pub fn namespace_labels(&self, namespace: &str) -> Cow<'_, Labels> {
        namespace_labels(&self.namespaces, namespace)
    }

    /// Every node of the cluster.
    pub fn nodes(&self) -> &BTreeMap<String, NodeFacts> {
        &self.nodes
    }

    /// Every pod that has a network of its own, runs on a node and has not finished.
    pub fn pods(&self) -> &BTreeMap<PodKey, PodFacts> {
        self.pods.all()
    }

    /// A pod's places in other networks than the cluster's: its names there, and the networks.
    pub(crate) fn places(&self, pod: &PodKey) -> Vec<(String, String)> {
        let names = self.pods.names(&pod.0, &format!("{}/", pod.1));
        let network = |name: &String| {
            self.pods.all().get(&(pod.0.clone(), name.as_str().into()))?.network.as_deref().map(str::to_owned)
        };
        names.into_iter().filter_map(|name| network(&name).map(|network| (name, network))).collect()
    }

    /// The pods of a node.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = (&PodKey, &PodFacts)> + use<'_> {
        self.pods.on(node)
    }

    /// The pods that have an address; more than one only while the cluster contradicts itself.
    pub fn pods_with(&self, address: IpAddr) -> impl Iterator<Item = (&PodKey, &PodFacts)> {
        self.pods.with(address)
    }

    /// The nodes on which a policy selects a pod.
    pub fn users_of(&self, policy: &ObjectKey) -> impl Iterator<Item = &str> + use<'_> {
        self.pods.uses().of(policy)
    }

    /// The nodes beside whose pods a policy's address should be held, if it matters to it.
    pub fn beside(&self, policy: &ObjectKey) -> impl Iterator<Item = &str> + use<'_> {
        self.pods.uses().beside(policy)
    }

    /// The policies that come before this one for some packets of some of its pods, in the order of precedence.
    pub(crate) fn rivals(&self, policy: &ObjectKey) -> impl Iterator<Item = (&Rank, Families)> + use<'_> {
        self.pods.disputes().before(policy)
    }

    /// The policies that this one comes before.
    pub(crate) fn outranked_by(&self, policy: &ObjectKey) -> impl Iterator<Item = &ObjectKey> + use<'_> {
        self.pods.disputes().after(policy)
    }

    /// Every policy, in no order of precedence.
    pub fn policies(&self) -> &BTreeMap<ObjectKey, Written<Intent>> {
        &self.policies
    }

    /// Every pool.
    pub fn pools(&self) -> &BTreeMap<ObjectKey, Written<Pool>> {
        &self.pools
    }

    /// Every node's report.
    pub fn reports(&self) -> &BTreeMap<String, Report> {
        &self.reports
    }

    /// A node says that it can carry packets of an address.
    pub fn able(&self, node: &str, interface: Option<&str>, address: IpAddr) -> bool {
        let report = self.reports.get(node).filter(|r| r.ready);
        report.and_then(|r| r.wire(interface, address)).is_some_and(|w| w.carrier)
    }

    /// A node says that it can carry packets of a record's address.
    pub(crate) fn carries(&self, node: &str, record: &EgressAddressSpec, address: IpAddr) -> bool {
        let report = self.reports.get(node).filter(|r| r.ready);
        report.and_then(|r| r.wire_of(record, address)).is_some_and(|w| w.carrier)
    }

    /// A node's address between nodes: as it reports it, else as the cluster knows it, of the family asked for.
    pub fn underlay(&self, node: &str, like: Option<IpAddr>) -> Option<IpAddr> {
        underlay(self.nodes.get(node), self.reports.get(node), like)
    }

    /// Every node that has an address between nodes of the family asked for, with its report. By name.
    pub fn underlays(&self, like: IpAddr) -> impl Iterator<Item = (&str, IpAddr, Option<&Report>)> {
        let mut nodes = self.nodes.iter().peekable();
        let mut reports = self.reports.iter().peekable();
        let both = std::iter::from_fn(move || {
            let name = match (nodes.peek(), reports.peek()) {
                (Some((a, _)), Some((b, _))) => std::cmp::min(*a, *b),
                (Some((a, _)), None) => a,
                (None, Some((b, _))) => b,
                (None, None) => return None,
            };
            let node = nodes.next_if(|(n, _)| *n == name).map(|(_, node)| node);
            let report = reports.next_if(|(n, _)| *n == name).map(|(_, report)| report);
            Some((name, node, report))
        });
        both.filter_map(move |(name, node, report)| {
            let address = underlay(node, report, Some(like))?;
            Some((name.as_str(), address, report))
        })
    }

    /// Networks and addresses of nodes and their pods.
    pub fn inside(&self) -> impl Iterator<Item = IpNet> {
        self.inside.keys().copied()
    }
}

fn underlay(node: Option<&NodeFacts>, report: Option<&Report>, like: Option<IpAddr>) -> Option<IpAddr> {
    let fits = |a: &IpAddr| like.is_none_or(|l| l.is_ipv4() == a.is_ipv4());
    let reported = report.and_then(|r| r.underlay).filter(fits);
    reported.or_else(|| node?.internal.iter().copied().find(|a| fits(a)))
}

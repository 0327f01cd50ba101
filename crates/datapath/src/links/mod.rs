//! Which interface is what: the underlay, wires, and the pods' links. Asked of the kernel, and asked again after
//! each change that it announces.

pub(crate) mod facts;
pub(crate) mod filters;
mod namespace;
mod pod;
mod second;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_plan::tables::LinkIndex;
use egret_plan::{LocalWire, PodLink, SecondLink, Underlay};
use ipnet::IpNet;
use netlink_packet_route::link::InfoKind;
use rtnetlink::Handle;

use crate::error::DatapathError;
use facts::{LinkFacts, Neighbours};
use namespace::Namespace;
pub use second::SecondQuery;
use watch::Watch;

/// The kernel's view of this node's interfaces.
pub struct Links {
    handle: Handle,
    /// Other network namespaces are told of only to who asks strictly.
    strict: Handle,
    namespace: Namespace,
    watch: Watch,
    /// Where pods were found before: entries of neighbours age out, pods stay where they are.
    known: BTreeMap<IpAddr, PodLink>,
}

/// What a snapshot must look for.
#[derive(Clone, Debug)]
pub struct LinkQuery<'a> {
    /// This node's address between nodes: its interface is the underlay.
    pub underlay_address: IpAddr,
    /// Name of the overlay device.
    pub overlay: &'a str,
    /// Addresses of this node's pods.
    pub pods: &'a BTreeSet<IpAddr>,
    /// Those of this node's pods, by namespace/name, that have addresses in other networks.
    pub second: &'a BTreeMap<String, SecondQuery>,
}

/// The interfaces at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkSnapshot {
    /// The interface between nodes; `None` while no interface has the underlay address.
    pub underlay: Option<Underlay>,
    /// The underlay's name; empty while there is none.
    pub underlay_interface: String,
    /// Interfaces that can lead outside, by index. The underlay is among them.
    pub wires: Vec<LocalWire>,
    /// Host ends of links that look like pods' links, known pods or not.
    pub candidates: BTreeSet<LinkIndex>,
    /// Where each pod asked for is, as far as the kernel knows by now.
    pub pod_links: BTreeMap<IpAddr, PodLink>,
    /// Host ends of links of known pods into other networks.
    pub second: BTreeSet<LinkIndex>,
    /// Where the pods' addresses in other networks are, as far as they are behind a veth or on a macvlan.
    pub second_links: BTreeMap<(String, IpAddr), SecondLink>,
}

impl LinkSnapshot {
    /// Parents of macvlan interfaces of pods that were asked for.
    pub fn parents(&self) -> impl Iterator<Item = LinkIndex> {
        self.second_links.values().filter(|place| place.shared).map(|place| place.at.link)
    }
}

impl Links {
    /// Begins to watch. Must be called on a tokio runtime, in the node's network namespace.
    pub async fn open() -> Result<Self, DatapathError> {
        let watch = Watch::open()?;
        let handle = connect()?;
        let (connection, strict, _) =
            rtnetlink::new_connection_with_strict_check().map_err(DatapathError::io("netlink"))?;
        tokio::spawn(connection);
        let namespace = Namespace::current()?;
        Ok(Links { handle, strict, namespace, watch, known: BTreeMap::new() })
    }

    /// Resolves after an interface, address, route or neighbour changed, or at once if one has since the last call.
    pub async fn changed(&mut self) {
        self.watch.changed().await;
    }

    /// Asks the kernel about everything. Where a pod's link-layer address is not known yet, a resolution is
    /// started, and its result is announced by [`Links::changed`].
    pub async fn snapshot(&mut self, query: &LinkQuery<'_>) -> Result<LinkSnapshot, DatapathError> {
        let links: BTreeMap<LinkIndex, LinkFacts> =
            facts::links(&self.handle).await?.into_iter().map(|(facts, _)| (facts.index, facts)).collect();
        let addresses = facts::addresses(&self.handle).await?;
        let neighbours = Neighbours::read(&self.handle).await?;
        let in_order = |link: &LinkIndex| addresses.get(link).cloned().unwrap_or_default();
        let of_link = |link: &LinkIndex| BTreeSet::from_iter(in_order(link));

        let found = links
            .values()
            .find(|facts| of_link(&facts.index).iter().any(|net| net.addr() == query.underlay_address));
        let underlay = found.map(|facts| Underlay {
            link: facts.index,
            address: query.underlay_address,
            mac: facts.mac.unwrap_or_default(),
            addresses: of_link(&facts.index),
        });
        let underlay_interface = found.map(|facts| facts.name.clone()).unwrap_or_default();
        let underlay_link = underlay.as_ref().map(|underlay| underlay.link);

        let pod_links = self.pods(query.pods, &links, &neighbours).await?;
        let taken: BTreeSet<LinkIndex> = pod_links.values().map(|pod| pod.link).collect();
        let second_links =
            second::find(&self.strict, &self.namespace, query.second, &pod_links, &links).await;
        let of_known: BTreeSet<i32> = taken.iter().filter_map(|link| links.get(link)?.namespace).collect();
        // What else leads to a pod that is known leads into another network.
        let second = |facts: &LinkFacts| {
            !taken.contains(&facts.index) && facts.namespace.is_some_and(|n| of_known.contains(&n))
        };
        let mut snapshot =
            LinkSnapshot { underlay, underlay_interface, pod_links, second_links, ..LinkSnapshot::default() };
        for facts in links.values() {
            let global: BTreeSet<IpNet> = of_link(&facts.index).into_iter().filter(leads_outside).collect();
            let is_underlay = Some(facts.index) == underlay_link;
            if looks_like_pod_link(facts, &links)
                && !is_underlay
                && (global.is_empty() || taken.contains(&facts.index))
            {
                let kind = if second(facts) { &mut snapshot.second } else { &mut snapshot.candidates };
                kind.insert(facts.index);
            } else if can_be_wire(facts, &links) && facts.name != query.overlay && !global.is_empty() {
                snapshot.wires.push(LocalWire {
                    interface: facts.name.clone(),
                    link: facts.index,
                    mac: facts.mac.unwrap_or_default(),
                    primary: primary(in_order(&facts.index).iter().filter(|net| leads_outside(net)), &global),
                    addresses: global,
                    carrier: facts.carrier,
                });
            }
        }
        Ok(snapshot)
    }

    async fn pods(
        &mut self,
        pods: &BTreeSet<IpAddr>,
        links: &BTreeMap<LinkIndex, LinkFacts>,
        neighbours: &Neighbours,
    ) -> Result<BTreeMap<IpAddr, PodLink>, DatapathError> {
        self.known.retain(|pod, at| pods.contains(pod) && links.contains_key(&at.link));
        for pod in pods {
            let Some(interface) =
                facts::on_link(&self.handle, *pod).await?.and_then(|index| links.get(&index))
            else {
                self.known.remove(pod);
                continue;
            };
            match pod::locate(*pod, interface, links, neighbours) {
                pod::Place::Found(at) => {
                    self.known.insert(*pod, at);
                }
                pod::Place::Unresolved if !self.known.contains_key(pod) => pod::resolve(*pod),
                pod::Place::Unresolved => {}
                pod::Place::Elsewhere => {
                    self.known.remove(pod);
                }
            }
        }
        Ok(self.known.clone())
    }
}

/// A connection to the kernel's routing tables, served by a task of the current runtime.
pub(crate) fn connect() -> Result<Handle, DatapathError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(DatapathError::io("netlink"))?;
    tokio::spawn(connection);
    Ok(handle)
}

/// A veth pair to another network namespace, by itself or on a bridge; nothing is made of it.
pub(crate) fn looks_like_pod_link(facts: &LinkFacts, links: &BTreeMap<LinkIndex, LinkFacts>) -> bool {
    let on = facts.controller.and_then(|controller| links.get(&controller));
    facts.kind == Some(InfoKind::Veth)
        && facts.namespace.is_some()
        && on.is_none_or(|controller| controller.kind == Some(InfoKind::Bridge))
        && links.values().all(|other| other.lower != Some(facts.index))
}

pub(crate) fn can_be_wire(facts: &LinkFacts, links: &BTreeMap<LinkIndex, LinkFacts>) -> bool {
    let kind = match facts.kind {
        Some(InfoKind::Veth) => true,
        // One that has only links of pods leads to them.
        Some(InfoKind::Bridge) => {
            links.values().any(|port| port.controller == Some(facts.index) && is_hardware(port))
        }
        _ => is_hardware(facts),
    };
    kind && !facts.loopback && facts.controller.is_none() && facts.mac.is_some()
}

/// Hardware, or made of it.
fn is_hardware(facts: &LinkFacts) -> bool {
    matches!(facts.kind, None | Some(InfoKind::Vlan | InfoKind::Bond | InfoKind::MacVlan | InfoKind::Team))
}

/// The first address of each family, where another is first of the sorted ones.
fn primary<'a>(
    in_order: impl Iterator<Item = &'a IpNet> + Clone,
    sorted: &BTreeSet<IpNet>,
) -> BTreeSet<IpAddr> {
    let first = |v6: bool| {
        let of_family = |net: &&IpNet| net.addr().is_ipv6() == v6;
        let (found, lowest) = (in_order.clone().find(of_family), sorted.iter().find(of_family));
        found.filter(|found| Some(*found) != lowest).map(IpNet::addr)
    };
    [false, true].into_iter().filter_map(first).collect()
}

/// An address that neighbours on the link can share a network with: the host's end of a pod's link may carry a
/// gateway address, alone or link-local.
pub(crate) fn leads_outside(net: &IpNet) -> bool {
    let scoped = match net.addr() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback(),
    };
    !scoped && net.prefix_len() < net.max_prefix_len()
}

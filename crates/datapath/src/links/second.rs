//! A pod's interfaces in other networks than the cluster's. Who may write the pod's object may write any address there, and
//! who is on a bridge may speak with any link-layer address: so the kernel is asked about the network namespace that the
//! pod's own link leads to (`IFLA_TARGET_NETNSID`, `IFA_TARGET_NETNSID`, Linux 4.20).
//!
//! Two kinds of interfaces are known: the pod's end of a veth, and a macvlan, which says which interface of the node it is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_plan::tables::LinkIndex;
use egret_plan::{PodLink, SecondLink};
use futures::TryStreamExt as _;
use ipnet::IpNet;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{InfoKind, LinkAttribute};
use rtnetlink::Handle;

use super::facts::{self, LinkFacts};
use super::namespace::Namespace;
use crate::error::DatapathError;

/// A pod with addresses in other networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecondQuery {
    /// Its addresses in the cluster's network.
    pub own: BTreeSet<IpAddr>,
    /// Its addresses in other networks, as it is said.
    pub addresses: BTreeSet<IpAddr>,
}

/// Where pods, by name, have addresses in other networks: behind which veth of this node or on which parent, and with whom they
/// share a link. What a pod has not, or has elsewhere, is not among the answers.
pub async fn find(
    strict: &Handle,
    here: &Namespace,
    pods: &BTreeMap<String, SecondQuery>,
    pod_links: &BTreeMap<IpAddr, PodLink>,
    links: &BTreeMap<LinkIndex, LinkFacts>,
) -> BTreeMap<(String, IpAddr), SecondLink> {
    let mut found = BTreeMap::new();
    for (pod, SecondQuery { own, addresses }) in pods {
        let link = own.iter().find_map(|own| links.get(&pod_links.get(own)?.link));
        let Some(namespace) = link.and_then(|link| link.namespace) else { continue };
        // A pod may go while it is looked at.
        match locate(strict, here, namespace, addresses, links).await {
            Ok(places) => found.extend(places.into_iter().map(|(address, at)| ((pod.clone(), address), at))),
            Err(error) => tracing::debug!("{error}"),
        }
    }
    found
}

/// The same in one network namespace, by the kernel's number of it.
async fn locate(
    strict: &Handle,
    here: &Namespace,
    namespace: i32,
    wanted: &BTreeSet<IpAddr>,
    links: &BTreeMap<LinkIndex, LinkFacts>,
) -> Result<BTreeMap<IpAddr, SecondLink>, DatapathError> {
    let inside = addresses(strict, namespace).await?;
    let interfaces = interfaces(strict, namespace).await?;
    // After the interfaces: to tell of an interface's parent, the kernel gives this namespace a number.
    let here = here.number(strict).await?;
    let place = |address: &IpAddr| {
        let (interface, network) = inside.get(address)?;
        let leads_there = |link: &&LinkFacts| {
            link.kind == Some(InfoKind::Veth)
                && link.namespace == Some(namespace)
                && link.peer == Some(*interface)
        };
        let interface = interfaces.get(interface)?;
        let shared = interface.kind == Some(InfoKind::MacVlan);
        let host = match shared {
            // Of an interface of another namespace, the parent is told as the other end of a pair is.
            true => links.get(&interface.peer.filter(|_| interface.namespace == here && here.is_some())?)?,
            false => links.values().find(leads_there)?,
        };
        let at = PodLink { link: host.index, mac: interface.mac?, host_mac: host.mac? };
        Some((*address, SecondLink { at, network: *network, shared }))
    };
    Ok(wanted.iter().filter_map(place).collect())
}

/// Addresses of a namespace, each with its interface's number there.
async fn addresses(
    strict: &Handle,
    namespace: i32,
) -> Result<BTreeMap<IpAddr, (LinkIndex, IpNet)>, DatapathError> {
    let mut request = strict.address().get();
    request.message_mut().attributes.push(AddressAttribute::TargetNetNsId(namespace));
    let mut messages = request.execute();
    let mut found = BTreeMap::new();
    let failed = || DatapathError::netlink(format!("list addresses of network namespace {namespace}"));
    while let Some(message) = messages.try_next().await.map_err(failed())? {
        for attribute in &message.attributes {
            if let AddressAttribute::Address(address) = attribute
                && let Ok(net) = IpNet::new(*address, message.header.prefix_len)
            {
                found.insert(*address, (message.header.index, net.trunc()));
            }
        }
    }
    Ok(found)
}

/// A namespace's interfaces.
async fn interfaces(
    strict: &Handle,
    namespace: i32,
) -> Result<BTreeMap<LinkIndex, LinkFacts>, DatapathError> {
    let mut request = strict.link().get();
    request.message_mut().attributes.push(LinkAttribute::IfNetnsId(namespace));
    let failed = || DatapathError::netlink(format!("list interfaces of network namespace {namespace}"));
    let messages: Vec<_> = request.execute().try_collect().await.map_err(failed())?;
    Ok(messages.iter().map(|message| (message.header.index, facts::link(message))).collect())
}

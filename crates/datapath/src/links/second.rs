//! A pod's interfaces in other networks than the cluster's. Who may write the pod's object may write any address there, and
//! who is on a bridge may speak with any link-layer address: so the kernel is asked about the network namespace that the
//! pod's own link leads to (`IFLA_TARGET_NETNSID`, `IFA_TARGET_NETNSID`, Linux 4.20).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_plan::tables::{LinkIndex, Mac};
use egret_plan::{PodLink, SecondLink};
use futures::TryStreamExt as _;
use ipnet::IpNet;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{InfoKind, LinkAttribute};
use rtnetlink::Handle;

use super::facts::LinkFacts;
use crate::error::DatapathError;

/// A pod with addresses in other networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecondQuery {
    /// Its addresses in the cluster's network.
    pub own: BTreeSet<IpAddr>,
    /// Its addresses in other networks, as it is said.
    pub addresses: BTreeSet<IpAddr>,
}

/// Where pods, by name, have addresses in other networks: behind which veth of this node, and with whom they share a link.
/// What a pod has not, or is behind no veth, is not among the answers.
pub async fn find(
    strict: &Handle,
    pods: &BTreeMap<String, SecondQuery>,
    pod_links: &BTreeMap<IpAddr, PodLink>,
    links: &BTreeMap<LinkIndex, LinkFacts>,
) -> BTreeMap<(String, IpAddr), SecondLink> {
    let mut found = BTreeMap::new();
    for (pod, SecondQuery { own, addresses }) in pods {
        let link = own.iter().find_map(|own| links.get(&pod_links.get(own)?.link));
        let Some(namespace) = link.and_then(|link| link.namespace) else { continue };
        // A pod may go while it is looked at.
        match locate(strict, namespace, addresses, links).await {
            Ok(places) => found.extend(places.into_iter().map(|(address, at)| ((pod.clone(), address), at))),
            Err(error) => tracing::debug!("{error}"),
        }
    }
    found
}

/// The same in one network namespace, by the kernel's number of it.
async fn locate(
    strict: &Handle,
    namespace: i32,
    wanted: &BTreeSet<IpAddr>,
    links: &BTreeMap<LinkIndex, LinkFacts>,
) -> Result<BTreeMap<IpAddr, SecondLink>, DatapathError> {
    let inside = addresses(strict, namespace).await?;
    let macs = macs(strict, namespace).await?;
    let place = |address: &IpAddr| {
        let (interface, network) = inside.get(address)?;
        let leads_there = |link: &&LinkFacts| {
            link.kind == Some(InfoKind::Veth)
                && link.namespace == Some(namespace)
                && link.peer == Some(*interface)
        };
        let host = links.values().find(leads_there)?;
        let at = PodLink { link: host.index, mac: *macs.get(interface)?, host_mac: host.mac? };
        Some((*address, SecondLink { at, network: *network }))
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

/// Link-layer addresses of a namespace's interfaces.
async fn macs(strict: &Handle, namespace: i32) -> Result<BTreeMap<LinkIndex, Mac>, DatapathError> {
    let mut request = strict.link().get();
    request.message_mut().attributes.push(LinkAttribute::IfNetnsId(namespace));
    let mut messages = request.execute();
    let mut found = BTreeMap::new();
    let failed = || DatapathError::netlink(format!("list interfaces of network namespace {namespace}"));
    while let Some(message) = messages.try_next().await.map_err(failed())? {
        for attribute in &message.attributes {
            if let LinkAttribute::Address(bytes) = attribute
                && let Ok(mac) = Mac::try_from(bytes.as_slice())
            {
                found.insert(message.header.index, mac);
            }
        }
    }
    Ok(found)
}

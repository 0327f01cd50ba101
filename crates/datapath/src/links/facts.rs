//! What the kernel says about interfaces, addresses, routes and neighbours, as plain values.

use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_plan::tables::{LinkIndex, Mac};
use futures::TryStreamExt as _;
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAttribute, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};

use crate::error::DatapathError;

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    pub index: LinkIndex,
    pub name: String,
    /// `None` for hardware and for what looks like it.
    pub kind: Option<InfoKind>,
    pub mac: Option<Mac>,
    pub mtu: u32,
    pub loopback: bool,
    pub carrier: bool,
    /// The bridge or bond that this is a port of.
    pub controller: Option<LinkIndex>,
    /// The interface that this one is made of: a VLAN's, say.
    pub lower: Option<LinkIndex>,
    /// The kernel's number of the network namespace that the other end is in, if it is in another.
    pub namespace: Option<i32>,
    /// Of a pair: the other end, by its number in its namespace.
    pub peer: Option<LinkIndex>,
}

/// Every interface, with the message it was read from.
pub async fn links(handle: &Handle) -> Result<Vec<(LinkFacts, LinkMessage)>, DatapathError> {
    let messages: Vec<LinkMessage> = handle
        .link()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(DatapathError::netlink("list interfaces"))?;
    Ok(messages.into_iter().map(|message| (link(&message), message)).collect())
}

pub(super) fn link(message: &LinkMessage) -> LinkFacts {
    let flags = message.header.flags;
    let mut facts = LinkFacts {
        index: message.header.index,
        name: String::new(),
        kind: None,
        mac: None,
        mtu: 0,
        loopback: flags.contains(LinkFlags::Loopback),
        carrier: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        controller: None,
        lower: None,
        namespace: None,
        peer: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => facts.name.clone_from(name),
            LinkAttribute::Address(bytes) => facts.mac = Mac::try_from(bytes.as_slice()).ok(),
            LinkAttribute::Mtu(mtu) => facts.mtu = *mtu,
            LinkAttribute::Controller(index) => facts.controller = Some(*index),
            LinkAttribute::Link(index) => facts.lower = Some(*index),
            LinkAttribute::LinkNetNsId(namespace) => facts.namespace = Some(*namespace),
            LinkAttribute::LinkInfo(infos) => {
                facts.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.clone()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    // Of a pair it is the other end, and of what was moved here it has another namespace's number.
    if facts.namespace.is_some() || facts.kind == Some(InfoKind::Veth) {
        facts.peer = facts.lower.take();
    }
    facts
}

/// The addresses of each interface, in the kernel's order: the first of a family is the primary one.
pub async fn addresses(handle: &Handle) -> Result<BTreeMap<LinkIndex, Vec<IpNet>>, DatapathError> {
    let mut found: BTreeMap<LinkIndex, Vec<IpNet>> = BTreeMap::new();
    let mut messages = handle.address().get().execute();
    while let Some(message) = messages.try_next().await.map_err(DatapathError::netlink("list addresses"))? {
        // On a link between two ends `Address` is the other end, and `Local` ours.
        let (mut local, mut address) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                _ => {}
            }
        }
        if let Some(net) = local.or(address).and_then(|ip| IpNet::new(ip, message.header.prefix_len).ok()) {
            found.entry(message.header.index).or_default().push(net);
        }
    }
    Ok(found)
}

/// Neighbours that are resolved: by interface and address, and by bridge and link-layer address to the port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    pub resolved: BTreeMap<(LinkIndex, IpAddr), Mac>,
    pub ports: BTreeMap<(LinkIndex, Mac), LinkIndex>,
}

impl Neighbours {
    pub async fn read(handle: &Handle) -> Result<Self, DatapathError> {
        let mut found = Neighbours::default();
        for request in
            [handle.neighbours().get(), handle.neighbours().get().set_address_family(AddressFamily::Bridge)]
        {
            let mut messages = request.execute();
            while let Some(message) =
                messages.try_next().await.map_err(DatapathError::netlink("list neighbours"))?
            {
                found.learn(&message);
            }
        }
        Ok(found)
    }

    fn learn(&mut self, message: &NeighbourMessage) {
        let Some((key, mac)) = neighbour(message) else { return };
        match key {
            NeighbourKey::Address(link, address) => {
                self.resolved.insert((link, address), mac);
            }
            NeighbourKey::Port(port, Some(bridge)) => {
                self.ports.insert((bridge, mac), port);
            }
            NeighbourKey::Port(_, None) => {}
        }
    }
}

/// What an entry of the neighbour tables is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeighbourKey {
    /// An address behind an interface.
    Address(LinkIndex, IpAddr),
    /// A link-layer address behind a port of a bridge.
    Port(LinkIndex, Option<LinkIndex>),
}

/// The entry's subject and link-layer address, if it is resolved.
pub fn neighbour(message: &NeighbourMessage) -> Option<(NeighbourKey, Mac)> {
    let unresolved = matches!(
        message.header.state,
        NeighbourState::Failed | NeighbourState::Incomplete | NeighbourState::None
    );
    let (mut destination, mut mac, mut controller) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                destination = Some(IpAddr::V4(*v4))
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                destination = Some(IpAddr::V6(*v6))
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Mac::try_from(bytes.as_slice()).ok(),
            NeighbourAttribute::Controller(index) => controller = Some(*index),
            _ => {}
        }
    }
    let link = message.header.ifindex;
    match message.header.family {
        AddressFamily::Bridge => Some((NeighbourKey::Port(link, controller), mac?)),
        _ if unresolved => None,
        _ => Some((NeighbourKey::Address(link, destination?), mac?)),
    }
}

/// The interface by which an address on one of our links is reached; `None` behind a router, or locally.
pub async fn on_link(handle: &Handle, address: IpAddr) -> Result<Option<LinkIndex>, DatapathError> {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    let Ok(builder) = RouteMessageBuilder::<IpAddr>::new().destination_prefix(address, prefix) else {
        return Ok(None);
    };
    let mut answers = handle.route().get(builder.build()).execute();
    // Without a route the kernel answers with an error: that is an answer as well.
    let Ok(Some(route)) = answers.try_next().await else { return Ok(None) };
    if route.header.kind != RouteType::Unicast {
        return Ok(None);
    }
    let mut interface = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => return Ok(None),
            RouteAttribute::Oif(index) => interface = Some(*index),
            _ => {}
        }
    }
    Ok(interface)
}

//! Where a pod is, by the two usual shapes: a route straight to its veth, or a bridge that its veth is a port of.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use egret_plan::PodLink;
use egret_plan::tables::LinkIndex;
use netlink_packet_route::link::InfoKind;

use super::facts::{LinkFacts, Neighbours};

/// What the kernel knows of a pod's place.
pub enum Place {
    /// All of it.
    Found(PodLink),
    /// The interface, but not what is behind it.
    Unresolved,
    /// The address is not behind a link of this node that can be a pod's.
    Elsewhere,
}

/// Finds a pod behind the interface to which its route leads.
pub fn locate(
    pod: IpAddr,
    interface: &LinkFacts,
    links: &BTreeMap<LinkIndex, LinkFacts>,
    neighbours: &Neighbours,
) -> Place {
    let bridged = match interface.kind {
        Some(InfoKind::Veth) => false,
        Some(InfoKind::Bridge) => true,
        _ => return Place::Elsewhere,
    };
    let Some(host_mac) = interface.mac else { return Place::Elsewhere };
    let Some(mac) = neighbours.resolved.get(&(interface.index, pod)).copied() else {
        return Place::Unresolved;
    };
    let link = match bridged {
        false => interface.index,
        true => match neighbours.ports.get(&(interface.index, mac)) {
            Some(port) if is_veth(links, *port) => *port,
            Some(_) => return Place::Elsewhere,
            None => return Place::Unresolved,
        },
    };
    Place::Found(PodLink { link, mac, host_mac })
}

fn is_veth(links: &BTreeMap<LinkIndex, LinkFacts>, link: LinkIndex) -> bool {
    links.get(&link).is_some_and(|facts| facts.kind == Some(InfoKind::Veth))
}

/// Makes the kernel ask for the pod's link-layer address, and the bridge learn the port from the answer: an empty
/// datagram to the discard port. What becomes of it does not matter.
pub fn resolve(pod: IpAddr) {
    let any = match pod {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    const DISCARD: u16 = 9;
    if let Ok(socket) = UdpSocket::bind(SocketAddr::new(any, 0)) {
        let _ = socket.send_to(&[], SocketAddr::new(pod, DISCARD));
    }
}

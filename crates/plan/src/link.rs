//! Without tunnel: which gateways can be reached so, and how that is found out.

use std::net::IpAddr;

use crate::facts::Record;
use crate::local::Steering;
use crate::node::Planner;
use crate::tables::{LinkIndex, Mac, Path};

/// A datagram that asks whether packets without tunnel reach a gateway, and its own reach this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkProbe {
    /// The interface it leaves by.
    pub link: LinkIndex,
    /// That interface's link-layer address.
    pub mac: Mac,
    /// The gateway's link-layer address.
    pub gateway: Mac,
    /// The gateway's underlay address.
    pub target: IpAddr,
    /// The egress address that it comes from.
    pub source: IpAddr,
    /// A port of that address that this node leases at the gateway.
    pub port: u16,
}

impl Planner<'_> {
    /// The link-layer address of a node, if packets can come from it without tunnel: it reports the address only if
    /// it takes such packets.
    pub(crate) fn neighbour(&self, name: &str, address: IpAddr) -> Option<Mac> {
        let on_link = self.local.underlay.networks.iter().any(|n| n.contains(&address));
        let mac = self.world.reports().get(name).and_then(|r| r.mac);
        mac.filter(|_| on_link && self.local.steering != Steering::Overlay)
    }

    /// A node found that packets without tunnel from this one reach it.
    pub(crate) fn takes_direct(&self, name: &str) -> bool {
        self.world.reports().get(name).is_some_and(|r| r.spec.links.contains(&self.local.node))
    }

    pub(crate) fn way_to(&self, gateway: &str) -> Path {
        let underlay = &self.local.underlay;
        let direct = self.local.steering == Steering::Link || self.local.links.contains(gateway);
        match self.world.underlay(gateway, Some(underlay.address)) {
            None => Path::None,
            Some(a) if direct && self.neighbour(gateway, a).is_some() => Path::Link(a, underlay.link),
            Some(a) => Path::Overlay(a),
        }
    }

    /// Notes how to try the links to the living gateways of an address, from a leased port; one address of each
    /// family is tried with each gateway. Gateways in reserve are tried as well: at a death nobody has time.
    pub(crate) fn try_links(&mut self, record: &Record, port: u16) {
        let local = self.local;
        let underlay = &local.underlay;
        for name in record.ranking.iter().filter(|c| **c != local.node) {
            if !self.lives(record, name) {
                continue;
            }
            let Some(target) = self.world.underlay(name, Some(underlay.address)) else { continue };
            let Some(gateway) = self.neighbour(name, target) else { continue };
            if local.steering == Steering::Link || local.links.contains(name) {
                self.plan.links.insert(name.clone());
            }
            if local.steering == Steering::Auto {
                let (link, mac, source) = (underlay.link, underlay.mac, record.address);
                let probe = LinkProbe { link, mac, gateway, target, source, port };
                self.plan.link_probes.entry((name.clone(), source.is_ipv6())).or_insert(probe);
            }
        }
    }
}

//! Without tunnel: which gateways can be reached so, and how that is found out.

use std::net::IpAddr;

use crate::facts::{Record, Report};
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
    pub(crate) fn neighbour(&self, report: Option<&Report>, address: IpAddr) -> Option<Mac> {
        let mac = report?.mac.filter(|_| self.local.steering != Steering::Overlay)?;
        self.local.underlay.addresses.iter().any(|n| n.contains(&address)).then_some(mac)
    }

    fn gateway(&self, name: &str) -> Option<(IpAddr, Option<Mac>)> {
        let address = self.underlay(name)?;
        Some((address, self.neighbour(self.world.reports().get(name), address)))
    }

    fn direct(&self, gateway: &str) -> bool {
        self.local.steering == Steering::Link || self.local.links.contains(gateway)
    }

    pub(crate) fn way_to(&self, gateway: &str) -> Path {
        match self.gateway(gateway) {
            None => Path::None,
            Some((address, Some(_))) if self.direct(gateway) => Path::Link(address, self.local.underlay.link),
            Some((address, _)) => Path::Overlay(address),
        }
    }

    /// Notes how to try the links to the living gateways of an address, from a leased port; one address of each
    /// family is tried with each gateway. Gateways in reserve are tried as well: at a death nobody has time.
    pub(crate) fn try_links(&mut self, record: &Record, port: u16) {
        let local = self.local;
        let underlay = &local.underlay;
        if local.steering == Steering::Overlay {
            return;
        }
        for name in record.ranked().filter(|c| *c != local.node) {
            if !self.lives(record, name) {
                continue;
            }
            let Some((target, Some(gateway))) = self.gateway(name) else { continue };
            if self.direct(name) {
                self.plan.links.insert(name.to_owned());
            }
            if local.steering == Steering::Auto {
                let (link, mac, source) = (underlay.link, underlay.mac, record.address);
                let probe = LinkProbe { link, mac, gateway, target, source, port };
                self.plan.link_probes.entry((name.to_owned(), source.is_ipv6())).or_insert(probe);
            }
        }
    }
}

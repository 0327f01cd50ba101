//! A gateway: it knows leases, and no flows.

use std::net::IpAddr;

use egret_datapath::layout::VNI_TO_POD;

use super::fragments::{Decision, Place};
use super::telling::Why;
use super::{Answer, LINK_MTU, Nat, Way};
use crate::packet::{Body, Packet};

impl Nat {
    fn leaseholder(&self, egress: IpAddr, port: u16) -> Option<IpAddr> {
        let shift = self.world.served.get(&egress)?.shift;
        self.world.leases.get(&(egress, port >> shift)).copied()
    }

    fn way_to_node(&self, node: IpAddr) -> (&'static str, Way) {
        match self.world.nodes.get(&node) {
            Some(entry) if entry.on_link != 0 && entry.direct != 0 => ("SENT_NODE_LINK", Way::Link(node)),
            _ => ("SENT_NODE", Way::Overlay(node, VNI_TO_POD)),
        }
    }

    /// Who leases what the packet leaves by.
    fn sender(&self, p: &Packet) -> Result<IpAddr, &'static str> {
        let from = p.src.ip();
        let owner = match &p.body {
            Body::Tcp(_) | Body::Udp | Body::Ping => self.leaseholder(from, p.src.port()),
            Body::Error(error) if error.about.protocol().is_none() || error.about.dst.ip() != from => {
                return Err("DROP_ICMP_UNMATCHED");
            }
            Body::Error(error) => self.leaseholder(from, error.about.dst.port()),
            Body::Rest(_) => match self.recall(p, Place::ToWire) {
                Some(Decision::To(node, _)) => Some(node),
                _ => return Err("DROP_FRAGMENT"),
            },
            Body::Pong | Body::Other(_) => return Err("DROP_FOREIGN_INNER"),
        };
        owner.ok_or("DROP_NOT_LEASED")
    }

    /// From a source node by the overlay, which says who it is: only as a port that it leases.
    pub fn node_sends(&mut self, node: IpAddr, p: &Packet) -> Answer {
        if !self.is_served(p.src.ip()) {
            return Answer::only("DROP_NOT_SERVED");
        }
        match self.sender(p) {
            Ok(owner) if owner == node => self.leave(node, p),
            Ok(_) => Answer::only("DROP_NOT_LEASED"),
            Err(verdict) => Answer::only(verdict),
        }
    }

    /// Without tunnel: the sender's link-layer address says who it is. What no node may send may come back, or have been
    /// turned back by another gateway.
    pub fn neighbour_sends(&mut self, mac: [u8; 6], p: &Packet) -> Answer {
        let refused = match self.is_served(p.src.ip()) {
            false => "PASS_NOT_EGRESS",
            true => match self.sender(p) {
                Ok(owner) if self.is_neighbour(owner, mac) => return self.leave(owner, p),
                Ok(_) => "DROP_FOREIGN_OUTER",
                Err(verdict) => verdict,
            },
        };
        match self.world.egress.contains_key(&p.dst.ip()) {
            true => self.outside_sends(p),
            false => Answer::only(refused),
        }
    }

    fn is_neighbour(&self, node: IpAddr, mac: [u8; 6]) -> bool {
        self.world.nodes.get(&node).is_some_and(|node| node.on_link != 0 && node.mac == mac)
    }

    fn leave(&mut self, node: IpAddr, p: &Packet) -> Answer {
        self.remember(p, Place::ToWire, Decision::To(node, p.id));
        let back = self.way_to_node(node).1;
        if p.ttl <= 1 {
            return self.tell(p, back, Why::NoHopLeft);
        }
        let mut answer = self.way_by_wire(p, back).unwrap_or_else(|refused| refused);
        if answer.verdict.starts_with("SENT") {
            answer.sent = answer.sent.map(|(way, packet)| (way, Packet { ttl: p.ttl - 1, ..packet }));
        }
        answer
    }

    /// From the outside to an egress address: to whom the port is leased. What nobody leases is the kernel's.
    pub fn outside_sends(&mut self, p: &Packet) -> Answer {
        let to = p.dst.ip();
        if !self.is_served(to) {
            return Answer::only("PASS_NOT_EGRESS");
        }
        let owner = match &p.body {
            Body::Tcp(_) | Body::Udp | Body::Pong => self.leaseholder(to, p.dst.port()),
            Body::Error(error) if error.about.protocol().is_none() || error.about.src.ip() != to => {
                return Answer::only("DROP_ICMP_UNMATCHED");
            }
            Body::Error(error) => self.leaseholder(to, error.about.src.port()),
            Body::Rest(_) => match self.recall(p, Place::OfWire) {
                Some(Decision::To(node, _)) => Some(node),
                Some(Decision::Passed(verdict)) => return Answer::only(verdict),
                None => return Answer::only("DROP_FRAGMENT"),
            },
            Body::Ping | Body::Other(_) => None,
        };
        let Some(node) = owner else {
            self.remember(p, Place::OfWire, Decision::Passed("PASS_NOT_LEASED"));
            return Answer::only("PASS_NOT_LEASED");
        };
        self.remember(p, Place::OfWire, Decision::To(node, p.id));
        if self.world.settings.underlay == node.into() {
            return self.return_to_pod(p);
        }
        if p.ttl <= 1 {
            return self.tell(p, Way::Back, Why::NoHopLeft);
        }
        let (verdict, way) = self.way_to_node(node);
        let mtu = match way {
            Way::Link(_) => LINK_MTU,
            _ => self.world.settings.overlay_mtu,
        };
        let (verdict, way) = match p.size > usize::from(mtu) {
            true if p.fixed() => return self.tell(p, Way::Back, Why::TooBig(mtu)),
            true => ("SENT_NODE", Way::Overlay(node, VNI_TO_POD)),
            false => (verdict, way),
        };
        Answer::sent(verdict, way, Packet { ttl: p.ttl - 1, ..p.clone() })
    }
}

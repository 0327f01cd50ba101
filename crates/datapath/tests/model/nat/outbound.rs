//! From a pod to the outside.

use std::net::IpAddr;

use egret_datapath::layout::{PATH_LINK, PATH_OVERLAY, PATH_WIRE, PodValue, VNI_TO_WIRE};

use super::fragments::{Decision, Place};
use super::telling::Why;
use super::{Answer, Choice, Connection, Flow, FlowId, Nat, Way};
use crate::packet::{ACK, Body, End, Packet, SYN, at};

/// Of the wire, and of the link between nodes.
pub const LINK_MTU: u16 = 1500;

impl Nat {
    pub fn pod_sends(&mut self, link: u32, p: &Packet, choice: &Choice) -> Result<Answer, String> {
        let only = |verdict| Ok(Answer::only(verdict));
        if self.is_overlay(p) {
            return only("DROP_OVERLAY_PORT");
        }
        let inside = self.inside(p.dst.ip());
        let pod = match self.world.pods.get(&p.src.ip()).copied() {
            Some(pod) if pod.link == link => pod,
            _ if inside => return only("PASS_INSIDE"),
            Some(_) => return only("DROP_SPOOFED"),
            None if self.world.settings.hold_unknown != 0 => return only("DROP_UNKNOWN_POD"),
            None => return only("PASS_UNKNOWN_POD"),
        };
        if pod.rules == 0 {
            return only("PASS_UNSELECTED");
        }
        match &p.body {
            Body::Error(error) => {
                let about = error.about.clone();
                Ok(self.pod_complains(&pod, p, &about))
            }
            Body::Rest(_) => Ok(self.pod_continues(&pod, p)),
            _ => self.pod_speaks(&pod, p, choice),
        }
    }

    /// A datagram to where nodes receive what is in the overlay.
    fn is_overlay(&self, p: &Packet) -> bool {
        let settings = &self.world.settings;
        let node = settings.underlay == p.dst.ip().into() || self.world.nodes.contains_key(&p.dst.ip());
        node && p.body == Body::Udp && p.dst.port() == u16::from_be(settings.overlay_port)
    }

    fn pod_speaks(&mut self, pod: &PodValue, p: &Packet, choice: &Choice) -> Result<Answer, String> {
        let outside = match self.continued(pod, p) {
            Some(end) => end,
            None => match self.opened(pod, p, choice)? {
                Ok(end) => end,
                Err(answer) => return Ok(answer),
            },
        };
        let mut sent = match self.way_out(p, outside.ip()) {
            Ok(answer) => answer,
            Err(refused) => return Ok(refused),
        };
        let id = if p.fixed() { p.id } else { self.renumbered(p, choice)? };
        self.remember(p, Place::OfPod, Decision::To(outside.ip(), id));
        let packet = Packet { src: outside, id, ttl: p.ttl - 1, ..p.clone() };
        sent.sent = sent.sent.map(|(way, _)| (way, self.clamped(packet)));
        Ok(sent)
    }

    /// Two pods may number their datagrams alike, and a receiver would mix them (RFC 6864): any other number will do.
    fn renumbered(&mut self, p: &Packet, choice: &Choice) -> Result<u32, String> {
        let id = choice.id.ok_or("a packet that leaves has a number")?;
        self.same_numbers += u32::from(id == p.id);
        if self.same_numbers > 3 {
            return Err("datagrams keep their numbers".to_owned());
        }
        Ok(id)
    }

    /// The flow goes on.
    fn continued(&mut self, pod: &PodValue, p: &Packet) -> Option<End> {
        let id = FlowId { protocol: p.protocol()?, pod: p.src, remote: p.dst };
        let now = self.now;
        if self.flows.get(&id)?.link != pod.link {
            self.flows.remove(&id);
        }
        let flow = self.flows.get_mut(&id)?;
        if let Body::Tcp(segment) = &p.body {
            flow.tcp.pod_sends(segment, p.data());
        }
        flow.pod_seen = now;
        Some(flow.outside)
    }

    /// A new flow, or what becomes of the packet without.
    fn opened(&mut self, pod: &PodValue, p: &Packet, choice: &Choice) -> Result<Result<End, Answer>, String> {
        let only = |verdict| Ok(Err(Answer::only(verdict)));
        let id = p.protocol().map(|protocol| FlowId { protocol, pod: p.src, remote: p.dst });
        let pass = |nat: &mut Nat, verdict| {
            nat.remember(p, Place::OfPod, Decision::Passed(verdict));
            only(verdict)
        };
        if self.inside(p.dst.ip()) {
            return only("PASS_INSIDE");
        }
        if id.is_some_and(|id| self.inbound.contains(&id)) {
            return pass(self, "PASS_REPLY");
        }
        let Some(egress) = self.rule(p, pod.rules) else {
            return pass(self, "PASS_ORDINARY");
        };
        let back = Way::Pod(p.src.ip());
        let id = match (&p.body, id) {
            (Body::Tcp(segment), _) if segment.flags & (SYN | ACK) != SYN => return only("DROP_NO_FLOW"),
            (Body::Pong, _) => return only("DROP_NO_FLOW"),
            (_, None) => return Ok(Err(self.tell(p, back, Why::Protocol))),
            (_, Some(id)) => id,
        };
        match self.world.egress.get(&egress) {
            None => return only("DROP_EGRESS_GONE"),
            Some(entry) if entry.path == 0 => return only("DROP_NO_GATEWAY"),
            Some(entry) if entry.block_count == 0 => return only("DROP_NO_BLOCK"),
            Some(_) => {}
        }
        match self.open(&id, egress, choice)? {
            Ok(outside) => {
                let tcp = match &p.body {
                    Body::Tcp(segment) => Connection::opened(segment, p.data()),
                    _ => Connection::default(),
                };
                self.flows.insert(
                    id,
                    Flow { outside, link: pod.link, pod_seen: self.now, remote_seen: self.now, tcp },
                );
                Ok(Ok(outside))
            }
            Err("DROP_NO_PORT") => Ok(Err(self.tell(p, back, Why::NoPort))),
            Err(verdict) => only(verdict),
        }
    }

    /// By where a packet leaves as this address.
    fn way_out(&self, p: &Packet, from: IpAddr) -> Result<Answer, Answer> {
        let Some(egress) = self.world.egress.get(&from) else {
            return Err(Answer::only("DROP_EGRESS_GONE"));
        };
        let back = Way::Pod(p.src.ip());
        if p.ttl <= 1 {
            return Err(self.tell(p, back, Why::NoHopLeft));
        }
        let mtu = self.world.settings.overlay_mtu;
        match egress.path {
            PATH_WIRE => self.way_by_wire(p, back),
            PATH_OVERLAY if p.fixed() && p.size > usize::from(mtu) => {
                Err(self.tell(p, back, Why::TooBig(mtu)))
            }
            PATH_OVERLAY => {
                Ok(Answer::sent("SENT_OVERLAY", Way::Overlay(egress.gateway.into(), VNI_TO_WIRE), p.clone()))
            }
            PATH_LINK if p.size > usize::from(LINK_MTU) && p.fixed() => {
                Err(self.tell(p, back, Why::TooBig(LINK_MTU)))
            }
            PATH_LINK if p.size > usize::from(LINK_MTU) => {
                Ok(Answer::sent("SENT_OVERLAY", Way::Overlay(egress.gateway.into(), VNI_TO_WIRE), p.clone()))
            }
            PATH_LINK => Ok(Answer::sent("SENT_LINK", Way::Link(egress.gateway.into()), p.clone())),
            _ => Err(Answer::only("DROP_NO_GATEWAY")),
        }
    }

    pub fn way_by_wire(&self, p: &Packet, back: Way) -> Result<Answer, Answer> {
        if self.is_served(p.dst.ip()) {
            return Ok(Answer::sent("SENT_HAIRPIN", Way::Hairpin, p.clone()));
        }
        if crate::universe::without_route(p.dst.ip()) {
            return Err(Answer::only("DROP_NO_ROUTE"));
        }
        if p.size > usize::from(LINK_MTU) {
            return match p.fixed() {
                true => Err(self.tell(p, back, Why::TooBig(LINK_MTU))),
                false => Ok(Answer::sent("SENT_PIECES", Way::Neighbour, p.clone())),
            };
        }
        Ok(Answer::sent("SENT_WIRE", Way::Wire, p.clone()))
    }

    /// RFC 6691: a SYN asks for no larger segments than fit.
    pub fn clamped(&self, mut p: Packet) -> Packet {
        let headers = if p.v4() { 40 } else { 60 };
        if let Body::Tcp(segment) = &mut p.body
            && segment.flags & SYN != 0
        {
            segment.mss = segment.mss.map(|mss| mss.min(self.world.settings.overlay_mtu - headers));
        }
        p
    }

    /// An error about a packet that came back (RFC 5508 REQ-5).
    fn pod_complains(&mut self, pod: &PodValue, p: &Packet, about: &crate::packet::Quote) -> Answer {
        if self.inside(p.dst.ip()) {
            return Answer::only("PASS_INSIDE");
        }
        let id = about.protocol().map(|protocol| FlowId { protocol, pod: about.dst, remote: about.src });
        let mine = id.filter(|_| about.dst.ip() == p.src.ip());
        if mine.is_some_and(|id| self.inbound.contains(&id)) {
            return Answer::only("PASS_REPLY");
        }
        let Some(outside) = mine
            .and_then(|id| self.flows.get(&id))
            .filter(|flow| flow.link == pod.link)
            .map(|flow| flow.outside)
        else {
            let selected = self.rule(p, pod.rules).is_some();
            return Answer::only(if selected { "DROP_ICMP_UNMATCHED" } else { "PASS_ORDINARY" });
        };
        let mut answer = match self.way_out(p, outside.ip()) {
            Ok(answer) => answer,
            Err(refused) => return refused,
        };
        let mut packet = Packet { src: at(outside.ip(), 0), ttl: p.ttl - 1, ..p.clone() };
        if let Body::Error(error) = &mut packet.body {
            error.about.dst = outside;
        }
        answer.sent = answer.sent.map(|(way, _)| (way, packet));
        answer
    }

    fn pod_continues(&mut self, pod: &PodValue, p: &Packet) -> Answer {
        if self.inside(p.dst.ip()) {
            return Answer::only("PASS_INSIDE");
        }
        match self.recall(p, Place::OfPod) {
            None if self.rule(p, pod.rules).is_some() => Answer::only("DROP_FRAGMENT"),
            None => Answer::only("PASS_ORDINARY"),
            Some(Decision::Passed(verdict)) => Answer::only(verdict),
            Some(Decision::To(from, id)) => match self.way_out(p, from) {
                Err(refused) => refused,
                Ok(mut answer) => {
                    let packet = Packet { src: at(from, 0), id, ttl: p.ttl - 1, ..p.clone() };
                    answer.sent = answer.sent.map(|(way, _)| (way, packet));
                    answer
                }
            },
        }
    }
}

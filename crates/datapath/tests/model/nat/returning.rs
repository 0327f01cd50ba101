//! Towards a pod: only what answers a flow of its own gets there (address- and port-dependent filtering, RFC 4787
//! section 5).

use std::net::IpAddr;

use egret_datapath::layout::{VNI_TO_POD, VNI_TO_WIRE};

use super::fragments::{Decision, Place};
use super::{Answer, FlowId, Nat, Way};
use crate::packet::{Body, End, Packet, Protocol, at};

impl Nat {
    fn flow_back(&self, protocol: Protocol, egress: End, remote: End) -> Option<FlowId> {
        let mut found = self
            .flows
            .iter()
            .filter(|(id, flow)| id.protocol == protocol && flow.outside == egress && id.remote == remote);
        found.next().map(|(id, _)| *id)
    }

    /// A packet to an egress address of which this node has the port.
    pub fn return_to_pod(&mut self, p: &Packet) -> Answer {
        if p.ttl <= 1 {
            return Answer::only("DROP_TTL");
        }
        let packet = match &p.body {
            Body::Tcp(_) | Body::Udp | Body::Pong => self.answered(p),
            Body::Error(_) => self.complained(p),
            Body::Rest(_) => match self.recall(p, Place::ToPod) {
                Some(Decision::To(pod, _)) => Ok((Packet { dst: at(pod, 0), ..p.clone() }, None)),
                _ => Err("DROP_FRAGMENT"),
            },
            Body::Ping | Body::Other(_) => Err("DROP_NO_RETURN"),
        };
        match packet {
            Err(verdict) => Answer::only(verdict),
            Ok((packet, link)) if !self.lives(packet.dst.ip(), link) => Answer::only("DROP_POD_GONE"),
            Ok((packet, _)) => {
                let pod = packet.dst.ip();
                if matches!(packet.body, Body::Tcp(_) | Body::Udp | Body::Pong) {
                    self.remember(p, Place::ToPod, Decision::To(pod, p.id));
                }
                let packet = Packet { ttl: p.ttl - 1, ..packet };
                Answer::sent("SENT_POD", Way::Pod(pod), self.clamped(packet))
            }
        }
    }

    /// The pod is there, and still the one with this link.
    fn lives(&self, pod: IpAddr, link: Option<u32>) -> bool {
        self.world.pods.get(&pod).is_some_and(|pod| link.is_none_or(|link| pod.link == link))
    }

    fn answered(&mut self, p: &Packet) -> Result<(Packet, Option<u32>), &'static str> {
        let protocol = p.protocol().ok_or("DROP_NO_RETURN")?;
        let id = self.flow_back(protocol, p.dst, p.src).ok_or("DROP_NO_RETURN")?;
        let now = self.now;
        let flow = self.flows.get_mut(&id).ok_or("DROP_NO_RETURN")?;
        // RFC 4787 REQ-6: what comes in keeps no UDP mapping alive, or strangers could.
        if let Body::Tcp(segment) = &p.body {
            if !flow.tcp.remote_sends(segment) {
                return Err("DROP_OUT_OF_WINDOW");
            }
            flow.remote_seen = now;
        }
        let link = flow.link;
        Ok((Packet { dst: id.pod, ..p.clone() }, Some(link)))
    }

    /// RFC 5508 REQ-4: by what it quotes, which must be what it is sent to.
    fn complained(&mut self, p: &Packet) -> Result<(Packet, Option<u32>), &'static str> {
        let mut packet = p.clone();
        let Body::Error(error) = &mut packet.body else { return Err("DROP_ICMP_UNMATCHED") };
        let protocol = error.about.protocol().ok_or("DROP_ICMP_UNMATCHED")?;
        let id = self.flow_back(protocol, error.about.src, error.about.dst);
        let id = id.filter(|_| error.about.src.ip() == p.dst.ip()).ok_or("DROP_ICMP_UNMATCHED")?;
        error.about.src = id.pod;
        packet.dst = at(id.pod.ip(), 0);
        let link = self.flows.get(&id).map(|flow| flow.link);
        Ok((packet, link))
    }

    pub fn overlay_brings(&mut self, node: IpAddr, vni: u32, p: &Packet) -> Answer {
        if !self.world.nodes.contains_key(&node) {
            return Answer::only("DROP_FOREIGN_OUTER");
        }
        match vni {
            VNI_TO_WIRE => self.node_sends(node, p),
            VNI_TO_POD => self.return_to_pod(p),
            _ => Answer::only("DROP_FOREIGN_INNER"),
        }
    }

    /// What the kernel brings a pod by the ordinary way: its answers are known as answers.
    pub fn heard(&mut self, p: &Packet) {
        let selected = self.world.pods.get(&p.dst.ip()).is_some_and(|pod| pod.rules != 0);
        let Some(protocol) = p.protocol() else { return };
        if !selected || self.inside(p.src.ip()) || p.body == Body::Pong {
            return;
        }
        let id = match p.body {
            // The reply has the id where its destination port would be.
            Body::Ping => FlowId { protocol, pod: at(p.dst.ip(), 0), remote: at(p.src.ip(), p.src.port()) },
            _ => FlowId { protocol, pod: p.dst, remote: p.src },
        };
        self.inbound.insert(id);
    }
}

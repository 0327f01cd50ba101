//! What comes back to flows.

use egret_datapath::layout::VNI_TO_POD;

use super::Generator;
use crate::nat::{Flow, Nat};
use crate::packet::{ACK, Body, FIN, Protocol, Quote, RST, SYN, Segment, at};
use crate::step::{Place, Step};
use crate::universe::{NODES, REMOTES};
use crate::world::addr;

impl Generator {
    /// An answer to a flow, or something near it. It comes by the overlay, or by the wire.
    pub fn returning(&mut self, nat: &Nat) -> Step {
        let Some((id, flow)) = self.flow(nat) else { return Step::Wait(1) };
        let (egress, mut remote) = (flow.outside, id.remote);
        if self.dice.percent(5) {
            remote.set_port(self.remote_port());
        }
        let packet = match (id.protocol, self.dice.below(20)) {
            (_, 0) => {
                let protocol = self.protocol(egress.is_ipv4());
                let from = REMOTES[usize::from(egress.is_ipv6())][self.dice.below(3)];
                self.error(addr(from), egress.ip(), Quote { protocol, src: egress, dst: remote })
            }
            (_, 1) => self.rest(remote.ip(), egress.ip()),
            (Protocol::Tcp, 2..) | (_, 2) if id.protocol == Protocol::Tcp => {
                let segment = self.answer(flow);
                self.packet(remote, egress, Body::Tcp(segment))
            }
            (Protocol::Echo, _) => self.packet(at(remote.ip(), 0), egress, Body::Pong),
            (_, 3) => self.packet(at(remote.ip(), egress.port()), at(egress.ip(), 0), Body::Ping),
            _ => self.packet(remote, egress, Body::Udp),
        };
        let place = match self.dice.percent(30) {
            true => Place::Wire,
            false => Place::Overlay(addr(NODES[1]), VNI_TO_POD),
        };
        Step::Packet(place, packet)
    }

    /// A segment of the other end, often at the edge of what its pod would take.
    fn answer(&mut self, flow: &Flow) -> Segment {
        let (next, window) = (flow.tcp.next, flow.tcp.window);
        let edges = [0, 0, 0, 1, u32::MAX, window / 2, window - 1, window, window + 1, 1 << 30, 1 << 31];
        let seq = next.wrapping_add(self.dice.pick(&edges));
        let ack = next.wrapping_add(self.dice.pick(&[0, 0, 0, 1, u32::MAX]));
        self.segment(&[SYN | ACK, SYN | ACK, SYN | ACK, ACK, ACK, FIN | ACK, FIN, RST, RST | ACK], seq, ack)
    }
}

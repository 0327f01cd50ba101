//! What a gateway sees of other nodes and of the outside.

use std::net::IpAddr;

use egret_datapath::layout::VNI_TO_WIRE;

use super::Generator;
use crate::nat::Nat;
use crate::packet::{ACK, Body, End, Quote, RST, SYN, at};
use crate::step::{Place, Step};
use crate::universe::{BLOCKS, EGRESS, FIRST_PORT, NODES};
use crate::world::addr;

impl Generator {
    /// At the gateway, from a source node: as its own port, or as another's.
    pub fn other_node(&mut self, nat: &Nat) -> Step {
        let family = self.family();
        let egress = addr(EGRESS[family][self.dice.below(2)]);
        let from = at(egress, FIRST_PORT + self.dice.below(usize::from(BLOCKS) * 4) as u16);
        let mut from = from;
        if self.dice.percent(60)
            && let Some(((egress, block), _)) =
                nat.world.leases.iter().nth(self.dice.below(nat.world.leases.len()))
        {
            let shift = nat.world.served[egress].shift;
            from = at(*egress, (block << shift) + self.dice.below(1 << shift) as u16);
        }
        let family = usize::from(from.is_ipv6());
        let mut to = self.ends(family).1;
        if self.dice.percent(10) {
            to = at(addr(EGRESS[family][0]), FIRST_PORT + self.dice.below(16) as u16);
        }
        let packet = match self.dice.weigh(&[30, 30, 20, 3, 2, 10, 10]) {
            0 => {
                let segment = self.segment(&[SYN, ACK], 5, 5);
                self.packet(from, to, Body::Tcp(segment))
            }
            1 => self.packet(from, to, Body::Udp),
            2 => self.packet(from, at(to.ip(), 0), Body::Ping),
            3 => self.packet(at(from.ip(), 0), at(to.ip(), from.port()), Body::Pong),
            4 => self.packet(at(from.ip(), 0), at(to.ip(), 0), Body::Other(47)),
            5 => {
                let protocol = self.protocol(from.is_ipv4());
                let about =
                    if self.dice.percent(90) { from } else { at(addr(EGRESS[family][0]), from.port()) };
                let to = if protocol == 6 || protocol == 17 { to } else { at(to.ip(), 0) };
                self.error(from.ip(), to.ip(), Quote { protocol, src: to, dst: about })
            }
            _ => self.rest(from.ip(), to.ip()),
        };
        if self.dice.percent(25) {
            return Step::Packet(
                Place::Underlay(self.dice.pick(&["node5", "node5", "node5", "stranger"])),
                packet,
            );
        }
        let node = match self.dice.percent(80).then(|| holder(nat, from)).flatten() {
            Some(node) => node,
            None => addr(self.dice.pick(&[NODES[1], NODES[2], NODES[3], "10.0.0.99"])),
        };
        Step::Packet(Place::Overlay(node, VNI_TO_WIRE), packet)
    }

    /// At the gateway, from the outside.
    pub fn outside(&mut self) -> Step {
        let family = self.family();
        let egress = at(
            addr(EGRESS[family][self.dice.below(2)]),
            FIRST_PORT + self.dice.below(usize::from(BLOCKS) * 4) as u16,
        );
        let from = self.ends(family).1;
        let packet = match self.dice.weigh(&[30, 30, 20, 5, 3, 10, 10]) {
            0 => {
                let segment = self.segment(&[SYN, SYN | ACK, ACK, RST], 5, 5);
                self.packet(from, egress, Body::Tcp(segment))
            }
            1 => self.packet(from, egress, Body::Udp),
            2 => self.packet(at(from.ip(), 0), egress, Body::Pong),
            3 => self.packet(at(from.ip(), egress.port()), at(egress.ip(), 0), Body::Ping),
            4 => self.packet(at(from.ip(), 0), at(egress.ip(), 0), Body::Other(47)),
            5 => {
                let protocol = self.protocol(egress.is_ipv4());
                let about =
                    if self.dice.percent(90) { egress } else { at(addr(EGRESS[family][0]), egress.port()) };
                let to = if protocol == 6 || protocol == 17 { from } else { at(from.ip(), 0) };
                self.error(from.ip(), egress.ip(), Quote { protocol, src: about, dst: to })
            }
            _ => self.rest(from.ip(), egress.ip()),
        };
        let place = if self.dice.percent(20) { Place::Underlay("node5") } else { Place::Wire };
        Step::Packet(place, packet)
    }
}

fn holder(nat: &Nat, from: End) -> Option<IpAddr> {
    let shift = nat.world.served.get(&from.ip())?.shift;
    nat.world.leases.get(&(from.ip(), from.port() >> shift)).copied()
}

//! Draws what happens next. Much of it continues what is there, or nothing would ever meet.

use std::net::IpAddr;

use egret_datapath::layout::PATH_NONE;

use crate::dice::Dice;
use crate::nat::{Flow, FlowId, Nat};
use crate::packet::{Body, Complaint, End, Packet, Piece, Quote, SYN, Segment, at, echo_number};
use crate::step::{Place, Step};
use crate::universe::{EGRESS, FIRST_PORT, PODS, REMOTES, Universe};
use crate::world::addr;

mod gateway;
mod outward;
mod returning;

pub struct Generator {
    pub dice: Dice,
    pub pod_ports: u16,
    pub remote_ports: u16,
    pub crowded: bool,
}

impl Generator {
    pub fn new(dice: Dice, universe: &Universe) -> Self {
        let Universe { pod_ports, remote_ports, crowded, .. } = *universe;
        Generator { dice, pod_ports, remote_ports, crowded }
    }

    pub fn step(&mut self, nat: &Nat) -> Step {
        if self.dice.percent(5)
            && let Some(step) = self.repair(nat)
        {
            return step;
        }
        let [wait, sweep] = if self.crowded { [8, 4] } else { [70, 30] };
        match self.dice.weigh(&[460, 220, 70, 70, 30, wait, sweep, 6, 8, 6, 8]) {
            0 => self.outward(nat),
            1 => self.returning(nat),
            2 => self.other_node(nat),
            3 => self.outside(),
            4 => self.conversation(),
            5 => Step::Wait(self.dice.pick(&[1, 1, 1, 2, 3, 4, 5, 10, 11, 20, 30, 31, 60])),
            6 => Step::Sweep,
            7 => self.pods(nat),
            8 => Step::OtherWay(self.egress()),
            9 => self.egress_entry(nat),
            _ => {
                let mine = 1 + self.dice.below(3) as u16;
                let blocks = (0..mine).filter(|_| self.dice.percent(70)).collect();
                Step::Blocks(self.egress(), blocks)
            }
        }
    }

    /// What is gone comes back.
    fn repair(&mut self, nat: &Nat) -> Option<Step> {
        let mut pods = PODS.iter().flat_map(|family| &family[..3]).map(|pod| addr(pod));
        if let Some(pod) = pods.find(|pod| !nat.world.pods.contains_key(pod)) {
            return Some(Step::PodBack(pod, self.dice.percent(50)));
        }
        if let Some(egress) = nat.away.keys().next() {
            return Some(Step::EgressBack(*egress));
        }
        let none = nat.world.egress.iter().find(|(_, entry)| entry.path == PATH_NONE);
        none.map(|(egress, _)| Step::OtherWay(*egress))
    }

    fn family(&mut self) -> usize {
        usize::from(self.dice.percent(35))
    }

    fn egress(&mut self) -> IpAddr {
        let family = self.family();
        addr(EGRESS[family][self.dice.below(2)])
    }

    fn pods(&mut self, nat: &Nat) -> Step {
        let family = self.family();
        let pod = addr(PODS[family][self.dice.below(3)]);
        if nat.world.pods.contains_key(&pod) {
            Step::PodGone(pod)
        } else {
            Step::PodBack(pod, self.dice.percent(50))
        }
    }

    fn egress_entry(&mut self, nat: &Nat) -> Step {
        let egress = self.egress();
        if nat.world.egress.contains_key(&egress) {
            Step::EgressGone(egress)
        } else {
            Step::EgressBack(egress)
        }
    }

    fn pod_port(&mut self) -> u16 {
        40_000 + self.dice.below(usize::from(self.pod_ports)) as u16
    }

    fn remote_port(&mut self) -> u16 {
        443 + self.dice.below(usize::from(self.remote_ports)) as u16
    }

    /// Some existing flow.
    fn flow<'a>(&mut self, nat: &'a Nat) -> Option<(FlowId, &'a Flow)> {
        if nat.flows.is_empty() {
            return None;
        }
        nat.flows.iter().nth(self.dice.below(nat.flows.len())).map(|(id, flow)| (*id, flow))
    }

    fn packet(&mut self, src: End, dst: End, body: Body) -> Packet {
        let v4 = src.is_ipv4();
        let ttl = if self.dice.percent(3) { self.dice.below(2) as u8 } else { self.dice.pick(&[2, 64, 255]) };
        let piece = match (&body, self.dice.below(20)) {
            (Body::Error(_) | Body::Tcp(_), _) => Piece::Whole,
            (_, 0) => Piece::First,
            _ => Piece::Whole,
        };
        let size = match (&body, self.dice.below(20)) {
            (Body::Error(_), _) => {
                if v4 {
                    68
                } else {
                    108
                }
            }
            (_, 0) => self.dice.pick(&[1449, 1450, 1451, 1500, 1501, 3002]),
            (Body::Tcp(_), _) => {
                if v4 {
                    64
                } else {
                    88
                }
            }
            _ => self.dice.pick(&[80, 81, 96]),
        };
        let whole = v4 && piece == Piece::Whole && self.dice.percent(50);
        // The number of a whole datagram of IPv6 is in no header.
        let id = if v4 || piece != Piece::Whole { 1 + self.dice.below(4) as u32 } else { 0 };
        Packet { src, dst, body, ttl, whole, piece, id, size }
    }

    /// A later fragment of what may have been seen.
    fn rest(&mut self, src: IpAddr, dst: IpAddr) -> Packet {
        let protocol = self.dice.pick(&[17, 17, echo_number(src.is_ipv4())]);
        let packet = self.packet(at(src, 0), at(dst, 0), Body::Rest(protocol));
        let id = 1 + self.dice.below(4) as u32;
        Packet { piece: Piece::Later, whole: false, id, ..packet }
    }

    fn segment(&mut self, flags: &[u8], seq: u32, ack: u32) -> Segment {
        let flags = self.dice.pick(flags);
        let (mss, scale) = match flags & SYN {
            0 => (None, None),
            _ => (
                self.dice.pick(&[None, Some(536), Some(1460)]),
                self.dice.pick(&[None, Some(0), Some(7), Some(15)]),
            ),
        };
        Segment { flags, seq, ack, mss, scale }
    }

    fn protocol(&mut self, v4: bool) -> u8 {
        self.dice.pick(&[6, 6, 17, 17, echo_number(v4), 47])
    }

    fn error(&mut self, src: IpAddr, dst: IpAddr, mut about: Quote) -> Packet {
        if about.protocol != 6 && about.protocol != 17 {
            about.dst.set_port(if about.src.port() == 0 { about.dst.port() } else { 0 });
        }
        let (kind, code, mtu) = if src.is_ipv4() {
            self.dice.pick(&[(3, 3, 0), (11, 0, 0), (3, 4, 1280)])
        } else {
            self.dice.pick(&[(1, 4, 0), (3, 0, 0), (2, 0, 1280)])
        };
        self.packet(at(src, 0), at(dst, 0), Body::Error(Complaint { kind, code, mtu, about }))
    }

    fn ends(&mut self, family: usize) -> (End, End) {
        let pod = PODS[family][self.dice.weigh(&[40, 30, 28, 2])];
        let remote = match self.dice.weigh(&[30, 20, 30, 2, 8, 2, 2, 6]) {
            7 => at(addr(EGRESS[family][1]), FIRST_PORT + self.dice.below(8) as u16),
            index => at(addr(REMOTES[family][index]), self.remote_port()),
        };
        let pod = if self.dice.percent(1) { ["10.244.1.99", "fd00:10:244:1::99"][family] } else { pod };
        (at(addr(pod), self.pod_port()), remote)
    }

    /// Somebody outside opens a conversation with a pod.
    fn conversation(&mut self) -> Step {
        let family = self.family();
        let (pod, remote) = self.ends(family);
        let packet = match self.dice.below(3) {
            0 => {
                let segment = self.segment(&[SYN], 5, 5);
                self.packet(remote, pod, Body::Tcp(segment))
            }
            1 => self.packet(remote, pod, Body::Udp),
            _ => self.packet(at(remote.ip(), pod.port()), at(pod.ip(), 0), Body::Ping),
        };
        Step::Packet(Place::ToPod, packet)
    }
}

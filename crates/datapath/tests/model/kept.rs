//! Where the programs and the model once disagreed, step by step.

use egret_datapath::layout::VNI_TO_POD;

use crate::dice::Dice;
use crate::duel::Duel;
use crate::packet::{ACK, Body, Complaint, Packet, Piece, Quote, RST, SYN, Segment, at};
use crate::rig::Rig;
use crate::step::{Place, Step};
use crate::support::alone;
use crate::universe::{NODES, Universe};
use crate::world::addr;

/// Runs the steps in a world where every port is the pods', and compares after each.
fn play(name: &'static str, steps: impl FnOnce(&mut dyn FnMut(Step) -> u16) + Send + 'static) {
    alone(move |bpf| {
        let mut rig = Rig::load(bpf);
        let mut dice = Dice::new(1);
        let mut universe = Universe::new(&mut dice, rig.kernel.on);
        universe.world.egress.values_mut().for_each(|entry| entry.share = 0);
        let mut duel = Duel::new(&mut rig, &universe, &mut dice);
        steps(&mut |step| {
            let told = duel.step(&step).and_then(|()| duel.compare_all());
            told.unwrap_or_else(|why| panic!("{name}: {step}: {why}"));
            duel.nat.flows.values().next().map_or(0, |flow| flow.outside.port())
        });
    });
}

fn packet(src: (&str, u16), dst: (&str, u16), body: Body) -> Packet {
    let (src, dst) = (at(addr(src.0), src.1), at(addr(dst.0), dst.1));
    Packet { src, dst, body, ttl: 64, whole: true, piece: Piece::Whole, id: 1, size: 80 }
}

const A: &str = "10.244.1.10";
const B: &str = "10.244.1.11";
const OUTSIDE: &str = "198.51.100.1";

fn segment(flags: u8, seq: u32, ack: u32) -> Body {
    Body::Tcp(Segment { flags, seq, ack, mss: None, scale: None })
}

#[test]
fn a_pod_that_speaks_on_takes_back_its_rst() {
    play("RST taken back", |step| {
        let mut pod = |flags, seq, ack| {
            step(Step::Packet(
                Place::FromPod(false),
                packet((A, 41000), (OUTSIDE, 443), segment(flags, seq, ack)),
            ))
        };
        let port = pod(SYN, 1000, 0);
        pod(ACK, 1001, 2001);
        pod(RST | ACK, 1001, 2001);
        pod(ACK, 1001, 2001);
        let back = packet((OUTSIDE, 443), ("10.10.0.11", port), segment(SYN | ACK, 2000, 1001));
        step(Step::Packet(Place::Overlay(addr(NODES[1]), VNI_TO_POD), back));
        step(Step::Wait(5));
        step(Step::Sweep);
    });
}

#[test]
fn a_pod_complains_of_its_own_conversations_only() {
    play("another pod's conversation", |step| {
        step(Step::Packet(Place::ToPod, packet((OUTSIDE, 443), (B, 80), Body::Udp)));
        let about = Quote { protocol: 17, src: at(addr(OUTSIDE), 443), dst: at(addr(B), 80) };
        let error = Body::Error(Complaint { kind: 3, code: 3, mtu: 0, about });
        let error = Packet { size: 68, ..packet((A, 0), (OUTSIDE, 0), error) };
        step(Step::Packet(Place::FromPod(false), error));
    });
}

#[test]
fn a_mapping_used_between_two_sweeps_is_not_idle() {
    play("a mapping used again", |step| {
        let mut speak = || {
            step(Step::Packet(Place::FromPod(false), packet((A, 41000), (OUTSIDE, 53), Body::Udp)));
            step(Step::Wait(31));
            step(Step::Sweep);
        };
        speak();
        speak();
        step(Step::Sweep);
    });
}

#[test]
fn a_pod_does_not_complain_of_who_had_its_address_before() {
    play("a pod with another's address", |step| {
        step(Step::Packet(Place::FromPod(false), packet((A, 41000), (OUTSIDE, 53), Body::Udp)));
        step(Step::PodGone(addr(A)));
        step(Step::PodBack(addr(A), true));
        let about = Quote { protocol: 17, src: at(addr(OUTSIDE), 53), dst: at(addr(A), 41000) };
        let error = Body::Error(Complaint { kind: 3, code: 3, mtu: 0, about });
        let error = Packet { size: 68, ..packet((A, 0), (OUTSIDE, 0), error) };
        step(Step::Packet(Place::FromPod(true), error));
    });
}

//! Hostile frames through every program, while flows live: what must hold whatever the bytes are.

mod claims;
mod hostile;

use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_datapath::layout::{VNI_PROBE, VNI_TO_POD, VNI_TO_WIRE};

use crate::dice::Dice;
use crate::duel::Duel;
use crate::frame::frame;
use crate::generator::Generator;
use crate::names::{HOST, POD, mac};
use crate::nat::Nat;
use crate::rig::Rig;
use crate::step::{Place, Step};
use crate::universe::{NODES, Universe};
use crate::world::addr;

/// Steps that make it a world with flows.
const WARM_UP: usize = 150;

/// A frame, and where it is met.
#[derive(Clone, Debug)]
pub struct Attack {
    pub program: &'static str,
    pub link: u32,
    pub came_by: Option<(IpAddr, u32)>,
    pub bytes: Vec<u8>,
}

/// One world from its seed; how often each verdict came.
pub fn episode(rig: &mut Rig, seed: u64, frames: u64) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut dice = Dice::new(seed);
    let universe = Universe::new(&mut dice, rig.kernel.on);
    let mut duel = Duel::new(rig, &universe, &mut dice);
    let mut generator = Generator::new(dice, &universe);
    for _ in 0..WARM_UP {
        let step = generator.step(&duel.nat);
        duel.step(&step)?;
    }
    let (rig, nat) = (&mut *duel.rig, &duel.nat);
    let mut seen = BTreeMap::new();
    rig.verdicts();
    for number in 0..frames {
        let attack = attack(&mut generator, nat);
        let outcome = rig.run(attack.program, attack.link, attack.came_by, &attack.bytes);
        let told = claims::hold(rig, nat, &attack, &outcome);
        let told = if number % 100 == 99 { told.and_then(|()| claims::tables(rig, nat)) } else { told };
        if let Err(why) = told {
            return Err(format!(
                "seed {seed:#x}, frame {number}: {why}\n  {} by {:?}: {:02x?}\n  {} {:02x?}",
                attack.program, attack.came_by, attack.bytes, outcome.verdict, outcome.frame
            ));
        }
        *seen.entry(outcome.verdict).or_default() += 1;
    }
    Ok(seen)
}

fn attack(generator: &mut Generator, nat: &Nat) -> Attack {
    let on = nat.world.on;
    let (place, packet) = loop {
        if let Step::Packet(place, packet) = generator.step(nat) {
            break (place, packet);
        }
    };
    let dice = &mut generator.dice;
    let (mut program, mut link, mut came_by, to) = match place {
        Place::FromPod(other) => ("from_pod", if other { on.other_pod } else { on.pod }, None, HOST),
        Place::ToPod => ("to_pod", on.pod, None, POD),
        Place::Overlay(node, vni) => ("from_overlay", on.overlay, Some((node, vni)), mac("overlay")),
        Place::Underlay(_) => ("from_underlay", on.underlay, None, mac("underlay")),
        Place::Wire => ("from_wire", on.wire, None, mac("wire")),
    };
    let mut from = mac("router");
    let mut bytes_to = to;
    match dice.below(20) {
        0 => {
            (program, link, came_by) = ("from_underlay", on.underlay, None);
            (bytes_to, from) = (mac("underlay"), mac("node5"));
        }
        1 => (program, link, came_by) = ("to_overlay", on.overlay, None),
        2 => {
            let node = addr(dice.pick(&NODES));
            let vni = dice.pick(&[VNI_TO_WIRE, VNI_TO_POD, VNI_PROBE, 7]);
            (program, link, came_by) = ("from_overlay", on.overlay, Some((node, vni)));
        }
        3 => (program, link, came_by) = ("from_wire", on.wire, None),
        _ => {}
    }
    let mut bytes = frame(&packet, bytes_to, from);
    hostile::spoil(dice, &mut bytes);
    Attack { program, link, came_by, bytes }
}

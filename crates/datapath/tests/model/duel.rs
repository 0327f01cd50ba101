//! The programs and the model, side by side: the same steps for both, and whatever differs.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use egret_datapath::layout::{Addr, Egress, PodValue};

use crate::dice::Dice;
use crate::frame::frame;
use crate::generator::Generator;
use crate::names::{HOST, POD, mac};
use crate::nat::{Choice, FlowId, MappingId, Nat};
use crate::packet::{Packet, Protocol};
use crate::reading::read;
use crate::rig::{Rig, outside};
use crate::step::{Place, Step};
use crate::universe::{Universe, other_path};
use crate::world::RULES;

const LOOK_AT_ALL: u64 = 100;
const SHOWN: usize = 20;

mod judge;
mod story;
mod tables;

pub struct Duel<'a> {
    pub rig: &'a mut Rig,
    pub nat: Nat,
    /// How often each verdict was right.
    pub seen: BTreeMap<&'static str, u64>,
}

type Told = Result<(), String>;

impl<'a> Duel<'a> {
    pub fn new(rig: &'a mut Rig, universe: &Universe, dice: &mut Dice) -> Self {
        let now = 1000 + dice.below(1 << 30) as u32;
        rig.reset(&universe.world, now, dice.bits() | 1);
        rig.verdicts();
        let nat = Nat::new(universe.world.clone(), universe.timers, now);
        Duel { rig, nat, seen: BTreeMap::new() }
    }

    /// One world from its seed. The error tells all that is needed to see why.
    pub fn episode(rig: &'a mut Rig, seed: u64, steps: u64) -> Result<BTreeMap<&'static str, u64>, String> {
        let mut dice = Dice::new(seed);
        let universe = Universe::new(&mut dice, rig.kernel.on);
        let mut duel = Duel::new(rig, &universe, &mut dice);
        let mut generator = Generator::new(dice, &universe);
        let mut last = VecDeque::with_capacity(SHOWN);
        for number in 0..steps {
            let step = generator.step(&duel.nat);
            if last.len() == SHOWN {
                last.pop_front();
            }
            last.push_back(step.clone());
            let told = duel.step(&step);
            let told = if number % LOOK_AT_ALL == 0 { told.and_then(|()| duel.compare_all()) } else { told };
            if let Err(why) = told {
                return Err(duel.story(seed, number, &last, &why));
            }
        }
        duel.compare_all().map_err(|why| duel.story(seed, steps, &last, &why))?;
        Ok(duel.seen)
    }

    pub fn step(&mut self, step: &Step) -> Told {
        let world = &mut self.nat.world;
        match step {
            Step::Packet(place, packet) => return self.packet(*place, packet),
            Step::Wait(seconds) => {
                self.nat.now += seconds;
                self.rig.set_clock(self.nat.now);
            }
            Step::Sweep => return self.sweep(),
            Step::PodGone(pod) => {
                world.pods.remove(pod);
                self.rig.pods.remove(&(*pod).into()).unwrap();
            }
            Step::PodBack(pod, other) => {
                let link = if *other { world.on.other_pod } else { world.on.pod };
                let value = PodValue { rules: RULES, link, mac: POD, host_mac: HOST, shared: 0, pad: [0; 7] };
                world.pods.insert(*pod, value);
                self.rig.pods.insert(Addr::from(*pod), value, 0).unwrap();
            }
            Step::OtherWay(egress) => {
                let on = world.on;
                self.change(*egress, |entry| other_path(entry, &on));
            }
            Step::EgressGone(egress) => {
                if let Some(entry) = world.egress.remove(egress) {
                    self.nat.away.insert(*egress, entry);
                    self.rig.egress.remove(&(*egress).into()).unwrap();
                }
            }
            Step::EgressBack(egress) => {
                if let Some(entry) = self.nat.away.remove(egress) {
                    world.egress.insert(*egress, entry);
                    self.change(*egress, |_| {});
                }
            }
            Step::Blocks(egress, blocks) => {
                let leased: Vec<u16> = world
                    .leases
                    .iter()
                    .filter(|((of, _), node)| of == egress && world.settings.underlay == (**node).into())
                    .map(|((_, block), _)| *block)
                    .collect();
                self.change(*egress, |entry| {
                    entry.block_count = 0;
                    for block in leased
                        .iter()
                        .enumerate()
                        .filter(|(n, _)| blocks.contains(&(*n as u16)))
                        .map(|(_, b)| b)
                    {
                        entry.blocks[usize::from(entry.block_count)] = block << entry.shift;
                        entry.block_count += 1;
                    }
                });
            }
        }
        Ok(())
    }

    fn change(&mut self, egress: IpAddr, change: impl Fn(&mut Egress)) {
        if let Some(entry) = self.nat.world.egress.get_mut(&egress) {
            change(entry);
            self.rig.egress.insert(Addr::from(egress), *entry, 0).unwrap();
        }
    }

    fn packet(&mut self, place: Place, packet: &Packet) -> Told {
        let on = self.nat.world.on;
        let mut from = mac("router");
        let (program, link, came_by, to) = match place {
            Place::FromPod(other) => ("from_pod", if other { on.other_pod } else { on.pod }, None, HOST),
            Place::ToPod => ("to_pod", on.pod, None, POD),
            Place::Overlay(node, vni) => ("from_overlay", on.overlay, Some((node, vni)), mac("overlay")),
            Place::Underlay(name) => {
                from = mac(name);
                ("from_underlay", on.underlay, None, mac("underlay"))
            }
            Place::Wire => ("from_wire", on.wire, None, mac("wire")),
        };
        let bytes = frame(packet, to, from);
        let outcome = self.rig.run(program, link, came_by, &bytes);
        if place == Place::ToPod {
            self.nat.heard(packet);
            return Ok(());
        }
        let reading = read(&outcome.frame);
        let mut choice = Choice {
            verdict: outcome.verdict,
            id: reading.as_ref().map(|reading| reading.packet.id),
            ..Choice::default()
        };
        let flow = match place {
            Place::FromPod(_) => {
                packet.protocol().map(|protocol| FlowId { protocol, pod: packet.src, remote: packet.dst })
            }
            _ => None,
        };
        if let Some(id) = &flow {
            choice.flow = self.rig.flow(id).as_ref().map(outside);
            if id.protocol != Protocol::Tcp {
                choice.mapping = self.mapping_of(packet, id);
            }
        }
        let expected = match place {
            Place::FromPod(_) => self.nat.pod_sends(link, packet, &choice)?,
            Place::Overlay(node, vni) => self.nat.overlay_brings(node, vni, packet),
            Place::Underlay(_) => self.nat.neighbour_sends(from, packet),
            Place::Wire | Place::ToPod => self.nat.outside_sends(packet),
        };
        self.judge(from, packet, &bytes, &expected, &outcome)?;
        if let Some(id) = &flow {
            let is = self.nat.flows.get(id).map(|flow| flow.outside);
            if choice.flow != is {
                return Err(format!("the flow is {:?}, and must be {is:?}", choice.flow));
            }
        }
        *self.seen.entry(expected.verdict).or_default() += 1;
        Ok(())
    }

    fn mapping_of(&self, packet: &Packet, id: &FlowId) -> Option<u16> {
        let rules = self.nat.world.pods.get(&packet.src.ip())?.rules;
        let egress = self.nat.rule(packet, rules)?;
        let mapping = self.rig.mapping(&MappingId { protocol: id.protocol, pod: id.pod, egress })?;
        Some(u16::from_be(mapping.egress_port))
    }

    fn sweep(&mut self) -> Told {
        let (is, must) = (self.rig.kernel.sweep(), self.nat.sweep());
        match is == must {
            true => Ok(()),
            false => Err(format!("flows that expired and were orphaned: {is:?}, and must be {must:?}")),
        }
    }
}

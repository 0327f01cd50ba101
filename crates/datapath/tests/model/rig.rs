//! The programs under test: a run of one, what it did, and what the tables hold after.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use egret_datapath::REASONS;
use egret_datapath::layout::{
    Addr, Counter, Egress, Flow, FlowKey, Mapping, MappingKey, OwnerKey, PodValue, ReturnFlow, ReturnKey,
};

use crate::kernel::{Fate, Kernel, Tunnel};
use crate::nat::{FlowId, MappingId};
use crate::packet::{End, Protocol, at, echo_number};
use crate::world::World;

pub struct Rig {
    pub kernel: Kernel,
    tunnel: Array<MapData, Tunnel>,
    counters: PerCpuArray<MapData, Counter>,
    counted: Vec<u64>,
    pub flows: HashMap<MapData, FlowKey, Flow>,
    pub returns: HashMap<MapData, ReturnKey, ReturnFlow>,
    pub mappings: HashMap<MapData, MappingKey, Mapping>,
    pub owners: HashMap<MapData, OwnerKey, u32>,
    pub egress: HashMap<MapData, Addr, Egress>,
    pub pods: HashMap<MapData, Addr, PodValue>,
    pub inbound: HashMap<MapData, FlowKey, u32>,
}

/// What a run did.
pub struct Outcome {
    /// What the kernel hears.
    pub answer: i32,
    pub frame: Vec<u8>,
    pub tunnel: Option<(IpAddr, u32)>,
    pub verdict: &'static str,
    /// Bytes of each IP packet, if it left in several.
    pub pieces: Vec<usize>,
}

fn pinned<T: TryFrom<Map, Error = aya::maps::MapError>>(
    bpf: &Path,
    name: &str,
    kind: fn(MapData) -> Map,
) -> T {
    T::try_from(kind(MapData::from_pin(bpf.join(name)).unwrap())).unwrap()
}

impl Rig {
    pub fn load(bpf: &Path) -> Self {
        let mut rig = Rig {
            kernel: Kernel::load(bpf),
            tunnel: pinned(bpf, "tunnel", Map::Array),
            counters: pinned(bpf, "counters", Map::PerCpuArray),
            counted: vec![0; REASONS.len()],
            flows: pinned(bpf, "flows", Map::HashMap),
            returns: pinned(bpf, "returns", Map::HashMap),
            mappings: pinned(bpf, "mappings", Map::HashMap),
            owners: pinned(bpf, "owners", Map::HashMap),
            egress: pinned(bpf, "egress", Map::HashMap),
            pods: pinned(bpf, "pods", Map::HashMap),
            inbound: pinned(bpf, "inbound", Map::LruHashMap),
        };
        rig.counted = rig.counts();
        rig
    }

    /// A new world, at this second.
    pub fn reset(&mut self, world: &World, now: u32, dice: u64) {
        self.kernel.fill(world);
        self.kernel.fate.set(0, Fate { now: now.into(), dice }, 0).unwrap();
    }

    pub fn set_clock(&mut self, now: u32) {
        let fate = self.kernel.fate.get(&0, 0).unwrap();
        self.kernel.fate.set(0, Fate { now: now.into(), ..fate }, 0).unwrap();
    }

    pub fn run(&mut self, program: &str, link: u32, came_by: Option<(IpAddr, u32)>, frame: &[u8]) -> Outcome {
        let tunnel = came_by.map(|(node, vni)| Tunnel { node: node.into(), vni, ..Tunnel::default() });
        self.tunnel.set(0, tunnel.unwrap_or_default(), 0).unwrap();
        let (answer, left_as) = self.kernel.execute(program, link, frame);
        let left = self.tunnel.get(&1, 0).unwrap();
        let tunnel = (left.vni != 0).then(|| (left.node.into(), left.vni));
        let verdict = REASONS[left.verdict as usize].0;
        let (frame, pieces) = match verdict {
            "SENT_PIECES" => self.kernel.joined(frame, left_as, true),
            _ => (left_as, Vec::new()),
        };
        Outcome { answer: answer as i32, frame, tunnel, verdict, pieces }
    }

    fn counts(&self) -> Vec<u64> {
        let of = |index| self.counters.get(&index, 0).unwrap().iter().map(|counter| counter.packets).sum();
        (0..REASONS.len() as u32).map(of).collect()
    }

    /// Did this verdict's counter, which is expected to, move by one? Cheap; others are seen by `verdicts`.
    pub fn counted(&mut self, verdict: &str) -> bool {
        let index = REASONS.iter().position(|(name, _)| *name == verdict).unwrap();
        let now: u64 =
            self.counters.get(&(index as u32), 0).unwrap().iter().map(|counter| counter.packets).sum();
        let moved = now == self.counted[index] + 1;
        self.counted[index] = now;
        moved
    }

    /// The verdicts counted since the last look, each as often as it was.
    pub fn verdicts(&mut self) -> BTreeMap<&'static str, u64> {
        let now = self.counts();
        let moved = REASONS.iter().zip(now.iter().zip(&self.counted));
        let moved = moved.filter(|(_, (now, before))| now != before);
        let moved = moved.map(|((name, _), (now, before))| (*name, now - before)).collect();
        self.counted = now;
        moved
    }

    pub fn flow(&self, id: &FlowId) -> Option<Flow> {
        self.flows.get(&flow_key(id), 0).ok()
    }

    pub fn mapping(&self, id: &MappingId) -> Option<Mapping> {
        self.mappings.get(&mapping_key(id), 0).ok()
    }
}

pub fn outside(flow: &Flow) -> End {
    at(flow.egress.into(), u16::from_be(flow.egress_port))
}

pub fn number(protocol: Protocol, v4: bool) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Echo => echo_number(v4),
    }
}

pub fn flow_key(id: &FlowId) -> FlowKey {
    FlowKey {
        pod: id.pod.ip().into(),
        remote: id.remote.ip().into(),
        pod_port: id.pod.port().to_be(),
        remote_port: id.remote.port().to_be(),
        protocol: number(id.protocol, id.pod.is_ipv4()),
        pad: [0; 3],
    }
}

pub fn return_key(id: &FlowId, outside: End) -> ReturnKey {
    ReturnKey {
        egress: outside.ip().into(),
        remote: id.remote.ip().into(),
        egress_port: outside.port().to_be(),
        remote_port: id.remote.port().to_be(),
        protocol: number(id.protocol, id.pod.is_ipv4()),
        pad: [0; 3],
    }
}

pub fn mapping_key(id: &MappingId) -> MappingKey {
    MappingKey {
        pod: id.pod.ip().into(),
        egress: id.egress.into(),
        pod_port: id.pod.port().to_be(),
        protocol: number(id.protocol, id.pod.is_ipv4()),
        pad: [0; 5],
    }
}

pub fn owner_key(id: &MappingId, port: u16) -> OwnerKey {
    OwnerKey {
        egress: id.egress.into(),
        egress_port: port.to_be(),
        protocol: number(id.protocol, id.pod.is_ipv4()),
        pad: [0; 5],
    }
}

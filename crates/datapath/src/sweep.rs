//! Removing flows that are idle or that nobody owns any more. Flows are walked here, a slice at a time; those that may
//! have ended are judged and removed by a program in the kernel, few in one run: while it runs, its processor carries
//! no packets.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::maps::IterableMap as _;
use aya::programs::{TestRun as _, TestRunOptions};
use nix::time::{ClockId, clock_gettime};

use crate::batch::{self, Walk};
use crate::error::DatapathError;
use crate::layout::{
    self, Addr, FLOW_ANSWERED, FLOW_CLOSING, Flow, FlowKey, Mapping, MappingKey, SUSPECTS, Suspect,
};
use crate::load::program;
use crate::maps::{Maps, removed};
use crate::reset::reset;

/// So long may one slice take: whoever sweeps has other things to do as well.
const SLICE: Duration = Duration::from_millis(10);

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Flows that stay.
    pub kept: u32,
    /// Flows removed because of their age.
    pub expired: u32,
    /// Flows removed because their pod or rule is gone.
    pub orphaned: u32,
    /// Connections that were reset: their address was its gateway's own, and the gateway is gone.
    pub reset: u32,
    /// Time that it took, of all slices together.
    pub took: Duration,
    /// The flows that it met, by egress address.
    pub use_: BTreeMap<IpAddr, AddressUse>,
}

/// How this node uses one egress address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressUse {
    /// Flows.
    pub flows: u64,
    /// First ports of the blocks that hold flows or mappings, sorted.
    pub busy_blocks: Vec<u16>,
}

/// A sweep under way.
#[derive(Default)]
pub struct Sweeper {
    pass: Option<Pass>,
    /// Addresses that cannot move and had no gateway when the last sweep began.
    without_gateway: HashSet<Addr>,
}

struct Pass {
    place: Place,
    found: Sweep,
    /// Flows in each block, by egress address and first port.
    blocks: HashMap<(Addr, u16), u64>,
    egress: HashMap<Addr, layout::Egress>,
    /// Pods that a policy selects.
    pods: HashMap<Addr, layout::PodValue>,
    /// Addresses whose connections have no gateway to hope for.
    lost: HashSet<Addr>,
}

enum Place {
    Flows(Walk<FlowKey, Flow>),
    Mappings(Walk<MappingKey, Mapping>),
}

impl Sweeper {
    /// Sweeps on for a moment. `Some` when the sweep is complete; the next call begins another.
    pub fn sweep(&mut self, ebpf: &mut Ebpf, maps: &mut Maps) -> Result<Option<Sweep>, DatapathError> {
        let begun = Instant::now();
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None => Pass::begin(maps, &mut self.without_gateway)?,
        };
        while begun.elapsed() < SLICE {
            if !pass.step(ebpf, maps)? {
                pass.found.took += begun.elapsed();
                return Ok(Some(pass.end()));
            }
        }
        pass.found.took += begun.elapsed();
        self.pass = Some(pass);
        Ok(None)
    }
}

impl Pass {
    fn begin(maps: &Maps, without_gateway: &mut HashSet<Addr>) -> Result<Self, DatapathError> {
        let mut egress = HashMap::new();
        let all = batch::all(maps.egress.map().fd().as_fd(), |address, entry| {
            egress.insert(*address, *entry);
        });
        all.map_err(|error| DatapathError::map("egress", error))?;
        let mut pods = HashMap::new();
        let all = batch::all(maps.pods.map().fd().as_fd(), |address: &Addr, pod: &layout::PodValue| {
            if pod.rules != 0 {
                pods.insert(*address, *pod);
            }
        });
        all.map_err(|error| DatapathError::map("pods", error))?;
        let place = Place::Flows(Walk::new());
        let gone = |entry: &layout::Egress| entry.node_address != 0 && entry.path == layout::PATH_NONE;
        let now: HashSet<Addr> =
            egress.iter().filter(|(_, entry)| gone(entry)).map(|(address, _)| *address).collect();
        // A gateway that misses a few probes is not gone, and a RST cannot be taken back.
        let before = std::mem::replace(without_gateway, now);
        let lost = before.intersection(without_gateway).copied().collect();
        Ok(Pass { place, found: Sweep::default(), blocks: HashMap::new(), egress, pods, lost })
    }

    /// Looks at some more entries; false at the end.
    fn step(&mut self, ebpf: &mut Ebpf, maps: &mut Maps) -> Result<bool, DatapathError> {
        let (mut suspects, mut lost) = (Vec::new(), Vec::new());
        let now = seconds();
        let (more, mappings) = match &mut self.place {
            Place::Flows(walk) => {
                let see = |key: &FlowKey, flow: &Flow| {
                    self.found.kept += 1;
                    let entry = self.egress.get(&flow.egress);
                    if let Some(entry) = entry {
                        *self.blocks.entry((flow.egress, block_of(flow.egress_port, entry))).or_default() +=
                            1;
                    }
                    let pod = self.pods.get(&key.pod).filter(|pod| pod.link == flow.link);
                    let lives = entry.filter(|_| pod.is_some()).is_some_and(|entry| {
                        // A packet may have been seen after this clock was read.
                        now.wrapping_sub(flow.seen) as i32 <= patience(key, flow, &entry.timers) as i32
                    });
                    if let Some(pod) = pod.filter(|_| key.protocol == TCP && flow.flags & RST == 0)
                        && self.lost.contains(&flow.egress)
                    {
                        lost.push((*key, *flow, *pod));
                    }
                    if !lives {
                        suspects.push(Suspect::flow(key));
                    }
                };
                let more = walk.next(maps.flows.map().fd().as_fd(), see);
                (more.map_err(|error| DatapathError::map("flows", error))?, false)
            }
            Place::Mappings(walk) => {
                let see = |key: &MappingKey, mapping: &Mapping| {
                    // Its next flow has the same port, so the block may not be given away before it is gone.
                    if let Some(entry) = self.egress.get(&key.egress) {
                        self.blocks.entry((key.egress, block_of(mapping.egress_port, entry))).or_default();
                    }
                    if mapping.flows == 0 {
                        suspects.push(Suspect::mapping(key));
                    }
                };
                let more = walk.next(maps.mappings.map().fd().as_fd(), see);
                (more.map_err(|error| DatapathError::map("mappings", error))?, true)
            }
        };
        for (key, flow, pod) in lost {
            self.found.reset += u32::from(end(maps, &key, &flow, &pod));
        }
        for some in suspects.chunks(SUSPECTS) {
            self.judge(ebpf, maps, some, mappings)?;
        }
        match (more, mappings) {
            (true, _) => return Ok(true),
            (false, false) => self.place = Place::Mappings(Walk::new()),
            (false, true) => self.forget_pods(maps)?,
        }
        Ok(!mappings)
    }

    /// Removes the counts of pods that are gone and have no flow left.
    fn forget_pods(&self, maps: &mut Maps) -> Result<(), DatapathError> {
        let failed = |error| DatapathError::map("pod_flows", error);
        let counts: Result<Vec<(Addr, u32)>, _> = maps.pod_flows.iter().collect();
        for (pod, flows) in counts.map_err(failed)? {
            if flows == 0 && !self.pods.contains_key(&pod) {
                removed(maps.pod_flows.remove(&pod)).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Has the kernel judge suspects.
    fn judge(
        &mut self,
        ebpf: &mut Ebpf,
        maps: &mut Maps,
        suspects: &[Suspect],
        mappings: bool,
    ) -> Result<(), DatapathError> {
        batch::set(maps.suspects.map().fd().as_fd(), suspects)
            .map_err(|error| DatapathError::map("suspects", error))?;
        let failed = |error| DatapathError::map("sweep_state", error);
        let count = u32::try_from(suspects.len()).unwrap_or(0);
        let state = layout::Sweep { count, mappings: mappings.into(), ..layout::Sweep::default() };
        maps.sweep_state.set(0, state, 0).map_err(failed)?;
        let options = TestRunOptions { data_in: Some(&[0; 64]), ..TestRunOptions::new() };
        program(ebpf, "sweep")?.test_run(options).map_err(|error| DatapathError::Sweep(error.to_string()))?;
        let done = maps.sweep_state.get(&0, 0).map_err(failed)?;
        self.found.kept = self.found.kept.saturating_sub(done.expired + done.orphaned);
        self.found.expired += done.expired;
        self.found.orphaned += done.orphaned;
        Ok(())
    }

    fn end(self) -> Sweep {
        let mut use_: BTreeMap<IpAddr, AddressUse> = BTreeMap::new();
        let blocks: BTreeSet<(Addr, u16)> = self.blocks.keys().copied().collect();
        for (address, block) in blocks {
            let used = use_.entry(address.into()).or_default();
            used.flows += self.blocks.get(&(address, block)).copied().unwrap_or(0);
            used.busy_blocks.push(block);
        }
        Sweep { use_, ..self.found }
    }
}

/// Resets a connection, and marks its flow as closed; false if its pod could not be told. A pod that speaks on takes the
/// mark off, and is told again.
fn end(maps: &mut Maps, key: &FlowKey, flow: &Flow, pod: &layout::PodValue) -> bool {
    if let Err(error) = reset(key, flow, pod) {
        tracing::debug!(link = pod.link, %error, "a pod is not told that its connection is over");
        return false;
    }
    let closed = Flow { flags: flow.flags | RST, ..*flow };
    // It may have ended meanwhile, and then needs no mark.
    maps.flows.insert(key, closed, BPF_EXIST).is_ok()
}

/// First port of the block that a port, in network byte order, is in.
fn block_of(port: u16, entry: &layout::Egress) -> u16 {
    u16::from_be(port) >> entry.shift << entry.shift
}

/// Idle seconds after which a flow is looked at more closely: never longer than it may live.
fn patience(key: &FlowKey, flow: &Flow, timers: &layout::Timers) -> u32 {
    const FIN_OR_RST: u8 = FIN | RST;
    const ACK: u8 = 0x10;
    match key.protocol {
        TCP if flow.flags & (FIN_OR_RST | FLOW_CLOSING) != 0 => timers.tcp_closed.min(timers.tcp_transitory),
        TCP if flow.flags & FLOW_ANSWERED != 0 && flow.flags & ACK != 0 => timers.tcp_established,
        TCP => timers.tcp_transitory.min(timers.tcp_established),
        UDP => timers.udp,
        _ => timers.icmp,
    }
}

/// Writes an entry only if it is there.
const BPF_EXIST: u64 = 2;
const FIN: u8 = 0x01;
const RST: u8 = 0x04;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The clock of the programs.
fn seconds() -> u32 {
    // The clock is there: it is the kernel's own.
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(0, |time| time.tv_sec() as u32)
}

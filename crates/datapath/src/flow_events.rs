//! What the programs tell of flows: one record for each that opens or ends, and for packets that are refused.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use nix::time::{ClockId, clock_gettime};

use crate::batch;
use crate::counters::REASONS;
use crate::error::DatapathError;
use crate::layout::{self, Addr, FlowRecord, ReturnFlow, ReturnKey};
use crate::load::{check_pins, maps_dir};
use crate::maps::typed;

/// The records that nobody has read yet. They outlive the process, in their order; what finds no room is counted.
pub struct FlowEvents {
    ring: RingBuf<MapData>,
    untold: PerCpuArray<MapData, u64>,
}

/// What was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A flow began.
    Opened,
    /// It ended: both ends had closed it, or one reset it.
    Closed,
    /// It ended: it was idle for too long.
    Expired,
    /// It ended: its pod, rule or address is gone.
    Orphaned,
    /// Packets that got no flow were dropped.
    Refused {
        /// The verdict.
        reason: &'static str,
        /// How many, since that was last told.
        packets: u32,
    },
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEvent {
    /// When, since boot.
    pub at: Duration,
    /// What.
    pub told: Told,
    /// IP protocol.
    pub protocol: u8,
    /// The pod's end; of a ping its id as the port.
    pub pod: SocketAddr,
    /// The remote end; of a ping without port.
    pub remote: SocketAddr,
    /// What the flow leaves by; of a refused packet nothing.
    pub egress: Option<SocketAddr>,
    /// The pod's link.
    pub link: u32,
    /// When the flow was opened, since boot, in whole seconds; `None` if that was not noted.
    pub opened: Option<Duration>,
    /// Of a flow that ended: when its last packet was seen, since boot, in whole seconds.
    pub seen: Option<Duration>,
}

/// How many records were not made, since the maps were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// Of flows, for want of room.
    pub flows: u64,
    /// Of refusals: too many, or for want of room.
    pub refusals: u64,
}

impl FlowEvents {
    /// Takes its maps out of the loaded object.
    ///
    /// # Errors
    /// When the object does not have them, or the kernel does not let them be read.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Ok(FlowEvents { ring: typed(ebpf, "flow_events")?, untold: typed(ebpf, "untold")? })
    }

    /// The next record; `None` when there is none now.
    pub fn read(&mut self) -> Option<FlowEvent> {
        loop {
            let item = self.ring.next()?;
            // One of another version's programs is of no use.
            if let Some(event) = event(&item) {
                return Some(event);
            }
        }
    }

    /// How many records were not made.
    ///
    /// # Errors
    /// When the kernel does not let the map be read.
    pub fn untold(&self) -> Result<Untold, DatapathError> {
        let of = |kind: u32| -> Result<u64, DatapathError> {
            let counts = self.untold.get(&kind, 0).map_err(|error| DatapathError::map("untold", error))?;
            Ok(counts.iter().sum())
        };
        Ok(Untold { flows: of(layout::UNTOLD_FLOWS)?, refusals: of(layout::UNTOLD_REFUSALS)? })
    }
}

fn event(bytes: &[u8]) -> Option<FlowEvent> {
    if bytes.len() != size_of::<FlowRecord>() {
        return None;
    }
    // SAFETY: it is as long as a record, which is plain bytes of which any are a value; no alignment is asked for.
    let record = unsafe { bytes.as_ptr().cast::<FlowRecord>().read_unaligned() };
    let told = match record.event {
        layout::FLOW_OPENED => Told::Opened,
        layout::FLOW_CLOSED => Told::Closed,
        layout::FLOW_EXPIRED => Told::Expired,
        layout::FLOW_ORPHANED => Told::Orphaned,
        layout::FLOW_REFUSED => {
            let (reason, _) = REASONS.get(usize::from(record.reason))?;
            Told::Refused { reason, packets: record.seen }
        }
        _ => return None,
    };
    let refused = matches!(told, Told::Refused { .. });
    let ended = !refused && told != Told::Opened;
    Some(FlowEvent {
        at: Duration::from_nanos(record.at),
        told,
        protocol: record.key.protocol,
        pod: end(record.key.pod, record.key.pod_port),
        remote: end(record.key.remote, record.key.remote_port),
        egress: (!refused).then(|| end(record.egress, record.egress_port)),
        link: record.link,
        opened: seconds(record.opened),
        seen: ended.then(|| Duration::from_secs(record.seen.into())),
    })
}

fn end(address: Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from(address), u16::from_be(port))
}

fn seconds(since_boot: u32) -> Option<Duration> {
    (since_boot > 0).then(|| Duration::from_secs(since_boot.into()))
}

/// The clock of the programs: time since boot, without that in which the machine slept.
pub fn since_boot() -> Duration {
    // The clock is there: it is the kernel's own.
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Into::into)
}

/// A flow that a node has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFlow {
    /// IP protocol.
    pub protocol: u8,
    /// The pod's end; of a ping its id as the port.
    pub pod: SocketAddr,
    /// The remote end.
    pub remote: SocketAddr,
    /// What it leaves by.
    pub egress: SocketAddr,
    /// When it was opened, since boot, in whole seconds; `None` if that was not noted.
    pub opened: Option<Duration>,
}

/// Shows every flow of the datapath that has its pins there, an agent or not.
///
/// # Errors
/// When there is no datapath, it is of another version, or its maps may not be read.
pub fn open_flows(pin_dir: &Path, mut see: impl FnMut(OpenFlow)) -> Result<(), DatapathError> {
    let maps = maps_dir(pin_dir);
    check_pins(&maps)?;
    let failed = |why: String| DatapathError::map("returns", why);
    let map = MapData::from_pin(maps.join("returns")).map_err(|error| failed(error.to_string()))?;
    let all = batch::all(map.fd().as_fd(), |key: &ReturnKey, flow: &ReturnFlow| {
        see(OpenFlow {
            protocol: key.protocol,
            pod: end(flow.pod, flow.pod_port),
            remote: end(key.remote, key.remote_port),
            egress: end(key.egress, key.egress_port),
            opened: seconds(flow.opened),
        });
    });
    all.map_err(|error| failed(error.to_string()))
}

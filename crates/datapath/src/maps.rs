//! The pinned maps, with keys and values as the plan knows them.

use std::net::IpAddr;
use std::sync::Arc;

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use ipnet::IpNet;

use crate::address;
use crate::counters::Counters;
use crate::error::DatapathError;
use crate::flow_events::FlowEvents;
use crate::layout::{self, Addr, FlowKey, LeaseKey, MappingKey, NetworkData, RuleData, Suspect};

/// Every map that user space reads or writes.
pub struct Maps {
    pub settings: Array<MapData, layout::Settings>,
    pub counters: Arc<Counters>,
    pub inside: LpmTrie<MapData, NetworkData, u32>,
    pub nodes: HashMap<MapData, Addr, layout::Node>,
    pub pods: HashMap<MapData, Addr, layout::PodValue>,
    pub rules: LpmTrie<MapData, RuleData, layout::Rule>,
    pub egress: HashMap<MapData, Addr, layout::Egress>,
    pub served: HashMap<MapData, Addr, layout::Served>,
    pub leases: HashMap<MapData, LeaseKey, Addr>,
    pub sweep_state: Array<MapData, layout::Sweep>,
    pub suspects: Array<MapData, Suspect>,
    pub flows: HashMap<MapData, FlowKey, layout::Flow>,
    pub mappings: HashMap<MapData, MappingKey, layout::Mapping>,
    pub pod_flows: HashMap<MapData, Addr, u32>,
    /// Until somebody has taken it to read it.
    pub flow_events: Option<FlowEvents>,
}

impl Maps {
    /// Takes the maps out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Ok(Maps {
            settings: typed(ebpf, "settings")?,
            counters: Arc::new(Counters(typed(ebpf, "counters")?)),
            inside: typed(ebpf, "inside")?,
            nodes: typed(ebpf, "nodes")?,
            pods: typed(ebpf, "pods")?,
            rules: typed(ebpf, "rules")?,
            egress: typed(ebpf, "egress")?,
            served: typed(ebpf, "served")?,
            leases: typed(ebpf, "leases")?,
            sweep_state: typed(ebpf, "sweep_state")?,
            suspects: typed(ebpf, "suspects")?,
            flows: typed(ebpf, "flows")?,
            mappings: typed(ebpf, "mappings")?,
            pod_flows: typed(ebpf, "pod_flows")?,
            flow_events: Some(FlowEvents::take(ebpf)?),
        })
    }
}

/// One map of the loaded object.
pub fn typed<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<T, DatapathError> {
    let map = ebpf.take_map(name).ok_or_else(|| DatapathError::map(name, "the object does not have it"))?;
    T::try_from(map).map_err(|error| DatapathError::map(name, error))
}

/// The key of a network in the map `inside`.
pub fn inside_key(net: &IpNet) -> Key<NetworkData> {
    let (prefix, addr) = address::network(net);
    Key::new(prefix, NetworkData { addr })
}

/// The key of a rule set's destination in the map `rules`.
pub fn rule_key(set: u64, net: &IpNet) -> Key<RuleData> {
    let (prefix, addr) = address::network(net);
    Key::new(RULE_SET_BITS + prefix, RuleData { set: set.to_be_bytes(), addr })
}

/// The rule set and destination of a key.
pub fn from_rule_key(key: &Key<RuleData>) -> Option<(u64, IpNet)> {
    let data = key.data();
    let net = address::from_network(key.prefix_len().checked_sub(RULE_SET_BITS)?, data.addr)?;
    Some((u64::from_be_bytes(data.set), net))
}

/// The key of the block that begins with a port.
pub fn lease_key(egress: IpAddr, first_port: u16, shift: u8) -> LeaseKey {
    LeaseKey { egress: egress.into(), block: first_port >> shift, pad: [0; 3] }
}

/// A removal of what is not there is done already.
pub fn removed(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

const RULE_SET_BITS: u32 = 64;

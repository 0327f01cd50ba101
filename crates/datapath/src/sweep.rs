//! Removing flows that are idle or that nobody owns any more: the work is done by a program in the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aya::Ebpf;
use aya::programs::{TestRun as _, TestRunOptions};

use crate::error::DatapathError;
use crate::load::program;
use crate::maps::Maps;

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Flows that stay.
    pub kept: u32,
    /// Flows removed because of their age.
    pub expired: u32,
    /// Flows removed because their pod or rule is gone.
    pub orphaned: u32,
    /// The flows that stay, by egress address.
    pub use_: BTreeMap<IpAddr, AddressUse>,
}

/// How this node uses one egress address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressUse {
    /// Flows.
    pub flows: u64,
    /// First ports of the blocks that hold flows, sorted.
    pub busy_blocks: Vec<u16>,
}

/// Sweeps once. How long a flow may be idle, the program reads in the entry of its egress address.
pub fn sweep(ebpf: &mut Ebpf, maps: &mut Maps) -> Result<Sweep, DatapathError> {
    let failed = |map: &'static str| move |error| DatapathError::map(map, error);
    let old: Vec<_> = maps.block_use.keys().filter_map(Result::ok).collect();
    for key in old {
        crate::maps::removed(maps.block_use.remove(&key)).map_err(failed("block_use"))?;
    }
    let options = TestRunOptions { data_in: Some(&[0; 64]), ..TestRunOptions::new() };
    program(ebpf, "sweep")?.test_run(options).map_err(|error| DatapathError::Sweep(error.to_string()))?;
    let found = maps.sweep_state.get(&0, 0).map_err(failed("sweep_state"))?;
    Ok(Sweep { kept: found.kept, expired: found.expired, orphaned: found.orphaned, use_: block_use(maps)? })
}

fn block_use(maps: &Maps) -> Result<BTreeMap<IpAddr, AddressUse>, DatapathError> {
    let mut found: BTreeMap<IpAddr, AddressUse> = BTreeMap::new();
    for entry in maps.block_use.iter() {
        let (key, flows) = entry.map_err(|error| DatapathError::map("block_use", error))?;
        if flows == 0 {
            continue;
        }
        let used = found.entry(IpAddr::from(key.egress)).or_default();
        used.flows += u64::from(flows);
        // The program knew the size of the blocks from the same entry.
        if let Ok(egress) = maps.egress.get(&key.egress, 0)
            && let Some(first) =
                1_u16.checked_shl(u32::from(egress.shift)).and_then(|s| key.block.checked_mul(s))
        {
            used.busy_blocks.push(first);
        }
    }
    for used in found.values_mut() {
        used.busy_blocks.sort_unstable();
    }
    Ok(found)
}

//! What became of packets: one counter for each verdict of the closed list.

use std::collections::BTreeMap;

use crate::error::DatapathError;
use crate::maps::Maps;

include!(concat!(env!("OUT_DIR"), "/reasons.rs"));

/// Packets and bytes that ended in one verdict, since the maps were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the Ethernet header on.
    pub bytes: u64,
}

/// Every counter by the name of its verdict, summed over the processors.
pub fn read(maps: &Maps) -> Result<BTreeMap<String, Counter>, DatapathError> {
    let mut counters = BTreeMap::new();
    for (index, (name, _)) in (0_u32..).zip(REASONS) {
        let values = maps.counters.get(&index, 0).map_err(|error| DatapathError::map("counters", error))?;
        let mut sum = Counter::default();
        for value in values.iter() {
            sum.packets += value.packets;
            sum.bytes += value.bytes;
        }
        counters.insert((*name).to_owned(), sum);
    }
    Ok(counters)
}

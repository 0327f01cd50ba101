//! What became of packets: one counter for each verdict of the closed list.

use std::collections::BTreeMap;

use aya::maps::{MapData, PerCpuArray};

use crate::error::DatapathError;
use crate::layout;

include!(concat!(env!("OUT_DIR"), "/reasons.rs"));

/// Packets and bytes that ended in one verdict, since the maps were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the Ethernet header on.
    pub bytes: u64,
}

/// The kernel's counters. They can be read while others change the datapath.
pub struct Counters(pub(crate) PerCpuArray<MapData, layout::Counter>);

impl Counters {
    /// Every counter by the name of its verdict, summed over the processors.
    ///
    /// # Errors
    /// When the kernel does not let the map be read.
    pub fn read(&self) -> Result<BTreeMap<String, Counter>, DatapathError> {
        let mut counters = BTreeMap::new();
        for (index, (name, _)) in (0_u32..).zip(REASONS) {
            let values = self.0.get(&index, 0).map_err(|error| DatapathError::map("counters", error))?;
            let mut sum = Counter::default();
            for value in values.iter() {
                sum.packets += value.packets;
                sum.bytes += value.bytes;
            }
            counters.insert((*name).to_owned(), sum);
        }
        Ok(counters)
    }
}

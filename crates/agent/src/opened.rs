//! Flows that were opened since the last sweep: a node that opens thousands in a second cannot wait for the next one to
//! ask for more ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// What the kernel counts, made into what is new.
#[derive(Default)]
pub(crate) struct Opened {
    addresses: BTreeMap<IpAddr, Count>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    /// As the kernel last said; it begins anew when the address's entry is set.
    told: u32,
    since_sweep: u64,
}

impl Opened {
    /// The kernel has told how many, by address.
    pub(crate) fn told(&mut self, counts: BTreeMap<IpAddr, u32>) {
        self.addresses.retain(|address, _| counts.contains_key(address));
        for (address, now) in counts {
            let count = self.addresses.entry(address).or_default();
            count.since_sweep += u64::from(now.checked_sub(count.told).unwrap_or(now));
            count.told = now;
        }
    }

    /// Addresses by which flows were opened that the last sweep cannot have met, and how many.
    pub(crate) fn since_sweep(&self) -> impl Iterator<Item = (&IpAddr, u64)> {
        let counts = self.addresses.iter().map(|(address, count)| (address, count.since_sweep));
        counts.filter(|(_, flows)| *flows > 0)
    }

    /// A sweep has counted all flows.
    pub(crate) fn swept(&mut self) {
        self.addresses.values_mut().for_each(|count| count.since_sweep = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_flows_are_counted_over_changes_of_the_entry() {
        let address = IpAddr::from([10, 10, 0, 11]);
        let mut opened = Opened::default();
        for count in [100, 256, 300] {
            opened.told([(address, count)].into());
        }
        // The entry was set, with more blocks: the kernel begins anew.
        opened.told([(address, 50)].into());
        assert_eq!(opened.since_sweep().collect::<Vec<_>>(), [(&address, 350)]);
        opened.swept();
        assert_eq!(opened.since_sweep().count(), 0);
    }
}

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
    since_plan: u64,
}

impl Opened {
    /// The kernel has told. Returns whether an address has opened so many since the last plan that its ports may soon
    /// not do: an eighth of them. `ports` by address.
    pub(crate) fn told(&mut self, counts: BTreeMap<IpAddr, u32>, ports: impl Fn(&IpAddr) -> u64) -> bool {
        self.addresses.retain(|address, _| counts.contains_key(address));
        let mut many = false;
        for (address, now) in counts {
            let count = self.addresses.entry(address).or_default();
            let new = u64::from(now.checked_sub(count.told).unwrap_or(now));
            count.told = now;
            count.since_sweep += new;
            count.since_plan += new;
            many |= count.since_plan > 0 && count.since_plan * 8 >= ports(&address);
        }
        many
    }

    /// Flows of an address that the last sweep cannot have met.
    pub(crate) fn since_sweep(&self, address: &IpAddr) -> u64 {
        self.addresses.get(address).map_or(0, |count| count.since_sweep)
    }

    /// Addresses by which flows were opened since the last sweep.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &IpAddr> {
        self.addresses.iter().filter(|(_, count)| count.since_sweep > 0).map(|(address, _)| address)
    }

    /// A sweep has counted all flows.
    pub(crate) fn swept(&mut self) {
        self.addresses.values_mut().for_each(|count| count.since_sweep = 0);
    }

    /// A plan has been made with what is known.
    pub(crate) fn planned(&mut self) {
        self.addresses.values_mut().for_each(|count| count.since_plan = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_new_flows_are_noticed_before_the_next_sweep() {
        let address = IpAddr::from([10, 10, 0, 11]);
        let mut opened = Opened::default();
        let tell = |opened: &mut Opened, count| opened.told([(address, count)].into(), |_| 2048);
        assert!(!tell(&mut opened, 100));
        assert!(tell(&mut opened, 256), "an eighth of the ports");
        opened.planned();
        assert!(!tell(&mut opened, 300));
        // The entry was set, with more blocks: the kernel begins anew.
        assert!(!tell(&mut opened, 50));
        assert_eq!(opened.since_sweep(&address), 350);
        opened.swept();
        assert_eq!((opened.since_sweep(&address), opened.addresses().count()), (0, 0));
    }
}

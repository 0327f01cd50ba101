//! How this node uses ports, and how many it asks for. A node that opens thousands of flows in a second cannot wait for
//! the next sweep to ask for more.

use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_api::PortUse;
use egret_datapath::AddressUse;
use egret_plan::World;
use egret_plan::demand::short_of_ports;
use egret_plan::tables::Tables;

/// Sweeps, one each second, for which fewer blocks would do before fewer are asked for. What is given back rests for two
/// minutes before anybody has it, and who opened many connections may do so again: he would wait for ports then.
const PATIENCE: u32 = 60;

/// The ports of all egress addresses that this node uses.
#[derive(Default)]
pub(crate) struct Ports {
    /// What the last sweep found.
    swept: BTreeMap<IpAddr, PortUse>,
    opened: Opened,
    /// What was asked for last.
    demand: BTreeMap<IpAddr, PortUse>,
    /// Of addresses that have more than they need: after how many sweeps in a row they had.
    spare: BTreeMap<IpAddr, u32>,
}

impl Ports {
    /// The kernel has told how many flows were opened, by address.
    pub(crate) fn opened(&mut self, counts: BTreeMap<IpAddr, u32>) {
        self.opened.told(counts);
    }

    /// A sweep has counted all flows.
    pub(crate) fn swept(&mut self, found: BTreeMap<IpAddr, AddressUse>) {
        let used = |(address, used): (IpAddr, AddressUse)| {
            (address, PortUse { wanted_blocks: 0, flows: used.flows, busy_blocks: used.busy_blocks })
        };
        self.swept = found.into_iter().map(used).collect();
        self.opened.swept();
        self.spare.values_mut().for_each(|sweeps| *sweeps += 1);
    }

    /// More must be asked for before the next sweep: more than twice as many flows were opened as were asked for last,
    /// so that a rising load is no reason each time.
    pub(crate) fn are_short(&self, planned: &Tables) -> bool {
        self.opened.since_sweep().any(|(address, new)| {
            let Some(entry) = planned.egress.get(address) else { return false };
            let asked = self.demand.get(address).map_or(0, |ports| ports.wanted_blocks);
            let flows = new + self.swept.get(address).map_or(0, |used| used.flows);
            let block = u64::from((entry.block_size / u16::from(entry.pod_share.max(1))).max(1));
            let blocks = u64::from(asked).max(entry.blocks.len() as u64);
            short_of_ports(flows, blocks * block)
        })
    }

    /// Asks for as many as the tables in force and the flows call for. True if that is news.
    pub(crate) fn ask(&mut self, world: &World, node: &str, in_force: &Tables) -> bool {
        let mut used = self.swept.clone();
        for (address, flows) in self.opened.since_sweep() {
            used.entry(*address).or_default().flows += flows;
        }
        let mut demand = egret_plan::demand(world, node, in_force, &used);
        for (address, ports) in &mut demand {
            ports.wanted_blocks = self.patiently(*address, ports.wanted_blocks);
        }
        self.spare.retain(|address, _| demand.contains_key(address));
        let news = self.demand != demand;
        self.demand = demand;
        news
    }

    /// As many blocks as are wanted, or as were asked for last if it is too early to ask for fewer. Of an address that
    /// is not used any more none are kept.
    fn patiently(&mut self, address: IpAddr, wanted: u16) -> u16 {
        let asked = self.demand.get(&address).map_or(0, |ports| ports.wanted_blocks);
        if wanted == 0 || wanted >= asked {
            self.spare.remove(&address);
            return wanted;
        }
        let sweeps = self.spare.entry(address).or_default();
        if *sweeps < PATIENCE {
            return asked;
        }
        *sweeps = 0;
        wanted
    }

    /// What was asked for last.
    pub(crate) fn demand(&self) -> &BTreeMap<IpAddr, PortUse> {
        &self.demand
    }
}

/// Flows that were opened since the last sweep: what the kernel counts, made into what is new.
#[derive(Default)]
struct Opened {
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
    fn told(&mut self, counts: BTreeMap<IpAddr, u32>) {
        self.addresses.retain(|address, _| counts.contains_key(address));
        for (address, now) in counts {
            let count = self.addresses.entry(address).or_default();
            count.since_sweep += u64::from(now.checked_sub(count.told).unwrap_or(now));
            count.told = now;
        }
    }

    /// Addresses by which flows were opened that the last sweep cannot have met, and how many.
    fn since_sweep(&self) -> impl Iterator<Item = (&IpAddr, u64)> {
        let counts = self.addresses.iter().map(|(address, count)| (address, count.since_sweep));
        counts.filter(|(_, flows)| *flows > 0)
    }

    /// A sweep has counted all flows.
    fn swept(&mut self) {
        self.addresses.values_mut().for_each(|count| count.since_sweep = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_blocks_are_asked_for_when_fewer_have_done_for_a_minute() {
        let address = IpAddr::from([10, 10, 0, 11]);
        let mut ports = Ports::default();
        let ask = |ports: &mut Ports, wanted| {
            let wanted_blocks = ports.patiently(address, wanted);
            ports.demand.insert(address, PortUse { wanted_blocks, ..PortUse::default() });
            ports.swept(BTreeMap::new());
            wanted_blocks
        };
        assert_eq!(ask(&mut ports, 8), 8);
        for sweep in 0..PATIENCE {
            assert_eq!(ask(&mut ports, 4), 8, "sweep {sweep}");
        }
        assert_eq!(ask(&mut ports, 4), 4);
        // Once in between that they are needed begins it anew; more are asked for at once.
        assert_eq!(ask(&mut ports, 2), 4);
        assert_eq!(ask(&mut ports, 4), 4);
        for sweep in 0..PATIENCE {
            assert_eq!(ask(&mut ports, 2), 4, "sweep {sweep} again");
        }
        assert_eq!(ask(&mut ports, 16), 16);
        assert_eq!(ask(&mut ports, 0), 0, "an address that is not used");
    }

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

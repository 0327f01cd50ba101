//! Figures of the examples: a table for people, and JSON.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use crate::demo::report::{Datagrams, Failover, Machine, list};
use crate::demo::rows::Rows;
use crate::traffic::outcome::{Outcome, Stalls};

/// Everything that was found.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub(super) struct Report {
    /// Where it ran.
    pub machine: Machine,
    /// By system.
    pub examples: BTreeMap<String, Shown>,
    /// The source of a pod that no example selects, before any of them and after all.
    pub unselected: [IpAddr; 2],
    /// Packets with a wrong source that the sniffer saw.
    pub wrong_source_packets: u64,
    /// Packets that the sniffer looked at.
    pub packets_looked_at: u64,
    /// Packets that the sniffer was too slow for.
    pub packets_missed: u64,
    /// Seconds that everything took.
    pub seconds: f64,
    /// Nothing was lost or leaked.
    pub passed: bool,
}

/// What became of one example.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub(super) struct Shown {
    /// The address, and who carried it before and after.
    pub failover: Failover,
    /// TCP connections.
    pub connections: Outcome,
    /// UDP flows.
    pub flows: Outcome,
    /// Datagrams sent and answered.
    pub datagrams: Datagrams,
    /// Longest gap of each TCP connection around the fault.
    pub stall_ms: Stalls,
    /// Longest gap of each UDP flow around the fault.
    pub flow_stall_ms: Stalls,
}

impl Shown {
    /// No connection was lost, no source was wrong, and one node answers for the address.
    fn is_right(&self) -> bool {
        let Failover { to, arp_before, arp_after, from, .. } = &self.failover;
        self.connections.lost + self.flows.lost == 0
            && self.connections.wrong_source + self.flows.wrong_source == 0
            && to.as_ref().is_some_and(|to| *arp_after == [to.clone()])
            && *arp_before == [from.clone()]
    }
}

impl Report {
    /// Decides whether nothing was lost or leaked.
    pub fn judge(&mut self) {
        self.passed = self.examples.values().all(Shown::is_right)
            && self.unselected[0] == self.unselected[1]
            && self.wrong_source_packets == 0
            && self.packets_missed == 0;
    }

    /// The report for people.
    pub fn table(&self, dying: &str) -> String {
        let mut rows = Rows::new();
        for (name, shown) in &self.examples {
            let Shown { failover, connections, flows, datagrams, stall_ms, flow_stall_ms } = shown;
            let sources: Vec<String> =
                connections.sources.keys().chain(flows.sources.keys()).map(ToString::to_string).collect();
            let right = sources.iter().all(|source| *source == failover.address) && !sources.is_empty();
            let mut sources = sources;
            sources.dedup();
            rows.add(&format!("{name}: its pods leave by"), &sources.join(", "), right);
            let to = failover.to.as_deref().unwrap_or("nobody");
            let moved = format!("{}, then {}", list(&failover.arp_before), list(&failover.arp_after));
            let held = failover.arp_after.len() == 1 && failover.arp_after[0] == to;
            rows.add(&format!("{name}: {dying} powered off; who answers ARP"), &moved, held);
            for (what, outcome, stalls) in
                [("TCP connections", connections, stall_ms), ("UDP flows", flows, flow_stall_ms)]
            {
                let all = outcome.held + outcome.lost;
                if all == 0 {
                    continue;
                }
                let held = format!("{} of {all}", outcome.held);
                rows.add(&format!("{name}: {what} held"), &held, outcome.lost == 0);
                let young = format!("{} of {all}", outcome.younger_than_10_s);
                rows.add(&format!("{name}: of these younger than 10 s at the fault"), &young, true);
                rows.gap(&format!("{name}: longest gap (ms)"), stalls);
                rows.lost(&format!("{name}: lost because"), outcome);
            }
            rows.datagrams(&format!("{name}: datagrams lost meanwhile"), *datagrams);
        }
        let [before, after] = self.unselected;
        rows.add("a pod that nobody selects leaves by", &format!("{before}, then {after}"), before == after);
        rows.sniffed(self.wrong_source_packets, self.packets_looked_at, self.packets_missed);
        rows.print()
    }
}

//! The demo's figures: a table for people, and JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::rows::Rows;
use super::sources::Sighting;
use crate::sniff;
use crate::traffic::outcome::{Outcome, Stalls};

/// Everything that the demo found.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Report {
    /// Where it ran.
    pub machine: Machine,
    /// The gateway that lost its power, and what became of its address.
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
    /// Packets with a wrong source that the sniffer saw.
    pub wrong_source_packets: u64,
    /// Packets that the sniffer looked at.
    pub packets_looked_at: u64,
    /// Packets that the sniffer was too slow for.
    pub packets_missed: u64,
    /// By pod and server: the source seen outside while the policies were in force, before the fault.
    pub sources: BTreeMap<String, BTreeMap<String, Option<String>>>,
    /// What each server saw of each pod, before and after the fault, and what it should have seen.
    pub sightings: BTreeMap<String, Vec<Sighting>>,
    /// Seconds that everything took.
    pub seconds: f64,
    /// Nothing was lost or leaked.
    pub passed: bool,
}

/// Where the demo ran.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// Processors that the demo could use.
    pub cpus: usize,
}

/// A gateway's end.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Failover {
    /// The egress address.
    pub address: String,
    /// The node that held it and lost its power.
    pub from: String,
    /// The node that holds it now; `None`: none.
    pub to: Option<String>,
    /// Who answered ARP for it before.
    pub arp_before: Vec<String>,
    /// Who answers ARP for it after.
    pub arp_after: Vec<String>,
}

/// Datagrams of the UDP flows.
#[derive(Serialize, Clone, Copy, Debug, PartialEq)]
pub struct Datagrams {
    /// Sent by the pods.
    pub sent: u64,
    /// That came back.
    pub answered: u64,
}

impl Report {
    /// Decides whether nothing was lost or leaked.
    pub fn judge(&mut self) {
        let arp = &self.failover;
        self.passed = self.connections.lost == 0
            && self.flows.lost == 0
            && self.connections.wrong_source + self.flows.wrong_source == 0
            && self.wrong_source_packets == 0
            && self.packets_missed == 0
            && self.sightings.values().flatten().all(Sighting::is_right)
            && arp.to.as_ref().is_some_and(|to| arp.arp_after == [to.clone()])
            && arp.arp_before == [arp.from.clone()];
    }

    /// The report for people.
    pub fn table(&self) -> String {
        let mut rows = Rows::new();
        let mut row = |what: &str, result: String, right: bool| rows.add(what, &result, right);
        let (failover, all) = (&self.failover, self.connections.held + self.connections.lost);
        for (what, pods, server) in [
            ("prod leaves by", "prod/", ""),
            ("staging leaves by", "staging/", ""),
            ("billing to the partner (outside-2) by", "billing/", "outside-2"),
            ("billing to elsewhere (outside-1) as before", "billing/", "outside-1"),
            ("pods that no policy selects as before", "default/", ""),
        ] {
            let (seen, right) = self.seen(pods, server);
            row(what, seen, right);
        }
        let to = failover.to.as_deref().unwrap_or("nobody");
        row(
            &format!("{} powered off; {} now at", failover.from, failover.address),
            to.to_owned(),
            failover.to.is_some(),
        );
        let arp = format!("{}, then {}", list(&failover.arp_before), list(&failover.arp_after));
        row("who answers ARP for it", arp, failover.arp_after.len() == 1 && failover.arp_after[0] == to);
        let held = format!(
            "{} of {all} ({} pushed by the pod, {} by the server)",
            self.connections.held, self.connections.pushed_by_pod, self.connections.pushed_by_server
        );
        row("TCP connections held", held, self.connections.lost == 0);
        let all = self.flows.held + self.flows.lost;
        row("UDP flows held", format!("{} of {all}", self.flows.held), self.flows.lost == 0);
        rows.gap("longest gap of a connection (ms)", &self.stall_ms);
        rows.gap("longest gap of a UDP flow (ms)", &self.flow_stall_ms);
        rows.datagrams("datagrams lost meanwhile", self.datagrams);
        rows.sniffed(self.wrong_source_packets, self.packets_looked_at, self.packets_missed);
        for outcome in [&self.connections, &self.flows] {
            rows.lost("lost because", outcome);
        }
        rows.print()
    }

    /// The sources that servers saw of some pods, and whether all were right.
    fn seen(&self, pods: &str, server: &str) -> (String, bool) {
        let own = self.sightings.values().flatten();
        let own: Vec<&Sighting> =
            own.filter(|s| s.pod.starts_with(pods) && s.server.starts_with(server)).collect();
        let mut sources: Vec<String> = Vec::new();
        for sighting in &own {
            let source = sighting.seen.map_or(format!("nothing from {}", sighting.pod), |s| s.to_string());
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        (sources.join(", "), !own.is_empty() && own.iter().all(|s| s.is_right()))
    }
}

/// What servers saw of each pod.
pub fn by_pod(sightings: &[Sighting]) -> BTreeMap<String, BTreeMap<String, Option<String>>> {
    let mut by_pod: BTreeMap<String, BTreeMap<String, Option<String>>> = BTreeMap::new();
    for sighting in sightings {
        let server = match sighting.address.is_ipv6() {
            false => sighting.server.clone(),
            true => format!("{} (IPv6)", sighting.server),
        };
        by_pod.entry(sighting.pod.clone()).or_default().insert(server, sighting.seen.map(|s| s.to_string()));
    }
    by_pod
}

/// Writes a report as JSON.
///
/// # Errors
/// When the file cannot be written.
pub fn write(report: &impl Serialize, file: &Path) -> Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    fs::write(file, serde_json::to_string_pretty(report)? + "\n").with_context(|| file.display().to_string())
}

/// This machine.
pub fn machine() -> Machine {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    Machine { kernel, cpus: std::thread::available_parallelism().map_or(1, usize::from) }
}

/// What the sniffer found wrong, first ones first, for people.
pub fn wrong_packets(leaks: &[serde_json::Value], report: sniff::Report) -> String {
    const SHOWN: usize = 10;
    crate::show::leaks_table(&leaks[..leaks.len().min(SHOWN)], report)
}

pub(super) fn list(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(" and ") }
}

//! The table of a report for people: what, result, and whether it is as it must be.

use comfy_table::{Table, presets};

use super::report::Datagrams;
use crate::traffic::outcome::{Outcome, Stalls};

/// Rows of a report.
pub(super) struct Rows(Table);

impl Rows {
    /// None yet.
    pub(super) fn new() -> Self {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["", "result", ""]);
        Self(table)
    }

    /// One more.
    pub(super) fn add(&mut self, what: &str, result: &str, right: bool) {
        self.0.add_row([what, result, if right { "ok" } else { "FAILED" }]);
    }

    /// Longest gaps; none is too long.
    pub(super) fn gap(&mut self, what: &str, Stalls { p50, p99, max }: &Stalls) {
        self.add(what, &format!("p50 {p50}, p99 {p99}, longest {max}"), true);
    }

    /// Datagrams that did not come back; nobody is held to them.
    pub(super) fn datagrams(&mut self, what: &str, Datagrams { sent, answered }: Datagrams) {
        self.add(what, &format!("{} of {sent}", sent.saturating_sub(answered)), true);
    }

    /// Why connections were lost, if any were.
    pub(super) fn lost(&mut self, what: &str, outcome: &Outcome) {
        for (reason, count) in &outcome.reasons {
            self.add(what, &format!("{reason}: {count}"), false);
        }
    }

    /// What the sniffer saw.
    pub(super) fn sniffed(&mut self, wrong: u64, looked_at: u64, missed: u64) {
        self.add("packets with a wrong source", &format!("{wrong} of {looked_at}"), wrong == 0);
        if missed > 0 {
            self.add("packets that the sniffer missed", &missed.to_string(), false);
        }
    }

    /// All of them, as text.
    pub(super) fn print(&self) -> String {
        crate::show::trimmed(&self.0)
    }
}

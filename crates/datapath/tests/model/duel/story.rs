//! What a person needs to understand a disagreement.

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::Duel;
use crate::step::Step;

impl Duel<'_> {
    pub fn story(&self, seed: u64, number: u64, last: &VecDeque<Step>, why: &str) -> String {
        let mut text = format!("seed {seed:#x}, step {number}: {why}\n\nthe last steps:\n");
        for step in last {
            let _ = writeln!(text, "  {step}");
        }
        let _ = writeln!(text, "\nthe model at {}:", self.nat.now);
        for (id, flow) in &self.nat.flows {
            let _ = writeln!(text, "  {id:?} {flow:?}");
        }
        for (id, mapping) in &self.nat.mappings {
            let _ = writeln!(text, "  {id:?} {mapping:?} {} flows", self.nat.flows_of(id));
        }
        for (egress, entry) in &self.nat.world.egress {
            let blocks = &entry.blocks[..usize::from(entry.block_count)];
            let _ = writeln!(
                text,
                "  {egress} path {} share {} shift {} {blocks:?}",
                entry.path, entry.share, entry.shift
            );
        }
        let _ = writeln!(text, "\nthe kernel:");
        let world = self.rig.kernel.read(&self.nat.world);
        for line in world.state() {
            let _ = writeln!(text, "  {line}");
        }
        text
    }
}

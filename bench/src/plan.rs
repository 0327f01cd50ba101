//! Plan time in a large cluster, measured by the planner's own example; here its lines become rows.

use crate::rows::{Row, Spread};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// Name of these rows' configuration, and on the command line.
pub const NAME: &str = "plan";
/// Policies in the example's cluster.
const POLICIES: usize = 10_000;

/// Runs the example.
pub fn measure() -> Result<Vec<Row>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    let output = Command::new("cargo")
        .args(["run", "--quiet", "--locked", "--release", "-p", "egret-plan", "--example", "plan_time"])
        .current_dir(workspace)
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "plan_time failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    let rows: Vec<Row> = String::from_utf8_lossy(&output.stdout).lines().filter_map(row).collect();
    ensure!(!rows.is_empty(), "plan_time printed no figures");
    Ok(rows)
}

/// `what   median ms  (least to most, n=runs)`, and then what it likes; other lines are remarks.
fn row(line: &str) -> Option<Row> {
    let (head, rest) = line.split_once(" ms  (")?;
    let (what, median) = head.trim_end().rsplit_once(' ')?;
    let (least, rest) = rest.split_once(" to ")?;
    let (most, rest) = rest.split_once(", n=")?;
    let (runs, _) = rest.split_once(')')?;
    let words: Vec<&str> =
        what.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    Some(Row {
        config: NAME.into(),
        metric: words.join("_"),
        unit: "ms".into(),
        policies: POLICIES,
        spread: Spread { median: median.parse().ok()?, min: least.parse().ok()?, max: most.parse().ok()? },
        n: runs.parse().ok()?,
        share_of_plain: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_row() {
        let line = "controller, one pod moves                                    4.25 ms  (3.10 to 9.00, n=20), on CPU 4.20";
        let row = row(line).unwrap();
        assert_eq!(row.metric, "controller_one_pod_moves");
        assert_eq!(row.spread, Spread { median: 4.25, min: 3.1, max: 9.0 });
        assert_eq!(row.n, 20);
        assert!(super::row("  12 addresses, 3 statuses").is_none());
    }
}

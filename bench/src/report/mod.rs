//! What people and programs get to see.

mod chart;
mod table;

use crate::machine::Head;
use crate::rows::Row;
use anyhow::{Context, Result};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    head: &'a Head,
    rows: &'a [Row],
}

/// Writes the files and prints the table.
pub fn write(out: &Path, head: &Head, rows: &[Row]) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let json = out.join("bench.json");
    let text = serde_json::to_string_pretty(&Document { head, rows })? + "\n";
    std::fs::write(&json, text).with_context(|| format!("cannot write {}", json.display()))?;
    let picture = out.join("bench.svg");
    std::fs::write(&picture, chart::svg(head, rows))
        .with_context(|| format!("cannot write {}", picture.display()))?;
    print!("{}", table::text(head, rows));
    println!("written: {} and {}", json.display(), picture.display());
    Ok(())
}

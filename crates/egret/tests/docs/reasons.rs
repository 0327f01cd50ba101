//! The page of reasons: all that there are, with what each means and what to do.

use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../../../docs/reasons.md");

/// The rows whose first column is code: by that name, the other columns.
fn rows() -> BTreeMap<&'static str, Vec<&'static str>> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    let columns = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    columns.map(|columns| (columns[0].trim_matches('`'), columns[1..].to_vec())).collect()
}

#[test]
fn the_page_of_reasons_lists_every_verdict_and_every_condition_and_no_other() {
    let verdicts = egret_datapath::REASONS.iter().map(|(name, _)| *name);
    let conditions = egret_api::Reason::ALL.iter().map(|reason| reason.as_str());
    let events = egret_controller::EVENTS.iter().map(|(name, _)| *name);
    let mut all: Vec<&str> = verdicts.chain(conditions).chain(events).collect();
    all.sort_unstable();
    assert_eq!(rows().into_keys().collect::<Vec<_>>(), all);
}

#[test]
fn the_page_of_reasons_says_of_each_what_the_program_says() {
    let conditions = egret_api::Reason::ALL.iter().map(|reason| (reason.as_str(), reason.meaning()));
    let rows = rows();
    for (name, meaning) in
        egret_datapath::REASONS.iter().chain(egret_controller::EVENTS).copied().chain(conditions)
    {
        assert_eq!(rows[name][0], meaning, "docs/reasons.md, {name}");
    }
}

/// Whoever meets a packet that is not carried, or an object that is not in force, is told what to do about it.
#[test]
fn the_page_of_reasons_has_a_cure_for_each_that_needs_one() {
    let rows = rows();
    let verdicts = egret_datapath::REASONS.iter().map(|(name, _)| *name);
    let dropped = verdicts.filter(|name| name.starts_with("DROP_") || name.starts_with("TOLD_"));
    let conditions = egret_api::Reason::ALL.iter().filter(|reason| **reason != egret_api::Reason::Ready);
    for name in dropped.chain(conditions.map(|reason| reason.as_str())) {
        let cure = rows[name].get(1).copied().unwrap_or_default();
        assert!(
            cure.len() > 8 && cure.ends_with(['.', '?']),
            "docs/reasons.md has no cure for {name}: {cure:?}"
        );
    }
}

/// A reason that nothing gives is not on the list.
#[test]
fn every_reason_is_given_by_the_planner() {
    let mut text = String::new();
    crate::tables::sources(&crate::blocks::root().join("crates/plan/src"), &mut text);
    for reason in egret_api::Reason::ALL {
        assert!(text.contains(&format!("Reason::{reason}")), "nothing gives {reason}");
    }
}

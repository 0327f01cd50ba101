//! The pages say what the program knows.

use std::collections::BTreeSet;

/// The first column of a page's tables, as far as it is code.
fn first_column(page: &str) -> BTreeSet<&str> {
    page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name).collect()
}

#[test]
fn the_page_of_reasons_lists_every_verdict_and_every_condition_and_no_other() {
    let page = include_str!("../../../docs/reasons.md");
    let verdicts = egret_datapath::REASONS.iter().map(|(name, _)| *name);
    let conditions = egret_api::Reason::ALL.iter().map(|reason| reason.as_str());
    assert_eq!(first_column(page), verdicts.chain(conditions).collect());
}

#[test]
fn the_readme_prints_the_commands_that_exist() {
    let readme = include_str!("../../../README.md");
    let makefile = include_str!("../../../Makefile");
    for target in ["demo", "test", "bench"] {
        assert!(readme.contains(&format!("make {target}")), "README: make {target}");
        assert!(makefile.contains(&format!("\n{target}:")), "Makefile: {target}");
    }
}

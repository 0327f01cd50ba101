//! Tables of the pages say what the program and its tests know.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_readme_prints_the_commands_that_exist() {
    let readme = include_str!("../../../../README.md");
    let makefile = include_str!("../../../../Makefile");
    for target in ["demo", "test", "bench"] {
        assert!(readme.contains(&format!("make {target}")), "README: make {target}");
        assert!(makefile.contains(&format!("\n{target}:")), "Makefile: {target}");
    }
}

const NAT: &str = include_str!("../../../../docs/nat.md");

const DIALECTS: [&str; 4] = [
    include_str!("../../../../docs/dialects/antrea.md"),
    include_str!("../../../../docs/dialects/deckhouse.md"),
    include_str!("../../../../docs/dialects/loxilb.md"),
    include_str!("../../../../docs/dialects/kube-vip.md"),
];

/// The numbered behaviours of the four systems, of all together, and of Egret beside them: each has its row.
#[test]
fn every_numbered_behaviour_has_a_row_in_the_pages_of_dialects() {
    let numbers = |prefix: &'static str, last: u32| (1..=last).map(move |n| format!("{prefix}{n}"));
    let all: BTreeSet<String> =
        numbers("", 50).chain(numbers("K", 25)).chain(numbers("L", 15)).chain(numbers("X", 4)).collect();
    let rows = DIALECTS.iter().flat_map(|page| page.lines()).filter_map(|line| line.strip_prefix("| "));
    let told: BTreeSet<String> = rows
        .filter_map(|row| row.split_once(" | "))
        .flat_map(|(numbers, _)| numbers.split(", ").map(str::to_owned).collect::<Vec<_>>())
        .filter(|number| number != "number")
        .collect();
    assert_eq!(told, all);
}

/// Every row says what shows it, or that nothing does.
#[test]
fn every_row_of_the_pages_of_dialects_has_its_four_columns() {
    for row in DIALECTS.iter().flat_map(|page| page.lines()).filter(|line| line.starts_with("| ")) {
        let columns: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert!(columns.len() == 4 && columns.iter().all(|column| !column.is_empty()), "{row}");
        let shown = columns[3] == "shown by" || columns[3] == "—" || quoted(columns[3]).count() > 0;
        assert!(shown, "{row}");
    }
}

/// Each system's page, and what it says itself of a gateway or node that dies.
const SYSTEMS: [(&str, &str, &str, &str); 4] = [
    ("antrea", "Antrea", DIALECTS[0], "its own test allows 10 s; connections of the node end"),
    ("deckhouse", "Deckhouse", DIALECTS[1], "\"active connections will be terminated\""),
    (
        "loxilb",
        "LoxiLB",
        DIALECTS[2],
        "\"without any disruption\"; its state synchronisation begins with connections 10 s old",
    ),
    ("kube-vip", "kube-vip", DIALECTS[3], "a lease of 15 s, and connections are not synchronised"),
];

/// Numbered behaviours of a page: all, and those that hold or are departed from on purpose, shown by a test.
fn behaviours(page: &str) -> (usize, usize) {
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| number"));
    rows.fold((0, 0), |(all, held), row| {
        let columns: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let count = columns[0].split(',').count();
        let missing = columns[3] == "—" || columns[2].contains("not served yet");
        (all + count, held + if missing { 0 } else { count })
    })
}

/// What the demos found, as it was kept when the table was made last.
fn failovers(directory: &Path, update: bool) -> serde_json::Value {
    let kept = directory.join("docs/dialects/failover.json");
    let mut found: serde_json::Value = std::fs::read_to_string(&kept)
        .map_or_else(|_| serde_json::json!({}), |text| serde_json::from_str(&text).unwrap());
    if update {
        for (name, ..) in SYSTEMS {
            let Ok(text) = std::fs::read_to_string(directory.join(format!("out/demo-{name}.json"))) else {
                continue;
            };
            let report: serde_json::Value = serde_json::from_str(&text).unwrap();
            let example = &report["examples"][name];
            let all =
                |of: &str| example[of]["held"].as_u64().unwrap() + example[of]["lost"].as_u64().unwrap();
            found[name] = serde_json::json!({
                "connections": all("connections"), "connectionsLost": example["connections"]["lost"],
                "connectionsYoung": example["connections"]["younger_than_10_s"],
                "flows": all("flows"), "flowsLost": example["flows"]["lost"],
                "longestGapMs": example["stall_ms"]["max"].as_f64().unwrap().max(example["flow_stall_ms"]["max"].as_f64().unwrap()),
                "kernel": report["machine"]["kernel"], "cpus": report["machine"]["cpus"],
            });
        }
        std::fs::write(kept, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    found
}

/// The table of figures, from the pages and from what the demos found.
fn figures(found: &serde_json::Value) -> String {
    let mut table = "| | behaviours held | connections lost when the gateway dies | longest gap | what the system says of itself |\n|---|---|---|---|---|\n".to_owned();
    for (name, title, page, own) in SYSTEMS {
        let (all, held) = behaviours(page);
        let demo = &found[name];
        let (lost, gap) = match demo["connections"].as_u64() {
            None => ("—".to_owned(), "—".to_owned()),
            Some(connections) => {
                let young = match demo["connectionsYoung"].as_u64() {
                    Some(young) if young == connections => " (all younger than 10 s)".to_owned(),
                    Some(young) => format!(" ({young} younger than 10 s)"),
                    None => String::new(),
                };
                let tcp = format!("{} of {connections} TCP{young}, ", demo["connectionsLost"]);
                let tcp = if connections == 0 { String::new() } else { tcp };
                let lost = format!("{tcp}{} of {} UDP", demo["flowsLost"], demo["flows"]);
                (lost, format!("{:.2} s", demo["longestGapMs"].as_f64().unwrap() / 1000.0))
            }
        };
        table += &format!("| {title} | {held} of {all} | {lost} | {gap} | {own} |\n");
    }
    table
}

/// `UPDATE_FIGURES=1` writes the table, with what `make demo DIALECT=...` left in `out`.
#[test]
fn the_figures_of_dialects_are_those_of_their_pages_and_demos() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let update = std::env::var_os("UPDATE_FIGURES").is_some();
    let table = figures(&failovers(&root, update));
    let file = root.join("docs/dialects/README.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let (begin, end) = ("<!-- figures -->\n", "<!-- end of figures -->");
    let (before, rest) = page.split_once(begin).expect("docs/dialects/README.md: no <!-- figures -->");
    let (now, after) = rest.split_once(end).expect("docs/dialects/README.md: no <!-- end of figures -->");
    if update {
        std::fs::write(&file, format!("{before}{begin}{table}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(now, table, "run `UPDATE_FIGURES=1 cargo test -p egret --test docs figures`");
}

/// The rows of the tables of requirements, as RFC and columns.
fn requirements() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut rfc = "";
    let mut rows = Vec::new();
    for line in NAT.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            rfc = heading.strip_prefix("RFC ").map_or("", |rest| rest.split(':').next().unwrap_or(""));
        } else if !rfc.is_empty() && line.starts_with("| ") && !line.starts_with("| requirement") {
            rows.push((rfc, line.trim_matches('|').split(" | ").map(str::trim).collect()));
        }
    }
    rows
}

/// The names in the column "shown by" of every table of a page.
fn shown(page: &str) -> Vec<&str> {
    let mut column = None;
    let mut names = Vec::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        match column {
            _ if !line.starts_with('|') => column = None,
            None => column = cells.iter().position(|cell| *cell == "shown by"),
            Some(at) => names.extend(cells.get(at).copied().into_iter().flat_map(quoted)),
        }
    }
    names
}

/// What stands in code, in a text.
pub fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// All sources of tests, and the names of golden scenarios.
pub fn sources(directory: &Path, text: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        } else if path.parent().is_some_and(|parent| parent.ends_with("golden")) {
            text.push_str(&format!("\nfn {}(\n", path.file_stem().unwrap().to_string_lossy()));
        }
    }
}

/// A vector's name is text in the sources, all other tests are functions.
#[test]
fn every_test_that_the_tables_of_the_pages_name_exists() {
    let mut text = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut text);
    let exists = |name: &str| text.contains(&format!("fn {name}(")) || text.contains(&format!("\"{name}\""));
    let others = [include_str!("../../../../docs/upgrade.md"), include_str!("../../../../docs/beside.md")];
    let names: Vec<&str> =
        DIALECTS.iter().chain([&NAT]).chain(&others).flat_map(|page| shown(page)).collect();
    assert!(names.len() > 295, "only {} names were found", names.len());
    let missing: Vec<&str> = names.into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "no test has the name of\n{}", missing.join("\n"));
}

#[test]
fn every_row_of_the_page_of_nat_has_its_four_columns_and_says_what_shows_it() {
    for (rfc, columns) in requirements() {
        assert_eq!(columns.len(), 4, "RFC {rfc}: {columns:?}");
        assert!(columns.iter().all(|column| !column.is_empty()), "RFC {rfc}: {columns:?}");
        assert!(columns[2] == "—" || quoted(columns[2]).count() > 0, "RFC {rfc}: {columns:?}");
    }
}

#[test]
fn the_page_of_nat_has_a_row_for_every_requirement() {
    let rows: BTreeSet<(&str, String)> = requirements()
        .iter()
        .flat_map(|(rfc, columns)| {
            let names = columns[0].split([' ', ',']).take_while(|word| {
                word.is_empty() || word.starts_with("REQ-") || word.starts_with(|c: char| c.is_ascii_digit())
            });
            names.filter(|word| !word.is_empty()).map(|word| (*rfc, word.to_owned())).collect::<Vec<_>>()
        })
        .collect();
    let mut all: Vec<(&str, String)> = Vec::new();
    for (rfc, last, parts) in [
        ("4787", 14, &["3a", "5a", "5b", "5c", "6a", "8a", "9a", "10a", "12a", "12b", "13a", "14a"][..]),
        ("5382", 10, &["2a", "3a", "3b", "4a", "5a", "8a"]),
        ("5508", 11, &["1a", "2a", "3a", "3b", "3c", "3d", "4a", "4b", "4c", "5a", "5b", "5c", "7a"]),
        ("5508", 0, &["10a", "10b", "10c", "10d", "10e", "10f"]),
        ("6888", 15, &["4A", "4B", "4C", "5A", "5B", "11A", "11B", "11C", "11D"]),
    ] {
        let whole = (1..=last).map(|number: u32| number.to_string());
        let parts = parts.iter().map(|part| (*part).to_owned());
        all.extend(whole.chain(parts).map(|name| (rfc, format!("REQ-{name}"))));
    }
    all.extend((2..=12).map(|section: u32| ("7857", section.to_string())));
    all.extend(["2.1", "2.2", "7.1"].map(|section| ("7857", section.to_owned())));
    // These two stand for their parts, or are divided into them.
    let parted = |(rfc, name): &(&str, String)| {
        matches!((*rfc, name.as_str()), ("5508", "REQ-10") | ("6888", "REQ-11"))
    };
    let missing: Vec<_> = all.iter().filter(|name| !parted(name) && !rows.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/nat.md has no row for {missing:?}");
    let unknown: Vec<_> = rows.iter().filter(|row| !all.contains(row)).collect();
    assert!(unknown.is_empty(), "docs/nat.md has rows for what is no requirement: {unknown:?}");
}

#[test]
fn the_page_of_nat_prints_the_usual_times() {
    let usual = serde_json::to_value(egret_api::Timeouts::default()).unwrap();
    for (name, seconds) in usual.as_object().unwrap() {
        let row = format!("| `{name}` | {seconds} |");
        assert!(NAT.contains(&row), "docs/nat.md does not have: {row}");
    }
}

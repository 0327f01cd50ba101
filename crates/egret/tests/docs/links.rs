//! Links of the pages lead somewhere.

use std::collections::BTreeSet;

use crate::blocks::{pages, root};

/// The text of a page without what is code.
fn prose(text: &str) -> String {
    let mut code = false;
    let lines = text.lines().filter(|line| {
        code ^= line.starts_with("```");
        !code
    });
    let lines: Vec<String> =
        lines.map(|line| line.split('`').step_by(2).collect::<Vec<_>>().join("`")).collect();
    lines.join("\n")
}

/// Where links lead.
fn links(text: &str) -> Vec<String> {
    let ends = prose(text);
    let links =
        ends.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link.to_owned());
    links.filter(|link| !link.contains("://")).collect()
}

/// The names by which a page's headings are linked to.
fn headings(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let name = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    };
    headings.map(name).collect()
}

#[test]
fn every_link_of_the_pages_leads_to_a_file_and_a_heading() {
    let mut wrong = Vec::new();
    let mut found = 0;
    for page in pages() {
        let file = root().join(&page);
        let text = std::fs::read_to_string(&file).unwrap();
        for link in links(&text) {
            found += 1;
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            let there = match (target.exists(), heading) {
                (exists, "") => exists,
                (exists, heading) => {
                    exists && headings(&std::fs::read_to_string(&target).unwrap()).contains(heading)
                }
            };
            if !there {
                wrong.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(found > 80, "only {found} links were found");
    assert!(wrong.is_empty(), "these lead nowhere:\n{}", wrong.join("\n"));
}

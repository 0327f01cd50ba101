//! What a page shows of a command, and what the command prints.
//!
//! They are the same but for: spaces (any number is as good as one) and empty lines; how long something took or how old it is
//! (`12s`, `2m3s`, `0.4 ms` is as good as another such) and times of day; and `...` on the page, which stands for anything, as a
//! line of its own for any number of lines.

/// Whether it prints what the page shows.
pub fn is_shown(shown: &[String], printed: &str) -> bool {
    let shown: Vec<Vec<String>> =
        shown.iter().map(|line| words(line)).filter(|line| !line.is_empty()).collect();
    let printed: Vec<Vec<String>> = printed.lines().map(words).filter(|line| !line.is_empty()).collect();
    let anything = |line: &Vec<String>| *line == ["..."];
    matches(&shown, &printed, &anything, &|shown, printed| {
        matches(shown, printed, &|word| word == "...", &|shown, printed| shown == printed)
    })
}

/// Whether `found` is `pattern`, of which some elements stand for any number of others.
fn matches<T>(
    pattern: &[T],
    found: &[T],
    anything: &impl Fn(&T) -> bool,
    same: &impl Fn(&T, &T) -> bool,
) -> bool {
    match pattern.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if anything(first) => {
            (0..=found.len()).any(|skipped| matches(rest, &found[skipped..], anything, same))
        }
        Some((first, rest)) => match found.split_first() {
            Some((next, others)) => same(first, next) && matches(rest, others, anything, same),
            None => false,
        },
    }
}

fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        match word {
            // `0.4 ms`
            "ms" | "s" if words.last().is_some_and(|last| last.parse::<f64>().is_ok()) => {
                words.pop();
                words.push("TIME".to_owned());
            }
            word if is_time(word) => words.push("TIME".to_owned()),
            word => words.push(word.to_owned()),
        }
    }
    words
}

/// `5s`, `2m3s`, `1.5s`, `250ms`, `12:00:01.25` or `2026-01-31T12:00:01Z`.
fn is_time(word: &str) -> bool {
    let digit = word.starts_with(|c: char| c.is_ascii_digit());
    let duration = word.ends_with(['s', 'm', 'h', 'd'])
        && word.chars().all(|c| c.is_ascii_digit() || ".msdh".contains(c));
    let clock =
        word.matches(':').count() == 2 && word.chars().all(|c| c.is_ascii_digit() || ":.-TZ".contains(c));
    digit && (duration || clock)
}

#[test]
fn ages_and_spaces_may_differ_and_nothing_else_does() {
    let shown =
        |page: &str, printed: &str| is_shown(&page.lines().map(str::to_owned).collect::<Vec<_>>(), printed);
    assert!(shown("NAME  AGE\nnode-1  5s\n", "NAME     AGE\n\nnode-1   2m13s\n"));
    assert!(shown("a\n...\nz", "a\nb\nc\nz") && shown("a\n...", "a") && shown("took 0.4 ms", "took 12.1 ms"));
    assert!(shown("IP ... > 1.2.3.4: ...", "IP 10.0.0.1 > 1.2.3.4: ICMP echo, id 4"));
    assert!(shown("2026-01-31T12:00:01Z it", "2027-02-01T00:00:00Z it"));
    assert!(!shown("a", "a\nb") && !shown("a\nb", "a") && !shown("node-1 True", "node-1 False"));
    assert!(!shown("a ... c", "a b") && !shown("10.10.0.64", "10.10.0.65") && !shown("5s", "5"));
    assert!(!shown("at fd00:10:10::1", "at fd00:10:10::2"));
}

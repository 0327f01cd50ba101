//! The result as a picture: one panel per figure, a bar per configuration, its spread as a line across the end.

use super::table::number;
use crate::machine::Head;
use crate::measure::{figure, less_is_better};
use crate::rows::{BASE, Row, find};
use crate::rules::{ALL, Configuration};
use std::fmt::Write;

const PANELS: [(&str, &str); 7] = [
    (figure::TCP, "One TCP stream, Gbit/s"),
    (figure::PPS, "64-byte UDP, packets/s"),
    (figure::CPS, "New TCP connections/s"),
    (figure::GATEWAY, "CPU at the gateway, ns per packet"),
    (figure::OUTSIDE, "CPU of both nodes, us per new connection"),
    (figure::RTT_P50, "Round trip, median, us"),
    (figure::RTT_P99, "Round trip, 99th percentile, us"),
];

const WIDTH: usize = 1180;
const LABELS: usize = 290;
const BARS: usize = 640;
const LINE: usize = 20;
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#222}.t{font-size:17px;font-weight:600}\
.h{font-size:14px;font-weight:600}.s{font-size:11px;fill:#666}.v{font-variant-numeric:tabular-nums}\
.Baseline{fill:#9aa5b1}.Peer{fill:#d9a066}.Reference{fill:#7ea8a0}.Egret{fill:#2f6fb5}\
.w{stroke:#222;stroke-width:1.2}.b{stroke:#9aa5b1;stroke-dasharray:3 3}";

/// The picture, as SVG.
pub fn svg(head: &Head, rows: &[Row]) -> String {
    let mut body = String::new();
    let mut top = 28;
    let _ = writeln!(
        body,
        r#"<text class="t" x="20" y="{top}">Egret beside plain routing and the rules of others</text>"#
    );
    let heading = [
        format!("{}; Linux {}; {}", head.machine, head.kernel, head.date),
        format!(
            "{} rounds, interleaved; bar: median, line: smallest to largest; number after it: share of plain routing",
            head.rounds
        ),
    ];
    let roles = wrap(&format!("{}. {}", head.roles, head.pinning), 180);
    for line in heading.iter().chain(&roles) {
        top += 16;
        let _ = writeln!(body, r#"<text class="s" x="20" y="{top}">{}</text>"#, escape(line));
    }
    for (figure, title) in PANELS {
        top = panel(&mut body, rows, figure, title, 1, top + 34);
    }
    let mut counts: Vec<usize> =
        rows.iter().filter(|row| row.config == BASE && row.policies > 1).map(|row| row.policies).collect();
    counts.sort_unstable();
    counts.dedup();
    for (figure, title) in PANELS {
        for &count in &counts {
            top = panel(&mut body, rows, figure, &format!("{title}, with {count} policies"), count, top + 34);
        }
    }
    let height = top + 24;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
         <style>{STYLE}</style>\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

/// Draws one panel; returns where it ends.
fn panel(body: &mut String, rows: &[Row], figure: &str, title: &str, policies: usize, top: usize) -> usize {
    let found: Vec<(Configuration, &Row)> =
        ALL.iter().filter_map(|one| Some((*one, find(rows, one.name, figure, policies)?))).collect();
    let most = found.iter().map(|(_, row)| row.spread.max).fold(0.0, f64::max);
    if found.is_empty() || most <= 0.0 {
        return top.saturating_sub(34);
    }
    let scale = |value: f64| LABELS as f64 + value / most * BARS as f64;
    let better = if less_is_better(figure) { "less is better" } else { "more is better" };
    let _ = writeln!(
        body,
        r#"<text class="h" x="20" y="{top}">{title}</text><text class="s" x="{LABELS}" y="{top}">{better}</text>"#
    );
    let mut y = top + 10;
    if let Some((_, base)) = found.iter().find(|(one, _)| one.name == BASE) {
        let (x, end) = (scale(base.spread.median), y + LINE * found.len());
        let _ = writeln!(body, r#"<line class="b" x1="{x:.1}" x2="{x:.1}" y1="{y}" y2="{end}"/>"#);
    }
    for (one, row) in found {
        let (text, middle) = (y + 14, y + 9);
        let [end, from, to] = [row.spread.median, row.spread.min, row.spread.max].map(scale);
        let _ = writeln!(body, r#"<text x="20" y="{text}">{}</text>"#, escape(one.label));
        let _ = writeln!(
            body,
            r#"<rect class="{:?}" x="{LABELS}" y="{}" width="{:.1}" height="14"/>"#,
            one.kind,
            y + 2,
            end - LABELS as f64
        );
        let _ =
            writeln!(body, r#"<line class="w" x1="{from:.1}" x2="{to:.1}" y1="{middle}" y2="{middle}"/>"#);
        let share = row.share_of_plain.map(|share| format!("   {:.2}", share.median)).unwrap_or_default();
        let _ = writeln!(
            body,
            r#"<text class="v" x="{:.1}" y="{text}" xml:space="preserve">{}{share}</text>"#,
            to.max(end) + 8.0,
            number(row.spread.median)
        );
        y += LINE;
    }
    y
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        if lines.last().is_some_and(|line| line.len() + word.len() >= width) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

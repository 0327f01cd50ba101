//! The result for people, in the terminal.

use crate::machine::Head;
use crate::measure::figure;
use crate::rows::{Row, find};
use crate::rules::ALL;
use comfy_table::{Cell, CellAlignment, Table, presets};
use std::fmt::Write;

const COLUMNS: [(&str, &str); 7] = [
    (figure::TCP, "TCP\nGbit/s"),
    (figure::PPS, "64-byte UDP\npackets/s"),
    (figure::CPS, "new connections\n/s"),
    (figure::RTT_P50, "round trip\np50, us"),
    (figure::RTT_P99, "round trip\np99, us"),
    (figure::GATEWAY, "gateway CPU\nns/packet"),
    (figure::OUTSIDE, "both nodes' CPU\nus/connection"),
];

/// All tables, with what stands above them.
pub fn text(head: &Head, rows: &[Row]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}\nLinux {}\n{}\n{}\n", head.machine, head.kernel, head.roles, head.pinning);
    let measured = |row: &Row| COLUMNS.iter().any(|(figure, _)| row.metric == *figure);
    if rows.iter().any(|row| row.policies == 1 && measured(row)) {
        let _ = writeln!(
            text,
            "One policy: median and its share of plain routing; below, smallest..largest.\n{}",
            one(rows)
        );
    }
    if rows.iter().any(|row| row.policies > 1 && measured(row)) {
        let _ = writeln!(text, "\nMore policies: median, and the share of plain routing.\n{}", scaled(rows));
    }
    let others: Vec<&Row> = rows
        .iter()
        .filter(|row| ["bytes", "ms", "% of a CPU", "ns per flow"].contains(&row.unit.as_str()))
        .collect();
    if !others.is_empty() {
        let _ =
            writeln!(text, "\nMemory, sweeps and plan time: median (smallest..largest).\n{}", rest(&others));
    }
    text
}

fn one(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let columns: Vec<_> =
        COLUMNS.iter().filter(|(figure, _)| rows.iter().any(|row| row.metric == *figure)).collect();
    table.set_header(std::iter::once("").chain(columns.iter().map(|(_, title)| *title)));
    for configuration in ALL {
        let found: Vec<_> =
            columns.iter().map(|(figure, _)| find(rows, configuration.name, figure, 1)).collect();
        if found.iter().all(Option::is_none) {
            continue;
        }
        let cells = found.into_iter().map(|row| row.map(full).unwrap_or_default());
        table.add_row(std::iter::once(Cell::new(configuration.label)).chain(cells.map(right)));
    }
    table
}

fn scaled(rows: &[Row]) -> Table {
    let ours = |row: &&Row| COLUMNS.iter().any(|(figure, _)| row.metric == *figure);
    let mut counts: Vec<usize> = rows.iter().filter(ours).map(|row| row.policies).collect();
    counts.sort_unstable();
    counts.dedup();
    let figures: Vec<_> = COLUMNS
        .iter()
        .filter(|(figure, _)| rows.iter().any(|row| row.metric == *figure && row.policies > 1))
        .flat_map(|(figure, title)| {
            counts.iter().map(move |count| (*figure, *count, format!("{title}\n{count}")))
        })
        .collect();
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(std::iter::once(String::new()).chain(figures.iter().map(|(_, _, title)| title.clone())));
    for configuration in ALL.iter().filter(|configuration| configuration.scales) {
        let cells: Vec<_> =
            figures.iter().map(|(figure, count, _)| find(rows, configuration.name, figure, *count)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|row| row.map(short).unwrap_or_default());
            table.add_row(std::iter::once(Cell::new(configuration.label)).chain(cells.map(right)));
        }
    }
    table
}

fn rest(rows: &[&Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["", "", "policies", "", ""]);
    for row in rows {
        let words = row.metric.replace('_', " ");
        let cells = [row.config.clone(), words].map(Cell::new);
        let numbers = [number(row.policies as f64), spread(row)].map(right);
        table.add_row(cells.into_iter().chain(numbers).chain([Cell::new(&row.unit)]));
    }
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn spread(row: &Row) -> String {
    let [median, least, most] = [row.spread.median, row.spread.min, row.spread.max].map(number);
    if row.n == 1 { median } else { format!("{median} ({least}..{most})") }
}

fn full(row: &Row) -> String {
    format!("{}\n{}..{}", short(row), number(row.spread.min), number(row.spread.max))
}

fn short(row: &Row) -> String {
    let share = row.share_of_plain.map(|share| format!("  {:.2}", share.median)).unwrap_or_default();
    format!("{}{share}", number(row.spread.median))
}

/// Three digits that count, thousands set apart.
pub fn number(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(1.234), "1.23");
        assert_eq!(number(99.94), "99.9");
        assert_eq!(number(123.4), "123");
        assert_eq!(number(1234567.8), "1,234,568");
    }
}

//! Flows as people read them.

use egret_flows::{Flow, Line, Mark};
use jiff::Timestamp;

use crate::output::{columns, plain};
use crate::time::to_the_second;

fn time(time: Option<Timestamp>) -> String {
    time.map_or("-".to_owned(), to_the_second)
}

fn text(text: Option<impl ToString>) -> String {
    text.map_or("-".to_owned(), |text| text.to_string())
}

/// Why it is as it is: of what was refused.
fn why(reason: Option<&str>, packets: Option<u32>) -> String {
    match (reason, packets) {
        (Some(reason), Some(packets)) => format!("{reason} x{packets}"),
        (Some(reason), None) => reason.to_owned(),
        _ => String::new(),
    }
}

/// A table of flows.
pub fn flows(flows: &[Flow], wide: bool) -> String {
    if flows.is_empty() {
        return "no flow that was asked for is open, or ended or was refused since then".to_owned();
    }
    let usual = ["STATE", "OPENED", "ENDED", "NODE", "POD", "EGRESS", "TO", "PROTOCOL"];
    let mut table = columns(usual);
    let all = ["LAST", "FROM", "POLICY"];
    let shown = if wide {
        usual.iter().chain(&all).chain(&["WHY"]).copied().collect::<Vec<_>>()
    } else {
        usual.iter().chain(&["WHY"]).copied().collect()
    };
    table.set_header(shown);
    for flow in flows {
        let mut cells = vec![
            flow.state.as_str().to_owned(),
            time(flow.opened),
            time(flow.ended),
            if flow.node.is_empty() { "-".to_owned() } else { flow.node.clone() },
            text(flow.pod.as_ref().or(Some(&flow.from.ip().to_string()))),
            text(flow.egress),
            flow.to.to_string(),
            flow.protocol.to_string(),
        ];
        if wide {
            cells.extend([time(flow.last), flow.from.to_string(), text(flow.policy.as_ref())]);
        }
        cells.push(why(flow.reason.as_deref(), flow.packets));
        table.add_row(cells);
    }
    plain(&table)
}

/// What is above events.
pub fn event_header(wide: bool) -> String {
    let more = if wide { "  FROM, POLICY" } else { "" };
    format!(
        "{:20}  {:8}  {:12}  {:30}  {:21}  TO, PROTOCOL, WHY{more}",
        "TIME", "EVENT", "NODE", "POD", "EGRESS"
    )
}

/// An event on a line.
pub fn event(node: &str, line: &Line, wide: bool) -> String {
    let at = to_the_second(line.time());
    let record = match line {
        Line::Record(record) => record,
        Line::Note(note) => {
            let what = match note.log {
                Mark::Began => "the agent began to write".to_owned(),
                Mark::Lost => format!("{} records are lost: they came too fast", note.count),
                Mark::Unwritten => format!("{} records are lost: the disk did not take them", note.count),
                Mark::ClockSet => format!("the clock was set by {} s", note.count),
            };
            return format!("{at:20}  {:8}  {node:12}  {what}", "log");
        }
    };
    let event = format!("{:?}", record.event).to_lowercase();
    let pod = record.pod.clone().unwrap_or_else(|| record.from.ip().to_string());
    let why = why(record.reason.as_deref(), record.packets);
    let more = match wide {
        true => format!("  {} {}", record.from, record.policy.as_deref().unwrap_or("-")),
        false => String::new(),
    };
    format!(
        "{at:20}  {event:8}  {node:12}  {pod:30}  {:21}  {} {} {why}{more}",
        text(record.egress),
        record.to,
        record.protocol
    )
}

//! The screen.

use egret_check::Verdict;

use super::gather::Status;
use crate::output::{columns, plain};

fn names(names: &[String]) -> String {
    if names.is_empty() { "-".to_owned() } else { names.join(",") }
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// How things are, for people.
pub fn screen(status: &Status, wide: bool, colour: bool) -> String {
    let parts = [
        addresses(status, wide),
        gateways(status),
        agents(status, wide),
        objects(status),
        status.report.text(colour && status.report.verdict != Verdict::Ok),
        status
            .problems
            .iter()
            .map(|problem| format!("cannot be read: {problem}"))
            .collect::<Vec<_>>()
            .join("\n"),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

fn addresses(status: &Status, wide: bool) -> String {
    if status.addresses.is_empty() {
        return "no egress address is in use".to_owned();
    }
    let usual = ["ADDRESS", "POOL", "ACTIVE", "LEASED", "FREE", "NODES", "WHY"];
    let mut table = columns(usual);
    if wide {
        table.set_header([
            "ADDRESS",
            "POOL",
            "ACTIVE",
            "LEASED",
            "FREE",
            "NODES",
            "CANDIDATES",
            "POLICIES",
            "WHY",
        ]);
    }
    for address in &status.addresses {
        let mut cells = vec![
            address.address.to_string(),
            address.pool.clone(),
            names(&address.active),
            address.leased.to_string(),
            address.free.to_string(),
            address.nodes.to_string(),
        ];
        if wide {
            cells.extend([names(&address.candidates), names(&address.policies)]);
        }
        cells.push(address.why.clone());
        table.add_row(cells);
    }
    plain(&table)
}

fn gateways(status: &Status) -> String {
    if status.gateways.is_empty() {
        return String::new();
    }
    let mut table = columns(["GATEWAY", "READY", "HOLDS", "MAY SERVE", "WHY NOT"]);
    for gateway in &status.gateways {
        table.add_row([
            gateway.name.clone(),
            yes(gateway.ready).to_owned(),
            names(&gateway.holds),
            gateway.may_serve.to_string(),
            gateway.why.clone().unwrap_or_default(),
        ]);
    }
    plain(&table)
}

/// Agents, those that wait; all of them if asked for.
fn agents(status: &Status, wide: bool) -> String {
    let well = |agent: &&super::gather::Agent| agent.ready && agent.waiting.is_empty();
    let count = status.agents.iter().filter(well).count();
    let flows: u64 = status.agents.iter().map(|agent| agent.flows).sum();
    let line =
        format!("agents: {count} of {} have their whole plan in force; {flows} flows", status.agents.len());
    let shown: Vec<_> = status.agents.iter().filter(|agent| wide || !well(agent)).collect();
    if shown.is_empty() {
        return line;
    }
    let mut table = columns(["AGENT OF", "READY", "FLOWS", "WAITS FOR"]);
    for agent in shown {
        let waiting = agent.waiting.join("; ");
        table.add_row([agent.node.clone(), yes(agent.ready).to_owned(), agent.flows.to_string(), waiting]);
    }
    format!("{line}\n{}", plain(&table))
}

fn objects(status: &Status) -> String {
    let counts: Vec<String> =
        status.objects.iter().map(|objects| format!("{} {}", objects.count, objects.kind)).collect();
    if counts.is_empty() { "no policies and no pools".to_owned() } else { counts.join(", ") }
}

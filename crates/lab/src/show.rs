//! What a lab looks like: its hosts, and what the sniffer has found.

use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use serde_json::{Value, json};

use crate::sniff::Report;
use crate::state::{Host, State};
use crate::{netns, tool};

/// All hosts with links and processes, as JSON.
///
/// # Errors
/// When a host cannot be asked for its links.
pub fn hosts(state: &State) -> Result<Vec<Value>> {
    let pids = netns::processes(state.hosts.values().map(|h| h.netns.clone()));
    let describe = |(name, host): (&String, &Host)| {
        let mut value = json!({
            "name": name,
            "kind": host.kind.as_str(),
            "namespace": host.netns,
            "addresses": host.addresses,
            "links": links(host)?,
            "pids": pids.get(&host.netns).cloned().unwrap_or_default(),
        });
        if let Some(pod) = &host.pod {
            value["pod"] = serde_json::to_value(pod)?;
        }
        if let Some(faults) = state.faults.get(name) {
            value["faults"] = serde_json::to_value(faults)?;
        }
        Ok(value)
    };
    state.hosts.iter().map(describe).collect()
}

fn links(host: &Host) -> Result<Vec<Value>> {
    let text = tool::run(&["ip", "-j", "-n", &host.netns, "addr", "show"])?;
    let links: Vec<Value> = serde_json::from_str(&text).context("ip -j addr")?;
    let describe = |link: &Value| {
        let name = link["ifname"].as_str()?;
        let address = |a: &Value| Some(format!("{}/{}", a["local"].as_str()?, a["prefixlen"]));
        let addresses: Vec<String> = link["addr_info"].as_array()?.iter().filter_map(address).collect();
        let has = |flag: &str| link["flags"].as_array().is_some_and(|f| f.iter().any(|x| x == flag));
        (name != "lo").then(|| {
            json!({
                "name": name,
                "mac": link["address"],
                "addresses": addresses,
                "carrier": has("LOWER_UP"),
                "switchPort": host.ports.get(name),
            })
        })
    };
    Ok(links.iter().filter_map(describe).collect())
}

/// The hosts as a table for people.
pub fn hosts_table(hosts: &[Value]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["HOST", "KIND", "NAMESPACE", "ADDRESSES", "PIDS"]);
    for host in hosts {
        let list = |value: &Value| {
            let words = value
                .as_array()
                .into_iter()
                .flatten()
                .map(|v| v.as_str().map_or(v.to_string(), str::to_owned));
            words.collect::<Vec<_>>().join(" ")
        };
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = match host["pod"]["node"].as_str() {
            Some(node) => format!("pod of {} on {node}", word(&host["pod"]["namespace"])),
            None => word(&host["kind"]),
        };
        table.add_row([
            word(&host["name"]),
            kind,
            word(&host["namespace"]),
            list(&host["addresses"]),
            list(&host["pids"]),
        ]);
    }
    trimmed(&table)
}

/// What the sniffer has found, for people.
pub fn leaks_table(leaks: &[Value], report: Report) -> String {
    let mut text = String::new();
    for leak in leaks {
        let headers = &leak["headers"];
        let word = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
        text += &format!(
            "{}  {}  {} {} -> {}: {}\n",
            word(&leak["time"]),
            word(&leak["link"]),
            word(&headers["protocol"]),
            word(&headers["source"]),
            word(&headers["destination"]),
            word(&leak["message"]),
        );
    }
    let Report { seen, wrong, .. } = report;
    text + &format!("{wrong} of {seen} packets to the outside had a wrong source")
}

/// A table without the blanks at the ends of its lines.
pub fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

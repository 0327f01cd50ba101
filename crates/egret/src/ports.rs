//! `egret ports [ADDRESS]`: whose the ports of egress addresses are, and how far they are used.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use comfy_table::CellAlignment;
use egret_api::{EgressAddressSpec, Object, PortUse};
use serde::Serialize;

use crate::arguments::Question;
use crate::objects;
use crate::output::{columns, plain};

/// Arguments of `egret ports`.
#[derive(Debug, Args)]
pub struct PortsArguments {
    /// Only this egress address
    address: Option<IpAddr>,
    /// Which store, and how to print
    #[command(flatten)]
    question: Question,
}

/// What one node has of one egress address.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct Row {
    address: IpAddr,
    pool: String,
    node: String,
    /// Blocks leased to the node, those included that it is about to give back.
    blocks: usize,
    /// First and last port of each block; of those next to each other, of all.
    ranges: Vec<(u16, u16)>,
    /// Ports in these blocks: towards each remote end of TCP, and in all for UDP and pings.
    ports: usize,
    /// Flows in them, as the node reported last; absent if it said nothing of this address.
    #[serde(skip_serializing_if = "Option::is_none")]
    flows: Option<u64>,
    /// Blocks that the node would like to have; absent as above.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted_blocks: Option<u16>,
}

/// Prints the ports of every egress address, or of one.
///
/// # Errors
/// When the store cannot be read.
pub fn run(arguments: PortsArguments) -> Result<()> {
    let PortsArguments { address, question: Question { store, output } } = arguments;
    let (objects, _) = objects::read(store.source()?)?;
    let rows = rows(&objects, address);
    output.print(&rows, |wide| table(&rows, wide))
}

/// The records of egress addresses, in the order of the addresses.
pub fn records(objects: &[Arc<Object>]) -> BTreeMap<IpAddr, &EgressAddressSpec> {
    let record = |object: &'_ Arc<Object>| -> Option<IpAddr> { spec(object)?.address.parse().ok() };
    objects.iter().filter_map(|object| Some((record(object)?, spec(object)?))).collect()
}

fn spec(object: &Object) -> Option<&EgressAddressSpec> {
    match object {
        Object::EgressAddress(record) => Some(&record.spec),
        _ => None,
    }
}

fn rows(objects: &[Arc<Object>], only: Option<IpAddr>) -> Vec<Row> {
    let mut uses: BTreeMap<(&str, &str), &PortUse> = BTreeMap::new();
    for object in objects {
        if let Object::EgressNode(record) = &**object {
            let node = record.metadata.name.as_deref().unwrap_or_default();
            uses.extend(
                record.spec.ports.iter().map(|(address, port_use)| ((node, address.as_str()), port_use)),
            );
        }
    }
    let mut rows = Vec::new();
    for (address, record) in
        records(objects).into_iter().filter(|(address, _)| only.is_none_or(|o| o == *address))
    {
        let mut blocks: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
        for lease in &record.leases {
            blocks.entry(&lease.node).or_default().push(lease.first_port);
        }
        for (node, blocks) in blocks {
            let port_use = uses.get(&(node, record.address.as_str()));
            rows.push(Row {
                address,
                pool: record.pool.clone(),
                node: node.to_owned(),
                ranges: ranges(&blocks, record.block_size),
                blocks: blocks.len(),
                ports: blocks.len() * usize::from(record.block_size),
                flows: port_use.map(|port_use| port_use.flows),
                wanted_blocks: port_use.map(|port_use| port_use.wanted_blocks),
            });
        }
    }
    rows
}

/// First and last ports of what these blocks are together.
fn ranges(first_ports: &[u16], size: u16) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    let mut sorted = first_ports.to_vec();
    sorted.sort_unstable();
    for first in sorted {
        let last = first.saturating_add(size.saturating_sub(1));
        match ranges.last_mut() {
            Some(before) if before.1.checked_add(1) == Some(first) => before.1 = last,
            _ => ranges.push((first, last)),
        }
    }
    ranges
}

fn table(rows: &[Row], wide: bool) -> String {
    if rows.is_empty() {
        return "no ports are leased: no pod that runs is selected by a policy with an address".to_owned();
    }
    let mut table = columns(["ADDRESS", "POOL", "NODE", "BLOCKS", "WANTED", "PORTS", "FLOWS"]);
    if wide {
        table.set_header(["ADDRESS", "POOL", "NODE", "BLOCKS", "WANTED", "PORTS", "FLOWS", "RANGES"]);
    }
    for row in rows {
        let count = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
        let mut cells = vec![
            row.address.to_string(),
            row.pool.clone(),
            row.node.clone(),
            row.blocks.to_string(),
            count(row.wanted_blocks.map(u64::from)),
            row.ports.to_string(),
            count(row.flows),
        ];
        if wide {
            let ranges: Vec<String> =
                row.ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
            cells.push(ranges.join(","));
        }
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(3).take(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    plain(&table)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use egret_api::Kind;
    use serde_json::json;

    /// Two nodes with ports of one address, of which one says how it uses them, and their pods.
    pub fn world() -> Vec<Arc<Object>> {
        let lease = |node: &str, first: u16| json!({"node": node, "firstPort": first, "revision": 2});
        let objects = [
            (
                Kind::EgressAddress,
                json!({"metadata": {"name": "192-0-2-11"}, "spec": {
                "address": "192.0.2.11", "pool": "EgressPool/prod", "candidates": ["gateway"], "blockSize": 256, "revision": 3,
                "claims": [{"kind": "EgressPolicy", "namespace": "prod", "name": "web"}],
                "leases": [lease("a", 1024), lease("a", 1280), lease("b", 1536)]}}),
            ),
            (
                Kind::EgressNode,
                json!({"metadata": {"name": "a"}, "spec": {
                "ports": {"192.0.2.11": {"wantedBlocks": 4, "flows": 17}}}}),
            ),
            (Kind::Namespace, json!({"metadata": {"name": "prod"}})),
            (
                Kind::Pod,
                json!({"metadata": {"name": "web-1", "namespace": "prod", "labels": {"app": "web"}},
                "spec": {"nodeName": "a", "containers": []}, "status": {"podIPs": [{"ip": "10.244.1.10"}]}}),
            ),
            (
                Kind::Pod,
                json!({"metadata": {"name": "other", "namespace": "prod"},
                "spec": {"nodeName": "a", "containers": []}, "status": {"podIPs": [{"ip": "10.244.1.11"}]}}),
            ),
            (
                Kind::EgressPolicy,
                json!({"metadata": {"name": "web", "namespace": "prod"},
                "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "pool": "prod"}}),
            ),
        ];
        let decode = |(kind, object): (Kind, serde_json::Value)| Arc::new(kind.decode(object).unwrap());
        objects.map(decode).into()
    }

    #[test]
    fn each_node_has_a_row_for_each_address_it_leases_ports_of() {
        let rows = rows(&world(), None);
        let expected = "ADDRESS     POOL             NODE  BLOCKS  WANTED  PORTS  FLOWS\n\
                        192.0.2.11  EgressPool/prod  a          2       4    512     17\n\
                        192.0.2.11  EgressPool/prod  b          1       -    256      -";
        let words = |text: &str| {
            text.lines()
                .map(|line| line.split_whitespace().map(str::to_owned).collect())
                .collect::<Vec<Vec<_>>>()
        };
        assert_eq!(words(&table(&rows, false)), words(expected), "{}", table(&rows, false));
        assert!(table(&rows, true).contains("1024-1535"), "{}", table(&rows, true));
        assert_eq!(super::rows(&world(), Some("192.0.2.12".parse().unwrap())), []);
        assert_eq!(serde_json::to_value(&rows[1]).unwrap().get("flows"), None);
    }
}

//! `egret ports [ADDRESS]`: whose the ports of egress addresses are, and how far they are used.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use egret_api::{EgressAddressSpec, Object, PortUse};
use serde::Serialize;

use crate::arguments::ReadArguments;
use crate::objects;
use crate::output::Output;

/// Arguments of `egret ports`.
#[derive(Debug, Args)]
pub struct PortsArguments {
    /// Only this egress address
    address: Option<IpAddr>,
    /// Where objects come from
    #[command(flatten)]
    store: ReadArguments,
    /// How to print
    #[arg(short, long, default_value = "text")]
    output: Output,
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
    let PortsArguments { address, store, output } = arguments;
    let (objects, _) = objects::read(store.source()?)?;
    let rows = rows(&objects, address);
    output.print(&rows, || table(&rows))
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
        let mut blocks: BTreeMap<&str, usize> = BTreeMap::new();
        for lease in &record.leases {
            *blocks.entry(&lease.node).or_default() += 1;
        }
        for (node, blocks) in blocks {
            let port_use = uses.get(&(node, record.address.as_str()));
            rows.push(Row {
                address,
                pool: record.pool.clone(),
                node: node.to_owned(),
                blocks,
                ports: blocks * usize::from(record.block_size),
                flows: port_use.map(|port_use| port_use.flows),
                wanted_blocks: port_use.map(|port_use| port_use.wanted_blocks),
            });
        }
    }
    rows
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no ports are leased: no pod that runs is selected by a policy with an address".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ADDRESS", "POOL", "NODE", "BLOCKS", "WANTED", "PORTS", "FLOWS"]);
    for row in rows {
        let count = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
        table.add_row([
            row.address.to_string(),
            row.pool.clone(),
            row.node.clone(),
            row.blocks.to_string(),
            count(row.wanted_blocks.map(u64::from)),
            row.ports.to_string(),
            count(row.flows),
        ]);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
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
        assert_eq!(words(&table(&rows)), words(expected), "{}", table(&rows));
        assert_eq!(super::rows(&world(), Some("192.0.2.12".parse().unwrap())), []);
        assert_eq!(serde_json::to_value(&rows[1]).unwrap().get("flows"), None);
    }
}

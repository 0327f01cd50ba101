//! What this node tells the others: its EgressNode record, written when it differs enough.

use std::collections::BTreeMap;
use std::time::Duration;

use egret_api::{EgressNode, EgressNodeSpec, Object, PortUse, Wire};
use egret_plan::LocalWire;
use egret_plan::tables::Mac;
use egret_store::Recorder;
use tokio::sync::watch;

use crate::kernel::Kernel;
use crate::node::Node;

/// A write that failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// The record of a node; `None` until its first plan is in force: what an earlier process wrote stands till then.
pub(crate) fn record<K: Kernel>(node: &Node<K>) -> Option<EgressNodeSpec> {
    let (in_force, links) = (node.in_force()?, node.link_snapshot()?);
    let plan = &in_force.plan;
    let wire = |wire: &LocalWire| Wire {
        interface: wire.interface.clone(),
        addresses: wire.addresses.iter().map(ToString::to_string).collect(),
        primary: wire.primary.iter().map(ToString::to_string).collect(),
        carrier: wire.carrier,
    };
    let text = |map: &BTreeMap<std::net::IpAddr, String>| {
        map.iter().map(|(address, node)| (address.to_string(), node.clone())).collect()
    };
    Some(EgressNodeSpec {
        underlay: links.underlay.as_ref()?.address.to_string(),
        // Said only by a node whose underlay's program takes packets that come without tunnel.
        underlay_mac: links
            .underlay
            .as_ref()
            .filter(|underlay| node.takes_without_tunnel(underlay.link))
            .map(|underlay| mac(underlay.mac)),
        wires: links.wires.iter().map(wire).collect(),
        programmed: plan
            .programmed
            .iter()
            .map(|(address, revision)| (address.to_string(), *revision))
            .collect(),
        ports: node
            .ports()
            .demand()
            .iter()
            .map(|(address, used)| (address.to_string(), used.clone()))
            .collect(),
        holds: plan.holds.keys().map(ToString::to_string).collect(),
        holders: text(&plan.holders),
        links: plan.links.iter().cloned().collect(),
        ready: true,
        observed_objects: in_force.digests.objects.clone(),
        observed_addresses: in_force.digests.addresses.clone(),
        waiting: node.waiting(),
    })
}

fn mac(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Whether a record is worth writing after another: the number of flows changes all the time, and is of use only
/// roughly.
pub(crate) fn differs(old: &EgressNodeSpec, new: &EgressNodeSpec) -> bool {
    let close = |old: u64, new: u64| old.abs_diff(new) <= 16.max(old / 10) && (old == 0) == (new == 0);
    let smoothed = |address: &String, used: &PortUse| {
        let flows = old.ports.get(address).map(|old| old.flows).filter(|flows| close(*flows, used.flows));
        PortUse { flows: flows.unwrap_or(used.flows), ..used.clone() }
    };
    let ports = new.ports.iter().map(|(address, used)| (address.clone(), smoothed(address, used))).collect();
    *old != EgressNodeSpec { ports, ..new.clone() }
}

/// Writes the newest record until nobody makes new ones. Nothing else waits for it.
pub(crate) async fn write(
    node: String,
    recorder: impl Recorder,
    mut records: watch::Receiver<Option<EgressNodeSpec>>,
) {
    let mut written: Option<EgressNodeSpec> = None;
    while records.changed().await.is_ok() {
        loop {
            let Some(spec) = records.borrow_and_update().clone() else { break };
            if written.as_ref().is_some_and(|written| !differs(written, &spec)) {
                break;
            }
            let object = Object::EgressNode(Box::new(EgressNode::new(&node, spec.clone())));
            match recorder.write_record(&object).await {
                Ok(()) => written = Some(spec),
                Err(error) => {
                    tracing::warn!("the node's record is not written: {error}");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(flows: u64, busy: &[u16]) -> EgressNodeSpec {
        let used = PortUse { wanted_blocks: 2, flows, busy_blocks: busy.to_vec() };
        EgressNodeSpec { ports: [("192.0.2.1".to_owned(), used)].into(), ..EgressNodeSpec::default() }
    }

    #[test]
    fn few_flows_more_or_less_are_no_news() {
        assert!(!differs(&spec(1000, &[1024]), &spec(1090, &[1024])));
        assert!(!differs(&spec(3, &[1024]), &spec(12, &[1024])));
        assert!(differs(&spec(1000, &[1024]), &spec(1200, &[1024])));
        assert!(differs(&spec(0, &[]), &spec(1, &[])), "the first flow is news");
        assert!(differs(&spec(1, &[1024]), &spec(0, &[1024])), "so is the end of the last");
        assert!(differs(&spec(10, &[1024]), &spec(10, &[1024, 2048])));
        assert!(differs(&spec(10, &[]), &EgressNodeSpec { ready: true, ..spec(10, &[]) }));
    }

    #[test]
    fn link_layer_addresses_are_written_as_people_know_them() {
        assert_eq!(mac([2, 0xe6, 0x72, 0x65, 0x74, 1]), "02:e6:72:65:74:01");
    }
}

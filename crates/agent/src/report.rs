//! What this node tells the others: its EgressNode record, written when it differs enough.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use egret_api::{EgressNode, EgressNodeSpec, Object, PortUse, Wire};
use egret_plan::LocalWire;
use egret_plan::tables::Mac;
use egret_store::Recorder;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use crate::kernel::Kernel;
use crate::node::Node;

/// A write that failed is tried again after this, and after twice as long each time.
const AGAIN: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(8);
/// That this node has seen what others wrote is news to people only: it is told so long after the last write, or with
/// other news.
const SEEN: Duration = Duration::from_millis(200);

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
        boot_id: String::new(),
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

/// Whether a record tells nothing after another but what the node has seen.
fn only_seen(old: &EgressNodeSpec, new: &EgressNodeSpec) -> bool {
    let (observed_objects, observed_addresses) =
        (old.observed_objects.clone(), old.observed_addresses.clone());
    !differs(old, &EgressNodeSpec { observed_objects, observed_addresses, ..new.clone() })
}

/// Writes the newest record until nobody makes new ones, and the same again when somebody has removed it. Nothing else
/// waits for it.
pub(crate) async fn write(
    node: String,
    recorder: impl Recorder,
    mut records: watch::Receiver<Option<EgressNodeSpec>>,
    lost: Arc<Notify>,
) {
    let mut pause = AGAIN;
    let mut written: Option<(EgressNodeSpec, Instant)> = None;
    let boot_id = boot_id();
    loop {
        tokio::select! {
            changed = records.changed() => if changed.is_err() {
                return;
            },
            () = lost.notified() => written = None,
        }
        loop {
            let Some(spec) = records.borrow_and_update().clone() else { break };
            let spec = EgressNodeSpec { boot_id: boot_id.clone(), ..spec };
            if let Some((before, at)) = &written {
                if !differs(before, &spec) {
                    break;
                }
                if at.elapsed() < SEEN && only_seen(before, &spec) {
                    // Whichever comes first; if nobody makes new ones any more, the time does.
                    let _ = timeout_at(*at + SEEN, records.changed()).await;
                    continue;
                }
            }
            let object = Object::EgressNode(Box::new(EgressNode::new(&node, spec.clone())));
            match recorder.write_record(&object).await {
                Ok(()) => (written, pause) = (Some((spec, Instant::now())), AGAIN),
                Err(error) => {
                    tracing::warn!("the node's record is not written: {error}");
                    tokio::time::sleep(pause).await;
                    pause = LAST.min(pause * 2);
                }
            }
        }
    }
}

/// How the kernel, and with it kubelet, names the time since the machine was started.
fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
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

    /// Counts what is written.
    #[derive(Clone, Default)]
    struct Counted(std::sync::Arc<std::sync::Mutex<Vec<EgressNodeSpec>>>);

    impl Recorder for Counted {
        async fn write_record(&self, object: &Object) -> Result<(), egret_store::StoreError> {
            let Object::EgressNode(node) = object else { panic!("{object:?}") };
            self.0.lock().unwrap().push(node.spec.clone());
            Ok(())
        }
        async fn delete_record(&self, _: &egret_api::ObjectKey) -> Result<(), egret_store::StoreError> {
            Ok(())
        }
        async fn write_status(
            &self,
            _: &egret_api::ObjectKey,
            _: &serde_json::Value,
        ) -> Result<(), egret_store::StoreError> {
            Ok(())
        }
        async fn delete_status(&self, _: &egret_api::ObjectKey) -> Result<(), egret_store::StoreError> {
            Ok(())
        }
        fn tell(&self, _: egret_store::Event) {}
        async fn write_progress(&self, _: &egret_store::Progress) -> Result<(), egret_store::StoreError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_was_seen_is_told_with_other_news_or_a_little_later_and_all_else_at_once() {
        let (recorder, (sender, receiver)) = (Counted::default(), watch::channel(None));
        let lost = Arc::new(Notify::new());
        let task = tokio::spawn(write("node-1".into(), recorder.clone(), receiver, lost.clone()));
        let written = async |count: usize| {
            let deadline = Instant::now() + Duration::from_secs(5);
            loop {
                let records = recorder.0.lock().unwrap().clone();
                if records.len() >= count {
                    return records;
                }
                assert!(Instant::now() < deadline, "{records:?}");
                tokio::task::yield_now().await;
            }
        };
        let records_of = |spec: EgressNodeSpec| EgressNodeSpec { boot_id: boot_id(), ..spec };
        let seen =
            |digest: &str, flows| EgressNodeSpec { observed_addresses: digest.into(), ..spec(flows, &[]) };
        let begun = Instant::now();
        sender.send_replace(Some(seen("a", 1)));
        written(1).await;
        for digest in ["b", "c", "d"] {
            sender.send_replace(Some(seen(digest, 1)));
            tokio::task::yield_now().await;
        }
        sender.send_replace(Some(seen("d", 100)));
        let records = written(2).await;
        assert_eq!((records[1].observed_addresses.as_str(), records[1].ports["192.0.2.1"].flows), ("d", 100));
        sender.send_replace(Some(seen("e", 100)));
        assert_eq!(written(3).await[2], records_of(seen("e", 100)));
        assert!(begun.elapsed() >= SEEN, "only that it was seen is no haste");
        lost.notify_one();
        assert_eq!(written(4).await[3], records_of(seen("e", 100)), "somebody removed it");
        task.abort();
    }

    #[test]
    fn link_layer_addresses_are_written_as_people_know_them() {
        assert_eq!(mac([2, 0xe6, 0x72, 0x65, 0x74, 1]), "02:e6:72:65:74:01");
    }
}

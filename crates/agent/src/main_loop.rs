//! Turns every event into a step of the node, and tells the other tasks what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use egret_api::EgressNodeSpec;
use egret_datapath::LinkSnapshot;
use egret_store::Changes;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::kernel::Kernel;
use crate::links::LinkProbes;
use crate::liveness::Verdict;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::report::record;
use crate::surroundings::PodAddresses;

const SWEEP: Duration = Duration::from_secs(1);
/// New flows are counted so often.
const OPENED: Duration = Duration::from_millis(50);
/// A sweep that is not through goes on after this.
const SWEEP_ON: Duration = Duration::from_millis(40);
/// The guard's counters are asked of another program, which costs more than reading a map.
const GUARD: Duration = Duration::from_secs(10);
/// Others may empty our tables or rules; this is how long that can go unnoticed.
const VERIFY: Duration = Duration::from_secs(30);

/// What the other tasks tell the main loop, and what it tells them.
pub(crate) struct Channels {
    pub batches: mpsc::UnboundedReceiver<Changes>,
    pub links: watch::Receiver<Option<LinkSnapshot>>,
    pub verdict: watch::Receiver<Verdict>,
    /// Gateways whose link carries packets without tunnel.
    pub working: watch::Receiver<BTreeSet<String>>,
    /// Addresses whose links are wanted.
    pub pods: watch::Sender<PodAddresses>,
    /// Gateways to be probed.
    pub probes: watch::Sender<BTreeMap<String, IpAddr>>,
    /// Links to be tried.
    pub link_probes: watch::Sender<LinkProbes>,
    pub records: watch::Sender<Option<EgressNodeSpec>>,
    /// Rung when somebody else has removed this node's record.
    pub lost: Arc<Notify>,
}

/// Runs for as long as the other tasks do.
pub(crate) async fn run<K: Kernel>(
    mut node: Node<K>,
    mut channels: Channels,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let mut sweeps = interval(SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut checks = interval(VERIFY);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    checks.reset();
    let mut opened = interval(OPENED);
    opened.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut guard = interval(GUARD);
    guard.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = node.next();
        let due = async {
            match next {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // What connections depend on goes first.
            biased;
            changed = channels.verdict.changed() => {
                changed?;
                let verdict = channels.verdict.borrow_and_update().clone();
                node.gateways(verdict);
            }
            changed = channels.working.changed() => {
                changed?;
                let working = channels.working.borrow_and_update().clone();
                node.direct(working);
            }
            changed = channels.links.changed() => {
                changed?;
                let links = channels.links.borrow_and_update().clone();
                if let Some(links) = links {
                    block_in_place(|| node.links(links));
                }
            }
            batch = channels.batches.recv() => {
                let (mut batch, mut news) = (batch, false);
                while let Some(next) = batch {
                    if next.lost.contains(&node.own_record()) {
                        channels.lost.notify_one();
                    }
                    news |= node.objects(next);
                    batch = channels.batches.try_recv().ok();
                }
                anyhow::ensure!(!channels.batches.is_closed(), "the store is no longer followed");
                if !news {
                    continue;
                }
            }
            _ = sweeps.tick() => {
                let flows = block_in_place(|| node.sweep());
                metrics.swept(flows);
                if flows.is_none() {
                    sweeps.reset_after(SWEEP_ON);
                } else if node.ask() {
                    tell(&channels, &node);
                }
                continue;
            }
            _ = opened.tick() => {
                if block_in_place(|| node.count_opened()) && node.ask() {
                    tell(&channels, &node);
                }
                continue;
            }
            _ = guard.tick() => {
                metrics.guarded(&block_in_place(|| node.kernel().guard_drops()));
                continue;
            }
            _ = checks.tick() => node.verify(),
            () = due => node.announce_due(Instant::now()),
        }
        let took = block_in_place(|| node.step(Instant::now()));
        metrics.stepped(&node, took);
        tell(&channels, &node);
    }
}

fn tell<K: Kernel>(channels: &Channels, node: &Node<K>) {
    fn set<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
        sender.send_if_modified(|old| {
            let differs = *old != value;
            *old = value;
            differs
        });
    }
    set(&channels.probes, node.probes());
    set(&channels.link_probes, node.link_probes().clone());
    set(&channels.pods, node.pod_addresses());
    set(&channels.records, record(node));
}

//! The agent's figures and its own state, for `/metrics`, `/readyz` and `/healthz`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use egret_datapath::{Counters, GuardDrops};
use egret_status::Report;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::kernel::Kernel;
use crate::node::{Node, Took};

/// Without a sign of life of the main loop for so long, the agent should be started anew.
const STUCK: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Address {
    address: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    place: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Gateway {
    node: String,
}

/// Figures and state.
pub(crate) struct Metrics {
    registry: Registry,
    packets: Family<Reason, Counter>,
    bytes: Family<Reason, Counter>,
    guard: Family<Reason, Counter>,
    flows: Gauge,
    resets: Counter,
    port_blocks: Family<Address, Gauge>,
    gateway_alive: Family<Gateway, Gauge>,
    plan: Histogram,
    apply: Histogram,
    sweep: Histogram,
    changes: Counter,
    flow_records_lost: Family<Place, Counter>,
    flow_log: Gauge,
    /// What the kernel counts; asked when somebody asks for it.
    kernel: OnceLock<Arc<Counters>>,
    state: Mutex<State>,
}

struct State {
    in_force: bool,
    /// There is no main loop any more, and nothing for it to do.
    removed: bool,
    waiting: Vec<String>,
    alive: Instant,
    /// Blocks of each address, as they were set last.
    blocks: BTreeMap<IpAddr, usize>,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.000_05, 3.0, 12));
        let mut new = Self {
            registry: Registry::default(),
            packets: Family::default(),
            bytes: Family::default(),
            guard: Family::default(),
            flows: Gauge::default(),
            resets: Counter::default(),
            port_blocks: Family::default(),
            gateway_alive: Family::default(),
            plan: seconds(),
            apply: seconds(),
            sweep: seconds(),
            changes: Counter::default(),
            flow_records_lost: Family::default(),
            flow_log: Gauge::default(),
            kernel: OnceLock::new(),
            state: Mutex::new(State {
                in_force: false,
                removed: false,
                waiting: vec!["the store is not open yet".to_owned()],
                alive: Instant::now(),
                blocks: BTreeMap::new(),
            }),
        };
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let registry = &mut new.registry;
        registry.register("egret_build", "Version of the program", build);
        registry.register("egret_packets", "Packets by the verdict they ended in", new.packets.clone());
        let help = "Bytes of packets by the verdict they ended in";
        registry.register_with_unit("egret_packet", help, Unit::Bytes, new.bytes.clone());
        let help = "Packets that the guard in the forward path dropped: of selected pods, of unknown ones, and what the \
                    kernel would have forwarded of an egress address";
        registry.register("egret_guard_dropped_packets", help, new.guard.clone());
        registry.register("egret_flows", "Flows of this node's pods", new.flows.clone());
        let help = "Connections reset because the gateway whose own address they had is gone";
        registry.register("egret_connections_reset", help, new.resets.clone());
        let help = "Blocks of ports of an egress address from which this node's new flows take a port";
        registry.register("egret_port_blocks", help, new.port_blocks.clone());
        let help = "1 if the gateway answers this node's probes and is ready, else 0";
        registry.register("egret_gateway_alive", help, new.gateway_alive.clone());
        let help = "Time to plan this node";
        registry.register_with_unit("egret_plan", help, Unit::Seconds, new.plan.clone());
        let help = "Time to bring the kernel up to a plan that differs";
        registry.register_with_unit("egret_apply", help, Unit::Seconds, new.apply.clone());
        let help = "Time that one sweep of all flows took, without what the agent did in between";
        registry.register_with_unit("egret_sweep", help, Unit::Seconds, new.sweep.clone());
        registry.register(
            "egret_changes",
            "Entries of the kernel's tables set or removed",
            new.changes.clone(),
        );
        let help = "Records of flows that are not in the log: there was no room in the kernel, or on the disk, or refusals were too \
                    many";
        registry.register("egret_flow_records_lost", help, new.flow_records_lost.clone());
        let help = "Size of the log of flows on the disk";
        registry.register_with_unit("egret_flow_log", help, Unit::Bytes, new.flow_log.clone());
        new
    }
}

impl Metrics {
    /// What it is waiting for before the main loop begins.
    pub(crate) fn starting(&self, waits_for: impl Into<String>) {
        let waits_for = waits_for.into();
        tracing::info!("{waits_for}");
        let mut state = self.state();
        state.waiting = vec![waits_for];
        state.alive = Instant::now();
    }

    /// The main loop has made a step.
    pub(crate) fn stepped<K: Kernel>(&self, node: &Node<K>, took: Took) {
        self.plan.observe(took.plan.as_secs_f64());
        if let Some(apply) = took.apply {
            self.apply.observe(apply.as_secs_f64());
        }
        self.changes.inc_by(took.changes as u64);
        self.gateways(node.gateways_judged());
        let mut state = self.state();
        let blocks = node.tables().egress.iter().map(|(address, entry)| (*address, entry.blocks.len()));
        self.blocks(blocks, &mut state.blocks);
        state.in_force = node.in_force().is_some();
        state.waiting = node.waiting();
        state.alive = Instant::now();
    }

    /// Nothing of Egret is left on this node.
    pub(crate) fn removed(&self) {
        let mut state = self.state();
        (state.in_force, state.removed) = (true, true);
    }

    /// The datapath is open, and counts packets.
    pub(crate) fn opened(&self, counters: Arc<Counters>) {
        // One datapath in the life of a process.
        let _ = self.kernel.set(counters);
    }

    /// A sweep has gone on; `done`: the flows that it counted, connections it reset, and how long it took in all.
    pub(crate) fn swept(&self, done: Option<(u32, u32, Duration)>) {
        if let Some((flows, reset, took)) = done {
            self.resets.inc_by(reset.into());
            self.flows.set(flows.into());
            self.sweep.observe(took.as_secs_f64());
        }
        self.state().alive = Instant::now();
    }

    fn count_packets(&self) {
        match self.kernel.get().map(|counters| counters.read()) {
            None => (),
            Some(Err(error)) => tracing::warn!("packets cannot be counted: {error}"),
            Some(Ok(packets)) => {
                for (reason, counter) in packets {
                    let label = Reason { reason };
                    raise(&self.packets.get_or_create(&label), counter.packets);
                    raise(&self.bytes.get_or_create(&label), counter.bytes);
                }
            }
        }
    }

    /// The guard was asked what it dropped.
    pub(crate) fn guarded(&self, drops: &GuardDrops) {
        let reasons = [("captured", drops.captured), ("unknown", drops.unknown), ("egress", drops.egress)];
        for (reason, counter) in reasons {
            raise(&self.guard.get_or_create(&Reason { reason: reason.to_owned() }), counter.packets);
        }
    }

    /// The log of flows has so many bytes; so many records of flows, and of refusals, found no room in the kernel since its maps
    /// were made, and so many none on the disk just now.
    pub(crate) fn flow_log(&self, bytes: u64, (flows, refusals): (u64, u64), disk: u64) {
        self.flow_log.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let lost = |place| self.flow_records_lost.get_or_create(&Place { place });
        raise(&lost("kernel"), flows);
        raise(&lost("refusals"), refusals);
        lost("disk").inc_by(disk);
    }

    /// Sets what differs from before.
    fn blocks(&self, now: impl Iterator<Item = (IpAddr, usize)>, before: &mut BTreeMap<IpAddr, usize>) {
        let label = |address: IpAddr| Address { address: address.to_string() };
        let mut gone = std::mem::take(before);
        for (address, count) in now {
            if gone.remove(&address) != Some(count) {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                self.port_blocks.get_or_create(&label(address)).set(count);
            }
            before.insert(address, count);
        }
        for address in gone.into_keys() {
            self.port_blocks.remove(&label(address));
        }
    }

    fn gateways<'a>(&self, judged: impl Iterator<Item = (&'a String, bool)>) {
        self.gateway_alive.clear();
        for (node, alive) in judged {
            self.gateway_alive.get_or_create(&Gateway { node: node.clone() }).set(alive.into());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kernel counts for longer than this process lives.
fn raise(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

impl Report for Metrics {
    fn metrics(&self) -> String {
        self.count_packets();
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn health(&self) -> Result<(), String> {
        let state = self.state();
        let silent = state.alive.elapsed();
        match state.removed || silent < STUCK {
            true => Ok(()),
            false => Err(format!("no sign of life of the main loop for {} s", silent.as_secs())),
        }
    }

    fn ready(&self) -> Result<(), String> {
        let state = self.state();
        match state.in_force {
            true => Ok(()),
            false => Err(state.waiting.join("\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_answered_whatever_was_asked_before_and_tells_of_a_main_loop_that_stands_still() {
        let metrics = Arc::new(Metrics::default());
        let (say, heard) = std::sync::mpsc::channel();
        let asked = metrics.clone();
        // One that waits for itself would wait for ever.
        std::thread::spawn(move || {
            for _ in 0..2 {
                let _ = say.send((asked.health(), asked.ready().is_err()));
            }
        });
        for _ in 0..2 {
            assert_eq!(heard.recv_timeout(Duration::from_secs(10)), Ok((Ok(()), true)));
        }
        if let Some(long_ago) = Instant::now().checked_sub(STUCK * 2) {
            metrics.state().alive = long_ago;
            assert!(metrics.health().is_err_and(|why| why.contains("main loop")));
            metrics.state().removed = true;
            assert_eq!(metrics.health(), Ok(()));
        }
    }
}

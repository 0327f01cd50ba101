//! What becomes of flows, taken out of the kernel, given names and written to the disk: by a thread of its own, which nothing
//! waits for. If it is slow, or ends, the kernel's buffer is full one day and the rest is counted.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use egret_datapath::{FlowEvent, FlowEvents, Told, Untold, since_boot};
use egret_flows::{Event, Limits, Log, LogError, Mark, Note, Now, Protocol, Record};
use egret_plan::Packet;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::names::{Names, Register};

/// Nobody rings when there is a record: that would cost every new connection a wake-up. It is looked for so often.
const LOOK: Duration = Duration::from_millis(50);
/// Sooner, when there were many.
const LOOK_SOON: Duration = Duration::from_millis(5);
const MANY: usize = 512;
/// A log that cannot be opened or written is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// So long may the first plan take: without a store there is none, and the kernel's buffer is not large.
const FIRST: Duration = Duration::from_secs(10);
/// So long may the name of a pod come later than its first flow.
const NAMED: Duration = Duration::from_secs(1);
/// The clock that people set may go so wrong, in seconds, before that is worth a line.
const SET: i64 = 2;
/// Bytes that are written at once.
const BATCH: usize = 1 << 18;

/// Where what becomes of flows is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowLog {
    /// A directory of its own.
    pub directory: PathBuf,
    /// How much is kept.
    pub limits: Limits,
}

/// Begins to write.
pub(crate) fn write(
    log: FlowLog,
    events: FlowEvents,
    names: watch::Receiver<Arc<Names>>,
    metrics: Arc<Metrics>,
) {
    let begun = std::thread::Builder::new().name("flow-log".to_owned()).spawn(move || {
        // It may queue behind the node's pods, which the rest of the agent may not.
        let _ = rustix::process::setpriority_process(None, 0);
        Writer::new(log, events, names, metrics).run();
    });
    if let Err(error) = begun {
        tracing::error!("what becomes of flows is not written down: {error}");
    }
}

struct Writer {
    to: FlowLog,
    events: FlowEvents,
    names: watch::Receiver<Arc<Names>>,
    register: Register,
    metrics: Arc<Metrics>,
    log: Option<Log>,
    failing: bool,
    /// Records that found no room, as they were counted last.
    untold: Untold,
    /// What the clock that people set says when the other one is at zero, in seconds.
    zero: Option<i64>,
    lines: Vec<u8>,
    records: u64,
}

fn now() -> Now {
    Now { wall: Timestamp::now(), running: since_boot() }
}

impl Writer {
    fn new(
        to: FlowLog,
        events: FlowEvents,
        names: watch::Receiver<Arc<Names>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        // Of before this process: a reader compares it with what was said then.
        let untold = events.untold().unwrap_or_default();
        let (register, log, lines) = (Register::default(), None, Vec::new());
        Self {
            to,
            events,
            names,
            register,
            metrics,
            log,
            failing: false,
            untold,
            zero: None,
            lines,
            records: 0,
        }
    }

    fn run(mut self) {
        // What was told while no agent ran has names as well, when the first plan is made.
        let begun = Instant::now();
        while matches!(self.names.has_changed(), Ok(false)) && begun.elapsed() < FIRST {
            std::thread::sleep(LOOK);
        }
        self.learn_names();
        // The agent has ended when nobody can tell names any more.
        while self.names.has_changed().is_ok() {
            if self.log.is_none() {
                match Log::open(&self.to.directory, self.to.limits, now()) {
                    Ok(log) => {
                        self.log = Some(log);
                        self.note(Mark::Began, i64::try_from(self.untold.flows).unwrap_or(i64::MAX));
                    }
                    Err(error) => {
                        self.failed(&error);
                        std::thread::sleep(AGAIN);
                        continue;
                    }
                }
            }
            let found = self.drain();
            std::thread::sleep(if found > MANY { LOOK_SOON } else { LOOK });
        }
    }

    /// Writes down all that was told. Returns how much that was.
    fn drain(&mut self) -> usize {
        let mut found = 0;
        self.look_at_clock();
        while let Some(event) = self.events.read() {
            found += 1;
            self.learn_names();
            self.wait_for_name(&event);
            let record = self.record(&event);
            self.line(&record);
            if self.lines.len() > BATCH {
                self.flush();
            }
        }
        self.count_untold();
        self.flush();
        found
    }

    fn learn_names(&mut self) {
        if self.names.has_changed().unwrap_or(false) {
            let names = self.names.borrow_and_update().clone();
            self.register.update(names);
        }
    }

    /// A pod that opens a flow is known to the plan by now, or was to an earlier process.
    fn wait_for_name(&mut self, event: &FlowEvent) {
        let begun = Instant::now();
        let fresh = since_boot().saturating_sub(event.at) < NAMED;
        while fresh
            && event.told == Told::Opened
            && self.register.pod((event.pod.ip(), event.link)).is_none()
            && begun.elapsed() < NAMED
            && self.names.has_changed().is_ok()
        {
            std::thread::sleep(LOOK_SOON);
            self.learn_names();
        }
    }

    fn record(&self, event: &FlowEvent) -> Record {
        let (wall, running) = (Timestamp::now(), since_boot());
        // A time since boot is that long ago: so it is right by the clock of now, whatever that was set to meanwhile.
        let at = |time: Duration| {
            let ago = jiff::SignedDuration::try_from(running)
                .ok()?
                .checked_sub(jiff::SignedDuration::try_from(time).ok()?)?;
            wall.checked_sub(ago).ok()
        };
        let place = (event.pod.ip(), event.link);
        let packet =
            Packet { address: event.remote.ip(), protocol: event.protocol, port: event.remote.port() };
        let (kind, reason, packets) = match event.told {
            Told::Opened => (Event::Opened, None, None),
            Told::Closed => (Event::Closed, None, None),
            Told::Expired => (Event::Expired, None, None),
            Told::Orphaned => (Event::Orphaned, None, None),
            Told::Refused { reason, packets } => (Event::Refused, Some(reason.to_owned()), Some(packets)),
        };
        let decided = matches!(kind, Event::Opened | Event::Refused);
        let ended = !decided;
        Record {
            time: at(event.at).unwrap_or(wall),
            event: kind,
            protocol: Protocol::from(event.protocol),
            pod: self.register.pod(place).map(|pod| pod.to_string()),
            from: event.pod,
            egress: event.egress,
            to: event.remote,
            policy: if decided { self.register.policy(place, packet) } else { None },
            opened: event.opened.filter(|_| ended).and_then(at),
            last: event.seen.and_then(at),
            reason,
            packets,
        }
    }

    fn line(&mut self, line: &impl Serialize) {
        // Writing to memory does not fail.
        if serde_json::to_writer(&mut self.lines, line).is_ok() {
            let _ = self.lines.write_all(b"\n");
            self.records += 1;
        }
    }

    fn note(&mut self, log: Mark, count: i64) {
        self.line(&Note { time: Timestamp::now(), log, count });
    }

    fn look_at_clock(&mut self) {
        let now = now();
        let zero = now.wall.as_second() - i64::try_from(now.running.as_secs()).unwrap_or(0);
        let before = *self.zero.get_or_insert(zero);
        if (zero - before).abs() > SET {
            self.zero = Some(zero);
            self.note(Mark::ClockSet, zero - before);
        }
    }

    fn count_untold(&mut self) {
        let Ok(untold) = self.events.untold() else { return };
        let lost = untold.flows.saturating_sub(self.untold.flows);
        self.untold = untold;
        if lost > 0 {
            self.note(Mark::Lost, i64::try_from(lost).unwrap_or(i64::MAX));
        }
    }

    fn flush(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let records = std::mem::take(&mut self.records);
        let (bytes, lost) = match self.log.as_mut().map(|log| log.write(&lines, now()).map(|()| log.bytes()))
        {
            Some(Ok(bytes)) => {
                self.failing = false;
                (bytes, 0)
            }
            Some(Err(error)) => {
                self.failed(&error);
                self.log = None;
                (0, records)
            }
            None => (0, records),
        };
        self.metrics.flow_log(bytes, (self.untold.flows, self.untold.refusals), lost);
        // Its room is used again.
        self.lines = lines;
        self.lines.clear();
        if lost > 0 {
            self.note(Mark::Unwritten, i64::try_from(lost).unwrap_or(i64::MAX));
        }
    }

    fn failed(&mut self, error: &LogError) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!("what becomes of flows is not written down: {error}");
        }
    }
}

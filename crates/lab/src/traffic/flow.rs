//! One connection or flow of datagrams: what was sent, what came, and the gaps between.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who sends, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// TCP: the pod sends, the server checks.
    PushedByClient,
    /// TCP: the server sends, the pod checks.
    PushedByServer,
    /// UDP: the pod sends numbered datagrams, the server sends each back.
    Datagrams,
}

/// A connection or flow. Shared by its two ends, which are threads of this process in two namespaces.
#[derive(Debug)]
pub struct Flow {
    /// Its number.
    pub id: u32,
    /// Who sends, and how.
    pub kind: Kind,
    /// The pod that opened it.
    pub pod: String,
    /// Where to.
    pub server: SocketAddr,
    sent: AtomicU64,
    stopping: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    gaps: Gaps,
    /// Chunks or datagrams that came in good order, counted with those before them.
    received: u64,
    /// Answers that came at all.
    answers: u64,
    sent_at_mark: u64,
    /// When the first came.
    began: Option<Instant>,
    age_at_mark: Option<Duration>,
    sources: Vec<SocketAddr>,
    ends_closed: u8,
    failure: Option<String>,
}

/// The longest time between two arrivals.
#[derive(Debug, Default, Clone, Copy)]
pub struct Gaps {
    last: Option<Instant>,
    longest: Duration,
}

impl Gaps {
    /// Something came.
    pub fn arrived(&mut self, now: Instant) {
        if let Some(last) = self.last {
            self.longest = self.longest.max(now.saturating_duration_since(last));
        }
        self.last = Some(now);
    }

    /// Forgets the gaps that have ended; the one that is open counts whole.
    pub fn mark(&mut self) {
        self.longest = Duration::ZERO;
    }

    /// The longest gap since the mark, with the one still open at `now`.
    pub fn longest(&self, now: Option<Instant>) -> Duration {
        let open = now.zip(self.last).map(|(now, last)| now.saturating_duration_since(last));
        self.longest.max(open.unwrap_or_default())
    }
}

impl Flow {
    /// A flow that has not begun.
    pub fn new(id: u32, kind: Kind, pod: String, server: SocketAddr) -> Flow {
        let (sent, stopping, state) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::default());
        Flow { id, kind, pod, server, sent, stopping, state }
    }

    /// A chunk or datagram was given to the kernel.
    pub fn add_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Chunks or datagrams given to the kernel.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Everything up to chunk or datagram number `count` has come and was right.
    pub fn received_up_to(&self, count: u64) {
        let (mut state, now) = (self.state(), Instant::now());
        state.gaps.arrived(now);
        state.began.get_or_insert(now);
        state.received = state.received.max(count);
        state.answers += 1;
    }

    /// The server saw this source.
    pub fn saw_source(&self, source: SocketAddr) {
        let mut state = self.state();
        if !state.sources.contains(&source) {
            state.sources.push(source);
        }
    }

    /// The sources that the server saw: one, if all is well.
    pub fn sources(&self) -> Vec<SocketAddr> {
        self.state().sources.clone()
    }

    /// The source addresses that are not the one expected.
    pub fn wrong_sources(&self, expected: IpAddr) -> Vec<IpAddr> {
        self.state().sources.iter().map(SocketAddr::ip).filter(|ip| *ip != expected).collect()
    }

    /// It runs: so many chunks or datagrams came back.
    pub fn has_received(&self, count: u64) -> bool {
        self.state().received >= count
    }

    /// Answers that came.
    pub fn answers(&self) -> u64 {
        self.state().answers
    }

    /// From now on gaps are measured, and only what is sent from now on is fresh.
    pub fn mark(&self) {
        let mut state = self.state();
        state.gaps.mark();
        state.sent_at_mark = self.sent();
        state.age_at_mark = state.began.map(|began| began.elapsed());
    }

    /// How long data had come at the mark; `None` if none had.
    pub fn age_at_mark(&self) -> Option<Duration> {
        self.state().age_at_mark
    }

    /// Something that was sent after the mark has come.
    pub fn is_fresh(&self) -> bool {
        let state = self.state();
        state.received > state.sent_at_mark
    }

    /// The longest gap since the mark.
    pub fn stall(&self) -> Duration {
        let state = self.state();
        let over = state.ends_closed > 0 && state.failure.is_none();
        state.gaps.longest(if over { None } else { Some(Instant::now()) })
    }

    /// It shall end in good order.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// It shall end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// One end is done with it.
    pub fn close(&self, outcome: Result<(), String>) {
        let mut state = self.state();
        state.ends_closed += 1;
        if let Err(failure) = outcome {
            state.failure.get_or_insert(failure);
        }
    }

    /// Both ends are done with it (datagrams have one), or it has failed.
    pub fn is_over(&self) -> bool {
        let state = self.state();
        state.failure.is_some() || state.ends_closed >= if self.kind == Kind::Datagrams { 1 } else { 2 }
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn flow() -> Flow {
        Flow::new(1, Kind::PushedByClient, "prod/web".into(), "192.0.2.1:1".parse().unwrap())
    }

    #[test]
    fn a_gap_counts_whole_that_is_open_at_the_mark() {
        let (mut gaps, start) = (Gaps::default(), Instant::now());
        gaps.arrived(start);
        gaps.arrived(start + 500 * MS);
        gaps.mark();
        assert_eq!(gaps.longest(None), Duration::ZERO);
        gaps.arrived(start + 800 * MS);
        gaps.arrived(start + 900 * MS);
        assert_eq!(gaps.longest(None), 300 * MS);
        assert_eq!(gaps.longest(Some(start + 2000 * MS)), 1100 * MS);
    }

    #[test]
    fn only_what_was_sent_after_the_mark_is_fresh() {
        let flow = flow();
        flow.mark();
        assert_eq!(flow.age_at_mark(), None);
        (0..5).for_each(|_| flow.add_sent());
        flow.received_up_to(3);
        flow.mark();
        assert!(flow.age_at_mark().is_some_and(|age| age < Duration::from_secs(10)));
        flow.received_up_to(5);
        assert!(!flow.is_fresh());
        flow.add_sent();
        flow.received_up_to(6);
        assert!(flow.is_fresh());
    }

    #[test]
    fn over_when_both_ends_are_done_or_one_failed() {
        let flow = flow();
        flow.close(Ok(()));
        assert!(!flow.is_over());
        flow.close(Ok(()));
        assert!(flow.is_over() && flow.failure().is_none());
        let flow = self::flow();
        flow.close(Err("reset".into()));
        flow.close(Err("later".into()));
        assert!(flow.is_over());
        assert_eq!(flow.failure().as_deref(), Some("reset"));
    }
}

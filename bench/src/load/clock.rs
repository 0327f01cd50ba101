//! One clock for all processes, and the window in which they count.

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};

/// Traffic before the window: slow start, neighbour entries and first packets are not counted.
pub const WARM_UP: u64 = 150_000_000;

/// Nanoseconds of the monotonic clock.
pub fn now() -> Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// Counts what happens between a warm-up and an end.
pub struct Window {
    from: u64,
    until: u64,
    started: Option<(u64, [u64; 2])>,
}

impl Window {
    /// A window of `time` milliseconds that opens after the warm-up.
    pub fn open(time: u64) -> Result<Self> {
        let from = now()? + WARM_UP;
        Ok(Self { from, until: from + time * 1_000_000, started: None })
    }

    /// Whether the window is over; `totals` are what was counted since the beginning of all.
    pub fn over(&mut self, totals: [u64; 2]) -> Result<Option<Span>> {
        let now = now()?;
        match self.started {
            None if now >= self.from => self.started = Some((now, totals)),
            Some((from, before)) if now >= self.until => {
                return Ok(Some(Span {
                    from,
                    to: now,
                    counts: [totals[0] - before[0], totals[1] - before[1]],
                }));
            }
            _ => {}
        }
        Ok(None)
    }
}

/// What a window held.
pub struct Span {
    /// Its first moment, nanoseconds of the monotonic clock.
    pub from: u64,
    /// Its last moment.
    pub to: u64,
    /// What was counted in it.
    pub counts: [u64; 2],
}

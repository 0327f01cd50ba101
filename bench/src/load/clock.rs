//! One clock for all processes, and the window in which they count.

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Traffic before the window: slow start, neighbour entries and first packets are not counted.
const WARM_UP: u64 = 150_000_000;

/// Nanoseconds of the monotonic clock.
pub fn now() -> Result<u64> {
    read(ClockId::CLOCK_MONOTONIC)
}

fn read(clock: ClockId) -> Result<u64> {
    let time = clock_gettime(clock)?;
    Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// CPU time of these processes, nanoseconds. It includes what the kernel forwarded in their name.
pub fn cpu_time(pids: &[i32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let clock =
            clock_getcpuclockid(Pid::from_raw(*pid)).with_context(|| format!("process {pid} is gone"))?;
        sum += read(clock)?;
    }
    Ok(sum)
}

/// Counts what happens between a warm-up and an end.
pub struct Window {
    from: u64,
    until: u64,
    watched: Vec<i32>,
    started: Option<(u64, [u64; 2], u64)>,
}

impl Window {
    /// A window of `time` milliseconds that opens after the warm-up, with the CPU time of some processes.
    pub fn open(time: u64, watched: &[i32]) -> Result<Self> {
        let from = now()? + WARM_UP;
        Ok(Self { from, until: from + time * 1_000_000, watched: watched.to_vec(), started: None })
    }

    /// Whether the window is over; `totals` are what was counted since the beginning of all.
    pub fn over(&mut self, totals: [u64; 2]) -> Result<Option<Span>> {
        let now = now()?;
        match self.started {
            None if now >= self.from => self.started = Some((now, totals, cpu_time(&self.watched)?)),
            Some((from, before, spent)) if now >= self.until => {
                let counts = [totals[0] - before[0], totals[1] - before[1]];
                return Ok(Some(Span { from, to: now, counts, spent: cpu_time(&self.watched)? - spent }));
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
    /// CPU time of the watched processes in it, nanoseconds.
    pub spent: u64,
}

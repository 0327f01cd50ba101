//! How much of a CPU do others use? The kernel's own accounting here samples at timer ticks (250 a second) and
//! misses most of what soft interrupts do. A process of idle priority that only reads the clock sees each moment in
//! which it was kept from running, in nanoseconds; and since the CPU never sleeps, no wake-up from a virtual
//! machine's halt is charged to anybody.

use super::clock::now;
use super::serve::ready;
use super::{Measured, Sink};
use anyhow::Result;

/// Longer than one turn of the loop, shorter than any interrupt.
const GAP: u64 = 250;
const STEP: u64 = 5_000_000;

/// Spins for the given time.
pub fn soak(sink: &Sink) -> Result<Measured> {
    ready()?;
    let start = now()?;
    let end = start + sink.time * 1_000_000;
    let (mut last, mut lost, mut next) = (start, 0, start);
    let mut samples = Vec::with_capacity((sink.time * 1_000_000 / STEP + 2) as usize);
    while last < end {
        let time = now()?;
        let gap = time - last;
        if gap > GAP {
            lost += gap;
        }
        if time >= next {
            samples.push((time, lost));
            next = time + STEP;
        }
        last = time;
    }
    Ok(Measured { from: start, to: last, lost: samples, ..Measured::default() })
}

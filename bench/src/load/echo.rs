//! Datagrams at a steady rate, there and back: the same work for every configuration, so that its cost compares.

use super::clock::{Window, now};
use super::packets::{BATCH, SIZE, send, socket, take};
use super::serve::ready;
use super::{Measured, Source};
use anyhow::Result;
use nix::sys::socket::{MsgFlags, MultiHeaders};
use std::time::Duration;

const PORT: u16 = 5203;
const TICK: u64 = 500_000;

/// Datagrams in a burst at a rate.
pub fn burst(rate: u64) -> u64 {
    rate * TICK / 1_000_000_000
}

/// Sends every datagram back, for ever.
pub fn server() -> Result<Measured> {
    let socket = socket(PORT)?;
    let mut bytes = [0; 2048];
    ready()?;
    loop {
        let (size, from) = socket.recv_from(&mut bytes)?;
        let _ = socket.send_to(&bytes[..size], from);
    }
}

/// Sends `rate` datagrams a second in small bursts and takes back what returns.
pub fn client(source: &Source) -> Result<Measured> {
    let socket = socket(0)?;
    socket.connect((source.to, PORT))?;
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    let (mut sent, mut returned) = (0, 0);
    ready()?;
    let start = now()?;
    let mut window = Window::open(source.time, &[])?;
    let mut tick = start;
    loop {
        let due = ((tick - start) as u128 * source.rate as u128 / 1_000_000_000) as u64;
        while sent < due {
            let count = BATCH.min((due - sent) as usize);
            sent += send(&socket, &mut headers, &[0x45; SIZE], count).unwrap_or(0) as u64;
        }
        while let Ok(count @ 1..) = take(&socket, &mut headers, MsgFlags::MSG_DONTWAIT) {
            returned += count as u64;
        }
        if let Some(span) = window.over([sent, returned])? {
            return Ok(Measured {
                from: span.from,
                to: span.to,
                count: span.counts[0],
                returned: span.counts[1],
                ..Measured::default()
            });
        }
        tick += TICK;
        let rest = tick.saturating_sub(now()?);
        if rest > 0 {
            std::thread::sleep(Duration::from_nanos(rest));
        }
    }
}

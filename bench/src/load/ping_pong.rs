//! Round trips of one byte on an open connection.

use super::clock::{Window, now};
use super::serve::ready;
use super::{FIRST_PORT, Measured, Source};
use anyhow::Result;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Measures round trips until the window is over.
pub fn client(source: &Source) -> Result<Measured> {
    let mut stream = TcpStream::connect((source.to, FIRST_PORT))?;
    stream.set_nodelay(true)?;
    let mut byte = [0x45];
    let mut times = Vec::new();
    let mut window = Window::open(source.time, &[])?;
    ready()?;
    loop {
        let before = now()?;
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        times.push(now()? - before);
        if let Some(span) = window.over([times.len() as u64, 0])? {
            let mut counted = times.split_off(times.len() - span.counts[0] as usize);
            counted.sort_unstable();
            let at = |share: f64| {
                counted.get((counted.len() as f64 * share) as usize).copied().unwrap_or_default()
            };
            return Ok(Measured {
                from: span.from,
                to: span.to,
                count: span.counts[0],
                percentiles: Some([at(0.50), at(0.99)]),
                ..Measured::default()
            });
        }
    }
}

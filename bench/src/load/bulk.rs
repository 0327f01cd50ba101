//! One TCP stream.

use super::clock::Window;
use super::serve::{listen, ready};
use super::{Measured, Sink, Source};
use anyhow::{Result, bail};
use std::io::{Read, Write};
use std::net::TcpStream;

const PORT: u16 = 5201;
const CHUNK: usize = 128 * 1024;

/// Takes one stream and counts the bytes in the window.
pub fn sink(sink: &Sink) -> Result<Measured> {
    let listener = listen(PORT)?;
    ready()?;
    let (mut stream, _) = listener.accept()?;
    let mut window = Window::open(sink.time, &[])?;
    let mut chunk = vec![0; 2 * CHUNK];
    let mut bytes = 0;
    loop {
        match stream.read(&mut chunk)? {
            0 => bail!("the stream ended before its time"),
            count => bytes += count as u64,
        }
        if let Some(span) = window.over([bytes, 0])? {
            return Ok(Measured {
                from: span.from,
                to: span.to,
                count: span.counts[0],
                ..Measured::default()
            });
        }
    }
}

/// Sends until the other end closes.
pub fn source(source: &Source) -> Result<Measured> {
    let mut stream = TcpStream::connect((source.to, PORT))?;
    let chunk = vec![0x45; CHUNK];
    ready()?;
    while stream.write_all(&chunk).is_ok() {}
    Ok(Measured::default())
}

//! Many UDP flows at once, to see what one costs in memory.

use super::serve::ready;
use super::{Measured, Source};
use anyhow::Result;
use std::net::{Ipv4Addr, UdpSocket};

const REMOTE_PORTS: u16 = 100;
const FIRST_REMOTE: u16 = 20_000;
const FIRST_LOCAL: u16 = 10_000;

/// Opens `rate` flows: every port of the pod towards the same hundred ports outside.
pub fn open(source: &Source) -> Result<Measured> {
    ready()?;
    let mut opened = 0;
    for local in (FIRST_LOCAL..).take(source.rate as usize / REMOTE_PORTS as usize) {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, local))?;
        for port in FIRST_REMOTE..FIRST_REMOTE + REMOTE_PORTS {
            if socket.send_to(b"?", (source.to, port)).is_ok() {
                opened += 1;
            }
        }
    }
    Ok(Measured { count: opened, ..Measured::default() })
}

//! Many UDP flows at once, to see what one costs in memory.

use super::serve::ready;
use super::{Measured, Source};
use anyhow::Result;
use std::net::{Ipv4Addr, UdpSocket};

const REMOTE_PORTS: u16 = 100;
const FIRST_REMOTE: u16 = 20_000;

/// Opens `rate` flows: every socket of the pod towards the same hundred ports.
pub fn open(source: &Source) -> Result<Measured> {
    ready()?;
    let mut sockets = Vec::new();
    let mut opened = 0;
    while opened < source.rate {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        for port in FIRST_REMOTE..FIRST_REMOTE + REMOTE_PORTS {
            if socket.send_to(b"?", (source.to, port)).is_ok() {
                opened += 1;
            }
        }
        sockets.push(socket);
    }
    Ok(Measured { count: opened, ..Measured::default() })
}

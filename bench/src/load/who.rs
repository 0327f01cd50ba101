//! Which source does the outside host see? Asked before anything is measured: a fast path to nowhere is no result.

use super::serve::{listen, ready};
use super::{Measured, Source};
use anyhow::Result;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const PORT: u16 = 5204;

/// As the pod: asks. As the outside host (`to` unspecified): answers for ever.
pub fn ask(source: &Source) -> Result<Measured> {
    if source.to == Ipv4Addr::UNSPECIFIED {
        let listener = listen(PORT)?;
        ready()?;
        for stream in listener.incoming() {
            let mut stream = stream?;
            let text = stream.peer_addr()?.ip().to_string();
            let _ = stream.write_all(text.as_bytes());
        }
    }
    ready()?;
    let address = SocketAddr::new(IpAddr::V4(source.to), PORT);
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(source.time))?;
    stream.set_read_timeout(Some(Duration::from_millis(source.time)))?;
    let mut seen = String::new();
    stream.read_to_string(&mut seen)?;
    Ok(Measured { seen: Some(seen), ..Measured::default() })
}

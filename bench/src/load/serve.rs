//! The outside host's side of short connections and round trips, and how a load process ends with its parent.

use super::{FIRST_PORT, Measured, PORTS};
use anyhow::Result;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// Says that the process is ready for traffic.
pub fn ready() -> Result<()> {
    println!("ready");
    std::io::stdout().flush()?;
    Ok(())
}

/// Ends this process when its parent is gone: the parent holds the other end of its standard input.
pub fn leave_with_parent() {
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        std::process::exit(0);
    });
}

/// A listening socket with room for bursts.
pub fn listen(port: u16) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Takes connections on all ports for ever; every byte is answered with one byte.
pub fn connections() -> Result<Measured> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    let mut listeners = Vec::new();
    for port in FIRST_PORT..FIRST_PORT + PORTS {
        let listener = listen(port)?;
        listener.set_nonblocking(true)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, listeners.len() as u64))?;
        listeners.push(listener);
    }
    let mut open: Vec<Option<TcpStream>> = Vec::new();
    let mut events = [EpollEvent::empty(); 64];
    ready()?;
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            let token = event.data() as usize;
            if let Some(listener) = listeners.get(token) {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    if let Some(stream) = answer(stream) {
                        let slot = stream.as_raw_fd() as usize;
                        if open.len() <= slot {
                            open.resize_with(slot + 1, || None);
                        }
                        epoll.add(
                            &stream,
                            EpollEvent::new(EpollFlags::EPOLLIN, (PORTS as usize + slot) as u64),
                        )?;
                        open[slot] = Some(stream);
                    }
                }
            } else if let Some(slot) = open.get_mut(token - PORTS as usize) {
                *slot = slot.take().and_then(answer);
            }
        }
    }
}

/// Answers what has come; the stream is given back while its peer may send more.
fn answer(mut stream: TcpStream) -> Option<TcpStream> {
    let mut byte = [0; 64];
    loop {
        match stream.read(&mut byte) {
            Ok(0) => return None,
            Ok(_) => {
                stream.write_all(&byte[..1]).ok()?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(stream),
            Err(_) => return None,
        }
    }
}

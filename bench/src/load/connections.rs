//! Short connections from the pod: connect, one byte each way, close; several at a time in one thread.

use super::clock::Window;
use super::serve::ready;
use super::{FIRST_PORT, Measured, PORTS, Source};
use anyhow::{Context, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};

const AT_A_TIME: usize = 16;

struct Slot {
    socket: Socket,
    asked: bool,
}

/// Opens connections until the window is over.
pub fn client(source: &Source) -> Result<Measured> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    let mut next = 0;
    let mut slots = Vec::new();
    for index in 0..AT_A_TIME {
        slots.push(connect(&epoll, source.to, &mut next, index)?);
    }
    let mut events = [EpollEvent::empty(); AT_A_TIME];
    let (mut done, mut errors) = (0, 0);
    let mut window = Window::open(source.time)?;
    ready()?;
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::from(20u8))?;
        for event in &events[..count] {
            let index = event.data() as usize;
            match step(&epoll, &mut slots[index], index) {
                Ok(false) => continue,
                Ok(true) => done += 1,
                Err(_) => errors += 1,
            }
            slots[index] = connect(&epoll, source.to, &mut next, index)?;
        }
        if let Some(span) = window.over([done, errors])? {
            return Ok(Measured {
                from: span.from,
                to: span.to,
                count: span.counts[0],
                errors: span.counts[1],
                ..Measured::default()
            });
        }
    }
}

fn connect(epoll: &Epoll, to: Ipv4Addr, next: &mut u16, index: usize) -> Result<Slot> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    let address = SocketAddrV4::new(to, FIRST_PORT + *next % PORTS);
    *next = next.wrapping_add(1);
    if let Err(error) = socket.connect(&address.into()) {
        let pending = error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32);
        pending.then_some(()).with_context(|| format!("cannot connect to {address}: {error}"))?;
    }
    epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLOUT, index as u64))?;
    Ok(Slot { socket, asked: false })
}

/// One step of a connection; true when it is complete. It is closed by being replaced.
fn step(epoll: &Epoll, slot: &mut Slot, index: usize) -> std::io::Result<bool> {
    let mut byte = [0];
    if slot.asked {
        slot.socket.read_exact(&mut byte)?;
        return Ok(true);
    }
    slot.socket.write_all(b"?")?;
    slot.asked = true;
    let mut answer = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
    epoll.modify(&slot.socket, &mut answer)?;
    Ok(false)
}

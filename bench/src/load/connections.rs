//! Short connections from the pod: connect, one byte each way, close; several at a time in one thread, either as
//! fast as they go or at a steady rate.

use super::clock::{Window, now};
use super::serve::ready;
use super::{FIRST_PORT, Measured, PORTS, Source};
use anyhow::{Context, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Open at once when they go as fast as they can.
const AT_A_TIME: usize = 16;
/// Open at most when they go at a steady rate.
const ROOM: usize = 256;

struct Client {
    epoll: Epoll,
    to: Ipv4Addr,
    opened: u64,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
}

struct Slot {
    socket: Socket,
    asked: bool,
}

/// Opens connections until the window is over.
pub fn client(source: &Source) -> Result<Measured> {
    let room = if source.rate == 0 { AT_A_TIME } else { ROOM };
    let mut client = Client {
        epoll: Epoll::new(EpollCreateFlags::empty())?,
        to: source.to,
        opened: 0,
        slots: (0..room).map(|_| None).collect(),
        free: (0..room).collect(),
    };
    let mut events = [EpollEvent::empty(); 64];
    let (mut done, mut errors) = (0, 0);
    ready()?;
    let start = now()?;
    let mut window = Window::open(source.time, &source.watch)?;
    loop {
        let due = match source.rate {
            0 => u64::MAX,
            rate => ((now()? - start) as u128 * rate as u128 / 1_000_000_000) as u64,
        };
        while client.opened < due && client.connect()? {}
        let count = client.epoll.wait(&mut events, EpollTimeout::from(1u8))?;
        for event in &events[..count] {
            match client.step(event.data() as usize) {
                None => {}
                Some(Ok(())) => done += 1,
                Some(Err(_)) => errors += 1,
            }
        }
        if let Some(span) = window.over([done, errors])? {
            let [count, errors] = span.counts;
            return Ok(Measured {
                from: span.from,
                to: span.to,
                count,
                errors,
                spent: span.spent,
                ..Measured::default()
            });
        }
    }
}

impl Client {
    /// Begins a connection; false when there is no room for it.
    fn connect(&mut self) -> Result<bool> {
        let Some(index) = self.free.pop() else { return Ok(false) };
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        let address = SocketAddrV4::new(self.to, FIRST_PORT + (self.opened % u64::from(PORTS)) as u16);
        self.opened += 1;
        if let Err(error) = socket.connect(&address.into()) {
            let pending = error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32);
            pending.then_some(()).with_context(|| format!("cannot connect to {address}: {error}"))?;
        }
        self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLOUT, index as u64))?;
        self.slots[index] = Some(Slot { socket, asked: false });
        Ok(true)
    }

    /// One step of a connection; its result when it is over. Letting go of it closes it.
    fn step(&mut self, index: usize) -> Option<std::io::Result<()>> {
        let slot = self.slots[index].as_mut()?;
        let result = match slot.asked {
            false => match ask(&self.epoll, slot, index) {
                Ok(()) => return None,
                Err(error) => Err(error),
            },
            true => slot.socket.read_exact(&mut [0]),
        };
        self.slots[index] = None;
        self.free.push(index);
        Some(result)
    }
}

fn ask(epoll: &Epoll, slot: &mut Slot, index: usize) -> std::io::Result<()> {
    slot.socket.write_all(b"?")?;
    slot.asked = true;
    let mut answer = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
    Ok(epoll.modify(&slot.socket, &mut answer)?)
}

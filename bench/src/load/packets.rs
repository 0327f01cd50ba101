//! Datagrams of 64 bytes payload, as many as will go. What arrives counts, not what is sent.

use super::clock::Window;
use super::serve::ready;
use super::{Measured, Sink, Source};
use anyhow::Result;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt::RcvBufForce,
};
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

/// Bytes of payload in a datagram.
pub const SIZE: usize = 64;
/// Datagrams handed to the kernel at once.
pub const BATCH: usize = 32;
const PORT: u16 = 5202;
const ROOM: usize = 64 << 20;

/// A UDP socket with room for bursts.
pub fn socket(port: u16) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    setsockopt(&socket, RcvBufForce, &ROOM)?;
    Ok(socket)
}

/// Sends `count` datagrams, at most one batch.
pub fn send(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrIn>,
    payload: &[u8; SIZE],
    count: usize,
) -> nix::Result<usize> {
    let slices = [[IoSlice::new(payload)]; BATCH];
    let none: [Option<SockaddrIn>; BATCH] = [None; BATCH];
    let control: [ControlMessage; 0] = [];
    let slices = slices.iter().take(count);
    Ok(sendmmsg(socket.as_raw_fd(), headers, slices, none, control, MsgFlags::empty())?.count())
}

/// Takes up to one batch of datagrams and throws them away.
pub fn take(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrIn>,
    flags: MsgFlags,
) -> nix::Result<usize> {
    let mut room = [[0; SIZE]; BATCH];
    let mut slices = room.each_mut().map(|bytes| [IoSliceMut::new(bytes)]);
    Ok(recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), flags, None)?.count())
}

/// Counts what arrives.
pub fn sink(sink: &Sink) -> Result<Measured> {
    let socket = socket(PORT)?;
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    ready()?;
    let mut packets = take(&socket, &mut headers, MsgFlags::MSG_WAITFORONE)? as u64;
    let mut window = Window::open(sink.time, &[])?;
    loop {
        packets += take(&socket, &mut headers, MsgFlags::MSG_WAITFORONE)? as u64;
        if let Some(span) = window.over([packets, 0])? {
            return Ok(Measured {
                from: span.from,
                to: span.to,
                count: span.counts[0],
                ..Measured::default()
            });
        }
    }
}

/// Sends until the process is stopped.
pub fn source(source: &Source) -> Result<Measured> {
    let socket = socket(0)?;
    socket.connect((source.to, PORT))?;
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    ready()?;
    loop {
        // a refusal is told on the next call and is no reason to stop
        let _ = send(&socket, &mut headers, &[0x45; SIZE], BATCH);
    }
}

//! Capturing at a port of the switch.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, RecvMsg, bind, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// Bytes of a frame that are looked at.
const SNAP: usize = 160;
/// Room for packets that wait to be looked at.
const BUFFER: usize = 64 << 20;

/// Which way a packet crosses the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the host into the switch.
    FromHost,
    /// From the switch to the host.
    ToHost,
}

/// A port that is watched.
pub struct Capture {
    socket: Socket,
    /// Whose end it is, for people: `node-4 eth1`.
    pub link: Arc<str>,
    /// Packets that the kernel had no room for.
    pub missed: u64,
}

impl Capture {
    /// Watches a port of the namespace that the caller's thread is in.
    ///
    /// # Errors
    /// When there is no such port or the socket cannot be made.
    pub fn open(port: &str, link: String, direction: Direction) -> Result<Capture> {
        let all = i32::from((libc::ETH_P_ALL as u16).to_be());
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(Protocol::from(all)))?;
        socket.attach_filter(&filter(direction))?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        let interface = nix::ifaddrs::getifaddrs()?
            .filter(|i| i.interface_name == port)
            .find_map(|i| i.address.and_then(|a| a.as_link_addr().copied()));
        let interface = interface.with_context(|| format!("no port {port} in the switch"))?;
        bind(socket.as_raw_fd(), &interface).with_context(|| format!("port {port}"))?;
        let mut capture = Capture { socket, link: link.into(), missed: 0 };
        // Until it was bound, the socket heard every port.
        while capture.next(&mut [0; SNAP])?.is_some() {}
        Ok(capture)
    }

    /// The next packet's headers, and when it was caught; `None` if none waits.
    ///
    /// # Errors
    /// When the socket fails for good.
    pub fn next<'a>(&mut self, buffer: &'a mut [u8; SNAP]) -> Result<Option<(SystemTime, &'a [u8])>> {
        let mut control = nix::cmsg_space!(u32, TimeSpec);
        let mut caught = SystemTime::now();
        let length = {
            let mut slices = [std::io::IoSliceMut::new(buffer)];
            let received: Result<RecvMsg<'_, '_, ()>, Errno> =
                recvmsg(self.socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT);
            match received {
                Ok(message) => {
                    for note in message.cmsgs().into_iter().flatten() {
                        match note {
                            ControlMessageOwned::RxqOvfl(missed) => self.missed = u64::from(missed),
                            ControlMessageOwned::ScmTimestampns(at) => {
                                caught = SystemTime::UNIX_EPOCH + Duration::from(at);
                            }
                            _ => {}
                        }
                    }
                    message.bytes
                }
                Err(Errno::EAGAIN) => return Ok(None),
                // The port was set down: somebody cut the link. It comes back as the same port.
                Err(Errno::ENETDOWN) => return Ok(None),
                Err(error) => return Err(error).with_context(|| self.link.to_string()),
            }
        };
        Ok(buffer.get(..length).map(|headers| (caught, headers)))
    }

    /// To wait for.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A buffer for [`Capture::next`].
pub fn buffer() -> [u8; SNAP] {
    [0; SNAP]
}

/// Accepts IP and IPv6 of one direction, and of these the first bytes.
fn filter(direction: Direction) -> [SockFilter; 7] {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_WORD: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32;
    let line = SockFilter::new;
    let (outgoing, other) = match direction {
        Direction::FromHost => (1, 0),
        Direction::ToHost => (0, 1),
    };
    [
        line(LOAD_HALF, 0, 0, 12),
        line(JUMP_EQUAL, 1, 0, 0x0800),
        line(JUMP_EQUAL, 0, 3, 0x86dd),
        line(LOAD_WORD, 0, 0, PACKET_TYPE),
        line(JUMP_EQUAL, outgoing, other, u32::from(libc::PACKET_OUTGOING)),
        line(RETURN, 0, 0, SNAP as u32),
        line(RETURN, 0, 0, 0),
    ]
}

//! Raw frames on one interface.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use egret_plan::tables::LinkIndex;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

/// A socket of whole Ethernet frames, bound to one interface.
pub struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// Receives frames of one ethertype; of none if it is `None`. Never blocks.
    pub fn open(link: LinkIndex, ethertype: Option<u16>) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Packet, SockType::Raw, flags, None::<SockProtocol>)?;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as libc::sa_family_t,
            sll_protocol: ethertype.unwrap_or(0).to_be(),
            sll_ifindex: i32::try_from(link).map_err(|_| io::ErrorKind::InvalidInput)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the address is a sockaddr_ll that lives through the call, and the length is its own; the
        // descriptor is open, because `fd` owns it.
        let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(PacketSocket { fd })
    }

    /// What it sends passes no queue, and none of the programs where packets leave.
    pub fn pass_no_programs(&self) -> io::Result<()> {
        let on: libc::c_int = 1;
        let length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the value is an int that lives through the call, and the length is its own; the descriptor is open,
        // because `fd` owns it.
        let set = unsafe {
            let (level, option) = (libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS);
            libc::setsockopt(self.fd.as_raw_fd(), level, option, (&raw const on).cast(), length)
        };
        if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Sends one frame, from its link-layer header on.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        nix::unistd::write(&self.fd, frame)?;
        Ok(())
    }

    /// The next frame that came in. The kernel shows what goes out only to sockets of every ethertype.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(&self.fd, buffer)?)
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

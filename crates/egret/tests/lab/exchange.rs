//! Data of any size to an outside host and back, compared byte by byte.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, ip_mtu, ipv6_mtu, set_ip_mtu_discover, set_ipv6_mtu_discover,
};

use crate::harness::{DEADLINE, Host};

/// The port of the servers that send back what they get.
pub const ECHO: u16 = 7100;
/// A datagram may be lost so often: both ends must learn what the way carries, and each link of it may teach them.
const ATTEMPTS: u8 = 30;
/// Longer than a datagram takes in a lab, mostly.
const PATIENCE: Duration = Duration::from_millis(20);
/// Every link carries so much (RFC 8200 section 5).
const SMALLEST: usize = 1280;

/// What a sender of datagrams asks of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutting {
    /// Nobody may cut: a datagram larger than the way is refused to its sender (DF).
    Nobody,
    /// The sender cuts to what it knows of the way, and routers may cut what it did not (no DF).
    Routers,
    /// As Linux does by itself: the sender cuts to what it knows of the way, and sends whole ones with DF.
    Sender,
    /// The sender cuts to its own link, and hears nothing of the way; routers may cut (no DF). Name servers do so over
    /// IPv4; over IPv6 no router may cut, and it is as [`Cutting::Sender`].
    Deaf,
}

fn ask(socket: &UdpSocket, cutting: Cutting, v6: bool) -> std::io::Result<()> {
    if v6 {
        let value = match cutting {
            Cutting::Nobody => Ipv6PathMtuDiscovery::DO,
            Cutting::Routers => Ipv6PathMtuDiscovery::DONT,
            Cutting::Sender | Cutting::Deaf => Ipv6PathMtuDiscovery::WANT,
        };
        return Ok(set_ipv6_mtu_discover(socket, value)?);
    }
    let value = match cutting {
        Cutting::Nobody => Ipv4PathMtuDiscovery::DO,
        Cutting::Routers => Ipv4PathMtuDiscovery::DONT,
        Cutting::Sender => Ipv4PathMtuDiscovery::WANT,
        Cutting::Deaf => Ipv4PathMtuDiscovery::OMIT,
    };
    Ok(set_ip_mtu_discover(socket, value)?)
}

/// Bytes that look like nothing else, of this length.
pub fn bytes(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) | 1 << 32;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Forgets what this network namespace has learnt of ways.
pub fn forget_ways() {
    std::fs::write("/proc/sys/net/ipv4/route/flush", "1").unwrap();
    let flushed = Command::new("ip").args(["-6", "route", "flush", "cache"]).output().unwrap();
    assert!(flushed.status.success(), "{}", String::from_utf8_lossy(&flushed.stderr));
}

/// Sends a datagram to the echo server until it comes back whole. Where nobody may cut, it is made smaller as the
/// sender is told, from a packet of `size` bytes; returns the size that came back.
///
/// # Errors
/// When it was told something useless, or nothing.
pub fn datagram(server: SocketAddr, cutting: Cutting, mut size: usize) -> std::io::Result<usize> {
    let headers = if server.is_ipv6() { 48 } else { 28 };
    let socket = UdpSocket::bind(if server.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" })?;
    ask(&socket, cutting, server.is_ipv6())?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; 65_536];
    let mut told = Vec::new();
    for _ in 0..ATTEMPTS {
        let sent = bytes(size - headers, size as u8);
        match socket.send(&sent).and_then(|_| socket.recv(&mut buffer)) {
            Ok(back) if buffer[..back] == sent => return Ok(size),
            Ok(back) => return Err(Error::other(format!("{back} other bytes came back"))),
            Err(e) if e.raw_os_error() == Some(nix::libc::EMSGSIZE) => {
                let mtu = if server.is_ipv6() { ipv6_mtu(&socket)? } else { ip_mtu(&socket)? } as usize;
                told.push(mtu);
                if cutting == Cutting::Nobody {
                    if mtu >= size || mtu < SMALLEST {
                        return Err(Error::other(format!("told {told:?}")));
                    }
                    size = mtu;
                }
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) => return Err(e),
        }
    }
    Err(Error::other(format!("lost; told {told:?}")))
}

/// So many bytes go over one TCP connection to the echo server, and come back.
pub fn stream(server: SocketAddr, length: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let (sent, mut writer) = (bytes(length, 1), stream.try_clone()?);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write_all(&sent));
        let mut back = vec![0; length];
        stream.read_exact(&mut back)?;
        writing.join().unwrap()?;
        if back == sent { Ok(()) } else { Err(Error::other("other bytes came back")) }
    })
}

/// A socket for datagrams of this address's family alone.
pub fn datagrams(address: SocketAddr, cutting: Cutting) -> std::io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    let socket: UdpSocket = socket.into();
    ask(&socket, cutting, address.is_ipv6())?;
    Ok(socket)
}

impl Host {
    /// Servers that send back what they get, over TCP and UDP. Answers are cut as `cutting` says.
    pub fn serve_echo(&self, port: u16, cutting: Cutting) {
        let (ready, is_ready) = std::sync::mpsc::channel();
        self.run(move || {
            for any in ["0.0.0.0", "::"] {
                let address = SocketAddr::new(any.parse().unwrap(), port);
                let udp = datagrams(address, cutting).unwrap();
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 65_536];
                    while let Ok((size, peer)) = udp.recv_from(&mut buffer) {
                        let _ = udp.send_to(&buffer[..size], peer);
                    }
                });
            }
            let tcp = TcpListener::bind(("::", port)).unwrap();
            ready.send(()).unwrap();
            for stream in tcp.incoming() {
                let Ok(mut stream) = stream else { break };
                std::thread::spawn(move || {
                    let Ok(mut writer) = stream.try_clone() else { return };
                    let _ = std::io::copy(&mut stream, &mut writer);
                });
            }
        });
        is_ready.recv_timeout(DEADLINE).unwrap();
    }
}

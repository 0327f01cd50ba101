//! A packet as a value: what the model speaks about, and what frames are built from and read into.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

/// An address and a port. The id of an echo request is its source port, that of a reply its destination port; where
/// there is no port it is zero.
pub type End = SocketAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Echo,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Tcp(Segment),
    Udp,
    Ping,
    Pong,
    Error(Complaint),
    /// Without ports.
    Other(u8),
    /// A later fragment of a datagram of this protocol.
    Rest(u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub mss: Option<u16>,
    pub scale: Option<u8>,
}

/// An ICMP error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    pub kind: u8,
    pub code: u8,
    /// The MTU of the next hop, where one is told.
    pub mtu: u16,
    pub about: Quote,
}

/// The beginning of a packet, as an ICMP error has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The IP protocol.
    pub protocol: u8,
    pub src: End,
    pub dst: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    Whole,
    First,
    Later,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub src: End,
    pub dst: End,
    pub body: Body,
    pub ttl: u8,
    /// Of IPv4: it may not be cut.
    pub whole: bool,
    pub piece: Piece,
    pub id: u32,
    /// Bytes from the IP header on.
    pub size: usize,
}

impl Packet {
    pub fn v4(&self) -> bool {
        self.src.is_ipv4()
    }

    /// Routers may not cut it.
    pub fn fixed(&self) -> bool {
        !self.v4() || self.whole
    }

    /// Bytes behind the header of a TCP segment, with its options as frames have them.
    pub fn data(&self) -> usize {
        let Body::Tcp(Segment { mss, scale, .. }) = self.body else { return 0 };
        let fragment = if self.piece != Piece::Whole && !self.v4() { 8 } else { 0 };
        let options = 4 * (usize::from(mss.is_some()) + usize::from(scale.is_some()));
        let headers = if self.v4() { 20 } else { 40 } + fragment + 20 + options;
        self.size.saturating_sub(headers)
    }

    /// What a NAT needs ports for.
    pub fn protocol(&self) -> Option<Protocol> {
        match self.body {
            Body::Tcp(_) => Some(Protocol::Tcp),
            Body::Udp => Some(Protocol::Udp),
            Body::Ping | Body::Pong => Some(Protocol::Echo),
            Body::Error(_) | Body::Other(_) | Body::Rest(_) => None,
        }
    }

    /// The number in the IP header.
    pub fn number(&self) -> u8 {
        match &self.body {
            Body::Tcp(_) => 6,
            Body::Udp => 17,
            Body::Ping | Body::Pong | Body::Error(_) => echo_number(self.v4()),
            Body::Other(number) | Body::Rest(number) => *number,
        }
    }

    /// As an error about it would quote it.
    pub fn quote(&self) -> Quote {
        Quote { protocol: self.number(), src: self.src, dst: self.dst }
    }
}

impl Quote {
    pub fn protocol(&self) -> Option<Protocol> {
        match self.protocol {
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            1 | 58 => Some(Protocol::Echo),
            _ => None,
        }
    }
}

pub fn echo_number(v4: bool) -> u8 {
    if v4 { 1 } else { 58 }
}

/// The same end with another address.
pub fn at(ip: IpAddr, port: u16) -> End {
    SocketAddr::new(ip, port)
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.body {
            Body::Tcp(segment) => {
                let flags: String = "FSRPA"
                    .chars()
                    .enumerate()
                    .filter(|(bit, _)| segment.flags >> bit & 1 != 0)
                    .map(|(_, c)| c)
                    .collect();
                write!(f, "tcp {flags} seq={} ack={}", segment.seq, segment.ack)?;
                segment.mss.map_or(Ok(()), |mss| write!(f, " mss={mss}"))?;
                segment.scale.map_or(Ok(()), |scale| write!(f, " scale={scale}"))?;
            }
            Body::Udp => write!(f, "udp")?,
            Body::Ping => write!(f, "ping")?,
            Body::Pong => write!(f, "pong")?,
            Body::Error(error) => write!(
                f,
                "error {}/{} mtu={} about [{} {}>{}]",
                error.kind, error.code, error.mtu, error.about.protocol, error.about.src, error.about.dst
            )?,
            Body::Other(number) => write!(f, "protocol {number}")?,
            Body::Rest(number) => write!(f, "rest of {number}")?,
        }
        write!(f, " {}>{} ttl={} size={} id={:#x}", self.src, self.dst, self.ttl, self.size, self.id)?;
        if self.piece == Piece::First {
            write!(f, " first")?;
        }
        if self.whole { write!(f, " df") } else { Ok(()) }
    }
}

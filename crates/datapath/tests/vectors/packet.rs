//! Packets, written short.

use std::net::{IpAddr, SocketAddr};

use crate::names::{HOST, POD, mac};

/// An IP packet in an Ethernet frame, to be built.
#[derive(Clone)]
pub struct Packet {
    eth: ([u8; 6], [u8; 6]),
    src: IpAddr,
    dst: IpAddr,
    ttl: u8,
    protocol: u8,
    transport: Vec<u8>,
    /// Offset of the transport checksum.
    checksum: Option<usize>,
    ip_options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    fragment: Option<(u16, bool)>,
    dont_fragment: bool,
    behind: usize,
    cut: Option<usize>,
    version: Option<u8>,
}

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP: u8 = 1;
pub const ICMP6: u8 = 58;
pub const GRE: u8 = 47;

fn end(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no address and port"))
}

fn ip(src: &str, dst: &str, protocol: u8, transport: Vec<u8>, checksum: Option<usize>) -> Packet {
    Packet {
        eth: (HOST, POD),
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        ttl: 64,
        protocol,
        transport,
        checksum,
        ip_options: Vec::new(),
        extensions: Vec::new(),
        fragment: None,
        dont_fragment: false,
        behind: 0,
        cut: None,
        version: None,
    }
}

/// A TCP segment; flags are letters of `FSRPA`.
pub fn tcp(src: &str, dst: &str, flags: &str) -> Packet {
    let (src, dst) = (end(src), end(dst));
    let bits = flags.chars().map(|flag| 1_u8 << "FSRPA".find(flag).unwrap()).sum();
    let mut segment = Vec::new();
    segment.extend(src.port().to_be_bytes());
    segment.extend(dst.port().to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, bits, 0xff, 0xff, 0, 0, 0, 0]);
    ip(&src.ip().to_string(), &dst.ip().to_string(), TCP, segment, Some(16))
}

/// A UDP datagram with eight bytes.
pub fn udp(src: &str, dst: &str) -> Packet {
    let (src, dst) = (end(src), end(dst));
    let mut datagram = Vec::new();
    datagram.extend(src.port().to_be_bytes());
    datagram.extend(dst.port().to_be_bytes());
    datagram.extend([0, 16, 0, 0]);
    datagram.extend(b"egret...");
    ip(&src.ip().to_string(), &dst.ip().to_string(), UDP, datagram, Some(6))
}

fn icmp(src: &str, dst: &str, v4: u8, v6: u8, code: u8, rest: Vec<u8>) -> Packet {
    let is_v4 = src.parse::<IpAddr>().unwrap().is_ipv4();
    let mut message = vec![if is_v4 { v4 } else { v6 }, code, 0, 0];
    message.extend(rest);
    ip(src, dst, if is_v4 { ICMP } else { ICMP6 }, message, Some(2))
}

fn echo(src: &str, dst: &str, kinds: (u8, u8), id: u16) -> Packet {
    let mut rest = id.to_be_bytes().to_vec();
    rest.extend([0, 1]);
    rest.extend(b"egret...");
    icmp(src, dst, kinds.0, kinds.1, 0, rest)
}

/// An ICMP echo request.
pub fn ping(src: &str, dst: &str, id: u16) -> Packet {
    echo(src, dst, (8, 128), id)
}

/// An ICMP echo reply.
pub fn pong(src: &str, dst: &str, id: u16) -> Packet {
    echo(src, dst, (0, 129), id)
}

/// An ICMP error "port unreachable" that quotes a packet.
pub fn unreachable(src: &str, dst: &str, about: Packet) -> Packet {
    error(src, dst, (3, 1), about)
}

/// An ICMP error "too big", by which a path's MTU is found.
pub fn too_big(src: &str, dst: &str, mtu: u16, about: Packet) -> Packet {
    let mut packet = error(src, dst, (3, 2), about);
    let v4 = packet.protocol == ICMP;
    packet.transport[1] = if v4 { 4 } else { 0 };
    packet.transport[6..8].copy_from_slice(&mtu.to_be_bytes());
    packet
}

fn error(src: &str, dst: &str, kinds: (u8, u8), about: Packet) -> Packet {
    let mut rest = vec![0; 4];
    rest.extend(&about.bytes()[14..]);
    let code = if src.parse::<IpAddr>().unwrap().is_ipv4() { 3 } else { 4 };
    icmp(src, dst, kinds.0, kinds.1, code, rest)
}

/// A packet of a protocol without ports.
pub fn other(src: &str, dst: &str, protocol: u8) -> Packet {
    ip(src, dst, protocol, vec![0; 16], None)
}

/// A neighbour solicitation for an address.
pub fn who_has6(asker: &str, target: &str) -> Packet {
    let target: std::net::Ipv6Addr = target.parse().unwrap();
    let group = {
        let last = target.octets();
        format!("ff02::1:ff{:02x}:{:02x}{:02x}", last[13], last[14], last[15])
    };
    let mut rest = vec![0; 4];
    rest.extend(target.octets());
    let mut packet = icmp(asker, &group, 0, 135, 0, rest).ttl(255).eth("group", "asker");
    if packet.src.is_unspecified() {
        return packet;
    }
    packet.transport.extend([1, 1]);
    packet.transport.extend(mac("asker"));
    packet
}

impl Packet {
    /// Destination and source of the frame.
    pub fn eth(mut self, dst: &str, src: &str) -> Self {
        self.eth = (mac(dst), mac(src));
        self
    }

    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Adds TCP options, padded to a multiple of four bytes.
    pub fn options(mut self, options: &[u8]) -> Self {
        assert_eq!(self.protocol, TCP);
        self.transport.extend(options);
        while !self.transport.len().is_multiple_of(4) {
            self.transport.push(0);
        }
        self.transport[12] = (self.transport.len() as u8 / 4) << 4;
        self
    }

    /// Adds the TCP option for the largest segment.
    pub fn mss(self, mss: u16) -> Self {
        let [high, low] = mss.to_be_bytes();
        self.options(&[2, 4, high, low])
    }

    /// Adds bytes at the end.
    pub fn payload(mut self, length: usize) -> Self {
        self.transport.extend(std::iter::repeat_n(0xe6, length));
        if self.protocol == UDP {
            let length = (self.transport.len() as u16).to_be_bytes();
            self.transport[4..6].copy_from_slice(&length);
        }
        self
    }

    /// Sets two bytes of the transport's payload, to steer a checksum.
    pub fn word(mut self, at: usize, word: u16) -> Self {
        self.transport[at..at + 2].copy_from_slice(&word.to_be_bytes());
        self
    }

    /// Makes its eight bytes of payload a probe. `kind` 3 asks about the link, 4 answers.
    pub fn probe(mut self, kind: u8, target: &str, nonce: u64) -> Self {
        self.transport.truncate(8);
        self.transport.extend(&probe(kind, target, nonce)[14..]);
        self.payload(0)
    }

    /// Leaves the transport checksum zero: for UDP over IPv4 "none".
    pub fn no_checksum(mut self) -> Self {
        self.checksum = None;
        self
    }

    /// Asks routers not to cut it; IPv6 asks always.
    pub fn dont_fragment(mut self) -> Self {
        self.dont_fragment = true;
        self
    }

    /// Sets the sequence and acknowledgment numbers of TCP.
    pub fn numbers(mut self, seq: u32, ack: u32) -> Self {
        assert_eq!(self.protocol, TCP);
        self.transport[4..8].copy_from_slice(&seq.to_be_bytes());
        self.transport[8..12].copy_from_slice(&ack.to_be_bytes());
        self
    }

    /// Makes it a fragment that begins at a multiple of eight bytes.
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = Some((offset, more));
        self
    }

    /// Adds IPv4 options, a multiple of four bytes.
    pub fn ip_options(mut self, options: &[u8]) -> Self {
        self.ip_options = options.to_vec();
        self
    }

    /// Puts an IPv6 extension header in front of the transport.
    pub fn extension(mut self, kind: u8, eights: usize) -> Self {
        self.extensions.push((kind, vec![0; eights * 8]));
        self
    }

    /// Adds bytes behind the end of the IP packet.
    pub fn behind(mut self, length: usize) -> Self {
        self.behind = length;
        self
    }

    /// Cuts the frame after so many bytes.
    pub fn cut(mut self, length: usize) -> Self {
        self.cut = Some(length);
        self
    }

    /// Writes another IP version into the header.
    pub fn version(mut self, version: u8) -> Self {
        self.version = Some(version);
        self
    }

    /// The frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut transport = self.transport.clone();
        if let Some(at) = self.checksum {
            let sum = checksum(&[&self.pseudo_header(transport.len()), &transport]);
            let sum = if sum == 0 && self.protocol == UDP { 0xffff } else { sum };
            transport[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        let mut frame = [self.eth.0, self.eth.1].concat();
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                frame.extend([0x08, 0x00]);
                let words = 5 + self.ip_options.len() / 4;
                let mut header = vec![0x40 | words as u8, 0];
                header.extend(((4 * words + transport.len()) as u16).to_be_bytes());
                let (offset, more) = self.fragment.unwrap_or((0, false));
                header.extend([0, 7]);
                let flags = if more { 0x2000 } else { 0 } | if self.dont_fragment { 0x4000 } else { 0 };
                header.extend((offset | flags).to_be_bytes());
                header.extend([self.ttl, self.protocol, 0, 0]);
                header.extend(src.octets());
                header.extend(dst.octets());
                header.extend(&self.ip_options);
                let sum = checksum(&[&header]);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                frame.extend(header);
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                let mut extensions = self.extensions.clone();
                if let Some((offset, more)) = self.fragment {
                    let field = (offset << 3 | u16::from(more)).to_be_bytes();
                    extensions.push((44, vec![0, 0, field[0], field[1], 0, 0, 0, 7]));
                }
                let kinds: Vec<u8> =
                    extensions.iter().map(|(kind, _)| *kind).chain([self.protocol]).collect();
                let chain: Vec<u8> = extensions
                    .iter()
                    .enumerate()
                    .flat_map(|(index, (kind, bytes))| {
                        let mut bytes = bytes.clone();
                        bytes[0] = kinds[index + 1];
                        if *kind != 44 {
                            bytes[1] = (bytes.len() / 8 - 1) as u8;
                        }
                        bytes
                    })
                    .collect();
                frame.extend(((chain.len() + transport.len()) as u16).to_be_bytes());
                frame.extend([kinds[0], self.ttl]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
                frame.extend(chain);
            }
            _ => panic!("addresses of two families"),
        }
        frame.extend(transport);
        if let Some(version) = self.version {
            frame[14] = frame[14] & 0x0f | version << 4;
        }
        frame.extend(std::iter::repeat_n(0, self.behind));
        frame.truncate(self.cut.unwrap_or(usize::MAX));
        frame
    }

    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        match (self.src, self.dst) {
            (IpAddr::V4(_), _) if self.protocol == ICMP => Vec::new(),
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                [&src.octets()[..], &dst.octets(), &[0, self.protocol], &(length as u16).to_be_bytes()]
                    .concat()
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                [&src.octets()[..], &dst.octets(), &(length as u32).to_be_bytes(), &[0, 0, 0, self.protocol]]
                    .concat()
            }
            _ => panic!("addresses of two families"),
        }
    }
}

/// The Internet checksum over parts, all but the last of even length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    !crate::sums::sum(0, &parts.concat())
}

impl From<Packet> for Vec<u8> {
    fn from(packet: Packet) -> Self {
        packet.bytes()
    }
}

/// An ARP request, or whatever `operation` says.
pub fn arp(operation: u16, asker: &str, target: &str) -> Vec<u8> {
    let (sender, asked) =
        (asker.parse::<std::net::Ipv4Addr>().unwrap(), target.parse::<std::net::Ipv4Addr>().unwrap());
    let mut frame = [mac("everyone"), mac("asker")].concat();
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4]);
    frame.extend(operation.to_be_bytes());
    frame.extend(mac("asker"));
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(asked.octets());
    frame
}

/// A probe frame. `kind` 1 asks, 2 answers.
pub fn probe(kind: u8, target: &str, nonce: u64) -> Vec<u8> {
    let target = match target.parse().unwrap() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut frame = [mac("overlay"), mac("prober")].concat();
    frame.extend([0x88, 0xb5]);
    frame.extend(0x4567_5062_u32.to_be_bytes());
    frame.extend([kind, 0, 0, 0]);
    frame.extend(target.octets());
    frame.extend(nonce.to_be_bytes());
    frame
}

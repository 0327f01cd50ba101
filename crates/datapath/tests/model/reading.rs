//! What a frame says, read without trust. The programs must not be believed, so nothing here is theirs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::packet::{Body, Complaint, Packet, Piece, Quote, Segment, at};
use crate::sums::{pseudo, sum};

/// A frame that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub to: [u8; 6],
    pub from: [u8; 6],
    pub packet: Packet,
    /// Every checksum holds, and every length fits.
    pub sound: bool,
}

struct Header {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    ttl: u8,
    whole: bool,
    piece: Piece,
    id: u32,
    size: usize,
    /// Where the transport begins.
    transport: usize,
    sound: bool,
}

fn word(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(offset..offset + 2)?.try_into().ok()?))
}

fn long(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

fn header_v4(ip: &[u8]) -> Option<Header> {
    let length = usize::from(ip.first()? & 15) * 4;
    if ip.len() < length || length < 20 {
        return None;
    }
    let place = word(ip, 6)?;
    let size = usize::from(word(ip, 2)?);
    let address = |at: usize| Some(IpAddr::V4(Ipv4Addr::from(long(ip, at)?)));
    Some(Header {
        src: address(12)?,
        dst: address(16)?,
        protocol: ip[9],
        ttl: ip[8],
        whole: place & 0x4000 != 0,
        piece: piece(place & 0x1fff, place & 0x2000 != 0),
        id: u32::from(word(ip, 4)?),
        size,
        transport: length,
        sound: sum(0, &ip[..length]) == 0xffff && size <= ip.len() && size >= length,
    })
}

fn header_v6(ip: &[u8]) -> Option<Header> {
    let address = |at: usize| {
        let octets: [u8; 16] = ip.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)))
    };
    let size = 40 + usize::from(word(ip, 4)?);
    let mut header = Header {
        src: address(8)?,
        dst: address(24)?,
        protocol: ip[6],
        ttl: ip[7],
        whole: false,
        piece: Piece::Whole,
        id: 0,
        size,
        transport: 40,
        sound: size <= ip.len(),
    };
    while [0, 43, 60, 44].contains(&header.protocol) {
        let extension = ip.get(header.transport..header.transport + 8)?;
        if header.protocol == 44 {
            let place = word(extension, 2)?;
            header.piece = piece(place >> 3, place & 1 != 0);
            header.id = long(extension, 4)?;
            header.transport += 8;
        } else {
            header.transport += (usize::from(extension[1]) + 1) * 8;
        }
        header.protocol = extension[0];
        if header.piece == Piece::Later {
            break;
        }
    }
    header.sound &= header.transport <= size;
    Some(header)
}

fn piece(offset: u16, more: bool) -> Piece {
    match (offset, more) {
        (0, false) => Piece::Whole,
        (0, true) => Piece::First,
        _ => Piece::Later,
    }
}

fn header(ip: &[u8], v4: bool) -> Option<Header> {
    match (ip.first()? >> 4, v4) {
        (4, true) => header_v4(ip),
        (6, false) => header_v6(ip),
        _ => None,
    }
}

/// Source and destination of whatever calls itself IP, and nothing else of it.
pub fn addresses(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let ip = frame.get(14..)?;
    match (word(frame, 12)?, ip.first()? >> 4) {
        (0x0800, 4) => {
            let address = |at: usize| Some(IpAddr::V4(Ipv4Addr::from(long(ip, at)?)));
            Some((address(12)?, address(16)?))
        }
        (0x86dd, 6) => {
            let address = |at: usize| {
                let octets: [u8; 16] = ip.get(at..at + 16)?.try_into().ok()?;
                Some(IpAddr::V6(Ipv6Addr::from(octets)))
            };
            Some((address(8)?, address(24)?))
        }
        _ => None,
    }
}

/// An IP packet in an Ethernet frame; `None` for all else.
pub fn read(frame: &[u8]) -> Option<Reading> {
    let v4 = match word(frame, 12)? {
        0x0800 => true,
        0x86dd => false,
        _ => return None,
    };
    let ip = &frame[14..];
    let header = header(ip, v4)?;
    let transport = ip.get(header.transport..header.size.min(ip.len()))?;
    let (body, ports) = body(&header, transport, v4)?;
    let mut sound = header.sound;
    if !matches!(body, Body::Other(_) | Body::Rest(_)) {
        let unsummed = body == Body::Udp && v4 && word(transport, 6) == Some(0);
        let start = pseudo(header.src, header.dst, header.protocol, transport.len());
        sound &= unsummed || sum(start, transport) == 0xffff;
    }
    let Header { src, dst, ttl, whole, piece, id, size, .. } = header;
    let packet = Packet { src: at(src, ports.0), dst: at(dst, ports.1), body, ttl, whole, piece, id, size };
    Some(Reading { to: frame[..6].try_into().ok()?, from: frame[6..12].try_into().ok()?, packet, sound })
}

fn body(header: &Header, transport: &[u8], v4: bool) -> Option<(Body, (u16, u16))> {
    if header.piece == Piece::Later {
        return Some((Body::Rest(header.protocol), (0, 0)));
    }
    let ports = (word(transport, 0), word(transport, 2));
    let icmp = (header.protocol == 1 && v4) || (header.protocol == 58 && !v4);
    match header.protocol {
        6 => Some((Body::Tcp(segment(transport)?), (ports.0?, ports.1?))),
        17 => {
            word(transport, 6)?;
            Some((Body::Udp, (ports.0?, ports.1?)))
        }
        _ if icmp => {
            let id = word(transport, 4)?;
            word(transport, 6)?;
            match (v4, transport[0]) {
                (true, 8) | (false, 128) => Some((Body::Ping, (id, 0))),
                (true, 0) | (false, 129) => Some((Body::Pong, (0, id))),
                (true, 3 | 11 | 12) | (false, 0..128) => Some((
                    match quote(&transport[8..], v4) {
                        Some(about) => Body::Error(Complaint {
                            kind: transport[0],
                            code: transport[1],
                            mtu: word(transport, 6)?,
                            about,
                        }),
                        None => Body::Other(header.protocol),
                    },
                    (0, 0),
                )),
                _ => Some((Body::Other(header.protocol), (0, 0))),
            }
        }
        other => Some((Body::Other(other), (0, 0))),
    }
}

fn segment(bytes: &[u8]) -> Option<Segment> {
    let header = bytes.get(..20)?;
    let (mut mss, mut scale) = (None, None);
    let mut options = bytes.get(20..usize::from(header[12] >> 4) * 4)?;
    while let [kind, rest @ ..] = options {
        match (kind, rest) {
            (0, _) => break,
            (1, _) => options = rest,
            (2, [4, high, low, ..]) => mss = Some(u16::from_be_bytes([*high, *low])),
            (3, [3, shift, ..]) => scale = Some(*shift),
            _ => {}
        }
        if *kind != 1 {
            options = options.get(usize::from(*rest.first()?).max(2)..)?;
        }
    }
    Some(Segment { flags: header[13], seq: long(header, 4)?, ack: long(header, 8)?, mss, scale })
}

fn quote(ip: &[u8], v4: bool) -> Option<Quote> {
    let header = header(ip, v4)?;
    if header.piece == Piece::Later {
        return None;
    }
    let transport = ip.get(header.transport..)?;
    let ports = match header.protocol {
        6 | 17 => (word(transport, 0)?, word(transport, 2)?),
        1 | 58 => match transport.first()? {
            8 | 128 => (word(transport, 4)?, 0),
            _ => (0, word(transport, 4)?),
        },
        _ => (0, 0),
    };
    Some(Quote { protocol: header.protocol, src: at(header.src, ports.0), dst: at(header.dst, ports.1) })
}

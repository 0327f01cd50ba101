//! Frames of packets.

use std::net::IpAddr;

use crate::packet::{Body, Complaint, Packet, Piece, Quote, Segment};
use crate::sums::sum;

/// Ethernet, with all checksums right. The first fragment's is that of a datagram whose rest sums up to nothing.
pub fn frame(packet: &Packet, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    let mut frame = [to, from].concat();
    let ip = if packet.v4() { 20 } else { 40 };
    let fragment = if packet.piece != Piece::Whole && !packet.v4() { 8 } else { 0 };
    let mut transport = transport(packet, packet.size.saturating_sub(ip + fragment));
    finish(packet, &mut transport);
    match (packet.src.ip(), packet.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend(((20 + transport.len()) as u16).to_be_bytes());
            frame.extend((packet.id as u16).to_be_bytes());
            let place: u16 = match packet.piece {
                Piece::Whole => 0,
                Piece::First => 0x2000,
                Piece::Later => 185,
            };
            frame.extend((place | if packet.whole { 0x4000 } else { 0 }).to_be_bytes());
            frame.extend([packet.ttl, packet.number(), 0, 0]);
            frame.extend(src.octets());
            frame.extend(dst.octets());
            let check = !sum(0, &frame[14..]);
            frame[24..26].copy_from_slice(&check.to_be_bytes());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(((fragment + transport.len()) as u16).to_be_bytes());
            frame.extend([if fragment == 0 { packet.number() } else { 44 }, packet.ttl]);
            frame.extend(src.octets());
            frame.extend(dst.octets());
            if fragment != 0 {
                let place: u16 = if packet.piece == Piece::First { 1 } else { 185 << 3 };
                frame.extend([packet.number(), 0]);
                frame.extend(place.to_be_bytes());
                frame.extend(packet.id.to_be_bytes());
            }
        }
        _ => panic!("addresses of two families"),
    }
    frame.extend(transport);
    frame
}

fn transport(packet: &Packet, length: usize) -> Vec<u8> {
    let mut bytes = match &packet.body {
        Body::Tcp(segment) => tcp(packet, segment),
        Body::Udp => udp(packet, length),
        Body::Ping => echo(if packet.v4() { 8 } else { 128 }, packet.src.port()),
        Body::Pong => echo(if packet.v4() { 0 } else { 129 }, packet.dst.port()),
        Body::Error(complaint) => return error(packet.v4(), complaint),
        Body::Other(_) | Body::Rest(_) => Vec::new(),
    };
    bytes.resize(length.max(bytes.len()), 0xe6);
    bytes
}

fn tcp(packet: &Packet, segment: &Segment) -> Vec<u8> {
    let mut bytes = [packet.src.port().to_be_bytes(), packet.dst.port().to_be_bytes()].concat();
    bytes.extend(segment.seq.to_be_bytes());
    bytes.extend(segment.ack.to_be_bytes());
    bytes.extend([0x50, segment.flags, 0xff, 0xff, 0, 0, 0, 0]);
    if let Some(scale) = segment.scale {
        bytes.extend([1, 3, 3, scale]);
    }
    if let Some(mss) = segment.mss {
        bytes.extend([2, 4]);
        bytes.extend(mss.to_be_bytes());
    }
    bytes[12] = (bytes.len() as u8 / 4) << 4;
    bytes
}

fn udp(packet: &Packet, length: usize) -> Vec<u8> {
    let mut bytes = [packet.src.port().to_be_bytes(), packet.dst.port().to_be_bytes()].concat();
    bytes.extend((length.max(8) as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn echo(kind: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![kind, 0, 0, 0, high, low, 0, 1]
}

fn error(v4: bool, complaint: &Complaint) -> Vec<u8> {
    let [high, low] = complaint.mtu.to_be_bytes();
    let mut bytes = vec![complaint.kind, complaint.code, 0, 0, 0, 0, high, low];
    bytes.extend(quoted(v4, &complaint.about));
    bytes
}

/// The quoted packet: header and twelve bytes, the transport checksum none that holds.
fn quoted(v4: bool, about: &Quote) -> Vec<u8> {
    let packet = Packet {
        src: about.src,
        dst: about.dst,
        body: match about.protocol {
            6 => Body::Tcp(Segment { flags: 0x10, seq: 7, ack: 7, mss: None, scale: None }),
            17 => Body::Udp,
            1 | 58 if about.src.port() != 0 => Body::Ping,
            1 | 58 => Body::Pong,
            other => Body::Other(other),
        },
        ttl: 60,
        whole: false,
        piece: Piece::Whole,
        id: 9,
        size: if v4 { 40 } else { 60 },
    };
    frame(&packet, [0; 6], [0; 6]).split_off(14)
}

fn finish(packet: &Packet, transport: &mut [u8]) {
    let at = match packet.body {
        Body::Tcp(_) => 16,
        Body::Udp => 6,
        Body::Ping | Body::Pong | Body::Error(_) => 2,
        Body::Other(_) | Body::Rest(_) => return,
    };
    let start = crate::sums::pseudo(packet.src.ip(), packet.dst.ip(), packet.number(), transport.len());
    let check = match !sum(start, transport) {
        0 if packet.body == Body::Udp => 0xffff,
        other => other,
    };
    transport[at..at + 2].copy_from_slice(&check.to_be_bytes());
}

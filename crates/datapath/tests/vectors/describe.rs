//! Frames as text: what a person would write down, with every checksum verified.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{IpNumber, LaxIpPayloadSlice, LaxNetSlice, LaxSlicedPacket, TransportSlice};

use egret_datapath::{FlowEvent, Told};

use crate::names::name;
use crate::packet::checksum;
use crate::world::protocol;

/// What was told of a flow, in the words of [`World::state`](crate::world::World::state).
pub fn event(event: &FlowEvent) -> String {
    let what = match event.told {
        Told::Opened => "opened",
        Told::Closed => "closed",
        Told::Expired => "expired",
        Told::Orphaned => "orphaned",
        Told::Refused { reason, .. } => return format!("refused {reason}"),
    };
    let egress = event.egress.map(|end| end.to_string()).unwrap_or_default();
    format!("{what} {} {}>{} = {egress}", protocol(event.protocol), event.pod, event.remote)
}

/// A frame as `source>destination protocol from>to ...`.
pub fn frame(bytes: &[u8]) -> String {
    let mut text = format!("{}>{} ", name(&bytes[6..12]), name(&bytes[..6]));
    match u16::from_be_bytes([bytes[12], bytes[13]]) {
        0x0806 => arp(&mut text, &bytes[14..]),
        0x88b5 => probe(&mut text, &bytes[14..]),
        _ => match LaxSlicedPacket::from_ethernet(bytes) {
            Ok(packet) => ip(&mut text, &packet),
            Err(error) => text.push_str(&error.to_string()),
        },
    }
    if let [8, 0, _, _, high, low, ..] = bytes[12..] {
        let behind = bytes.len().saturating_sub(14 + usize::from(u16::from_be_bytes([high, low])));
        if behind > 0 {
            let _ = write!(text, " and {behind} bytes behind");
        }
    }
    text
}

fn ip(text: &mut String, packet: &LaxSlicedPacket) {
    let (src, dst, ttl): (IpAddr, IpAddr, u8) = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            if header.to_header().calc_header_checksum() != header.header_checksum() {
                text.push_str("BAD-IP-CHECKSUM ");
            }
            (header.source_addr().into(), header.destination_addr().into(), header.ttl())
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into(), header.hop_limit())
        }
        _ => {
            text.push_str("no IP");
            return;
        }
    };
    match &packet.transport {
        Some(transport) => transport_of(text, transport, src, dst),
        None => piece(text, packet, src, dst),
    }
    let _ = write!(text, " ttl={ttl}");
}

/// A fragment: its place, and the ports if it is the first. Its checksum covers what is not here.
fn piece(text: &mut String, packet: &LaxSlicedPacket, src: IpAddr, dst: IpAddr) {
    let (at, more, payload) = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) if ip.is_payload_fragmented() => {
            let header = ip.header();
            (header.fragments_offset().value(), header.more_fragments(), ip.payload().payload)
        }
        Some(LaxNetSlice::Ipv6(ip)) if ip.is_payload_fragmented() => {
            let fragment = ip.extensions().clone().into_iter().find_map(|extension| match extension {
                etherparse::Ipv6ExtensionSlice::Fragment(fragment) => Some(fragment),
                _ => None,
            });
            let fragment = fragment.unwrap_or_else(|| panic!("a fragment without its header"));
            let (at, more) = (fragment.fragment_offset().value(), fragment.more_fragments());
            (at, more, ip.payload().payload)
        }
        Some(LaxNetSlice::Ipv4(ip)) => return cut(text, ip.payload(), src, dst),
        Some(LaxNetSlice::Ipv6(ip)) => return cut(text, ip.payload(), src, dst),
        _ => return,
    };
    let more = if more { "+" } else { "" };
    let _ = match at {
        0 => {
            let port = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
            write!(text, "piece 0{more} {}>{}", end(src, port(0)), end(dst, port(2)))
        }
        at => write!(text, "piece {at}{more} {src}>{dst}"),
    };
}

/// No transport header that can be read; of one that is cut off, the ports.
fn cut(text: &mut String, payload: &LaxIpPayloadSlice, src: IpAddr, dst: IpAddr) {
    let _ = match (payload.ip_number, payload.payload) {
        (IpNumber::TCP, [a, b, c, d, ..]) => {
            let ports = [u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])];
            write!(text, "cut tcp {}>{}", end(src, ports[0]), end(dst, ports[1]))
        }
        _ => write!(text, "ip {src}>{dst}"),
    };
}

fn end(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

fn transport_of(text: &mut String, transport: &TransportSlice, src: IpAddr, dst: IpAddr) {
    let (protocol, whole) = match transport {
        TransportSlice::Tcp(tcp) => (6, tcp.slice()),
        TransportSlice::Udp(udp) => (17, udp.slice()),
        TransportSlice::Icmpv4(icmp) => (1, icmp.slice()),
        TransportSlice::Icmpv6(icmp) => (58, icmp.slice()),
        TransportSlice::Igmp(_) => return text.push_str("igmp"),
    };
    let without = matches!(transport, TransportSlice::Udp(udp) if udp.checksum() == 0 && src.is_ipv4());
    if without {
        text.push_str("unchecked ");
    } else if sum(protocol, whole, src, dst) != 0 {
        text.push_str("BAD-CHECKSUM ");
    }
    match transport {
        TransportSlice::Tcp(tcp) => {
            let flags = [tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack()];
            let flags: String =
                "FSRPA".chars().zip(flags).filter(|(_, set)| *set).map(|(flag, _)| flag).collect();
            let (from, to) = (end(src, tcp.source_port()), end(dst, tcp.destination_port()));
            let _ = write!(text, "tcp {from}>{to} {flags}");
            for option in tcp.options_iterator().flatten() {
                if let etherparse::TcpOptionElement::MaximumSegmentSize(mss) = option {
                    let _ = write!(text, " mss={mss}");
                }
            }
        }
        TransportSlice::Udp(udp) => {
            let _ = write!(text, "udp {}>{}", end(src, udp.source_port()), end(dst, udp.destination_port()));
            if udp.payload().starts_with(b"EgPb") {
                text.push(' ');
                probe(text, udp.payload());
            }
        }
        TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_) => {
            icmp(text, whole, src, dst)
        }
    }
}

fn icmp(text: &mut String, message: &[u8], src: IpAddr, dst: IpAddr) {
    let id = u16::from_be_bytes([message[4], message[5]]);
    let _ = match (src.is_ipv4(), message[0]) {
        (true, 8) | (false, 128) => write!(text, "ping {src}>{dst} id={id}"),
        (true, 0) | (false, 129) => write!(text, "pong {src}>{dst} id={id}"),
        (true, 3 | 11 | 12) | (false, 1..=4) => {
            let mtu = match (src.is_ipv4(), message[0], message[1]) {
                (true, 3, 4) | (false, 2, 0) => {
                    format!(" mtu={}", u16::from_be_bytes([message[6], message[7]]))
                }
                _ => String::new(),
            };
            let about = quoted(&message[8..]);
            write!(text, "error {}/{}{mtu} {src}>{dst} about [{about}]", message[0], message[1])
        }
        (false, 136) => {
            let mut target = [0; 16];
            target.copy_from_slice(&message[8..24]);
            let flags = format!("{:#04x}", message[4]);
            let option = if message[24..26] == [2, 1] { name(&message[26..32]) } else { "?".to_owned() };
            write!(text, "advertisement {src}>{dst} of {} at {option} {flags}", Ipv6Addr::from(target))
        }
        (_, kind) => write!(text, "icmp {src}>{dst} type={kind}"),
    };
}

fn quoted(packet: &[u8]) -> String {
    let mut text = String::new();
    match LaxSlicedPacket::from_ip(packet) {
        // A quoted transport checksum is not kept: it may be cut off.
        Ok(packet) => ip(&mut text, &packet),
        Err(error) => text.push_str(&error.to_string()),
    }
    text.replace("BAD-CHECKSUM ", "")
}

fn sum(protocol: u8, bytes: &[u8], src: IpAddr, dst: IpAddr) -> u16 {
    let length = bytes.len();
    let pseudo = match (src, dst) {
        (IpAddr::V4(_), _) if protocol == 1 => Vec::new(),
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            [&src.octets()[..], &dst.octets(), &[0, protocol], &(length as u16).to_be_bytes()].concat()
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            [&src.octets()[..], &dst.octets(), &(length as u32).to_be_bytes(), &[0, 0, 0, protocol]].concat()
        }
        _ => return 0,
    };
    checksum(&[&pseudo, bytes])
}

fn arp(text: &mut String, bytes: &[u8]) {
    let v4 = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
    let word = if bytes[7] == 2 { "is-at" } else { "who-has" };
    let _ = write!(
        text,
        "arp {word} from {} {} to {} {}",
        v4(14),
        name(&bytes[8..14]),
        v4(24),
        name(&bytes[18..24])
    );
}

fn probe(text: &mut String, bytes: &[u8]) {
    let mut target = [0; 16];
    target.copy_from_slice(&bytes[8..24]);
    let word = match bytes[4] {
        1 => "question",
        2 => "answer",
        3 => "link-question",
        4 => "link-answer",
        _ => "?",
    };
    let ready = if bytes[5] != 0 { "ready" } else { "unready" };
    let nonce = u64::from_be_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|index: usize| bytes[24 + index]));
    let _ = write!(text, "probe {word} {ready} {} {nonce:#x}", Ipv6Addr::from(target).to_canonical());
}

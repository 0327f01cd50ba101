//! The headers of a captured frame, as far as a verdict needs them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// What connects the packets of one flow. Ports in host byte order; those of ICMP echo are its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source and destination port; `None` in a later fragment, and for protocols without ports.
    pub ports: Option<(u16, u16)>,
}

/// A captured packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its flow.
    pub flow: Flow,
    /// Type and code of ICMP and ICMPv6.
    pub icmp: Option<(u8, u8)>,
    /// Flags of TCP.
    pub tcp_flags: Option<u8>,
    /// Length from the IP header on, in bytes, as the IP header tells it.
    pub length: usize,
}

impl Packet {
    /// Reads a frame that starts with its Ethernet header. `None`: no IP, or too short to say.
    pub fn parse(frame: &[u8]) -> Option<Packet> {
        match u16_at(frame, 12)? {
            0x0800 => v4(frame.get(14..)?),
            0x86dd => v6(frame.get(14..)?),
            _ => None,
        }
    }

    /// Neighbour and router discovery: they belong to a link and never leave it.
    pub fn is_discovery(&self) -> bool {
        self.flow.protocol == ICMPV6 && self.icmp.is_some_and(|(kind, _)| (130..=143).contains(&kind))
    }

    /// An ICMP error: it quotes a packet of somebody else's flow.
    pub fn is_error(&self) -> bool {
        match (self.flow.protocol, self.icmp) {
            (ICMP, Some((kind, _))) => matches!(kind, 3 | 5 | 11 | 12),
            (ICMPV6, Some((kind, _))) => kind < 128,
            _ => false,
        }
    }
}

fn v4(header: &[u8]) -> Option<Packet> {
    let source = IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(header.get(12..16)?).ok()?));
    let destination = IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(header.get(16..20)?).ok()?));
    let length = usize::from(u16_at(header, 2)?);
    let words = usize::from(header[0] & 0x0f);
    let later_fragment = u16_at(header, 6)? & 0x1fff != 0;
    let payload = if later_fragment { None } else { header.get(words * 4..) };
    Some(transport(source, destination, header[9], payload, length))
}

fn v6(header: &[u8]) -> Option<Packet> {
    let source = IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(header.get(8..24)?).ok()?));
    let destination = IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(header.get(24..40)?).ok()?));
    let length = usize::from(u16_at(header, 4)?) + 40;
    let (mut next, mut offset, mut later_fragment) = (header[6], 40, false);
    // Hop-by-hop, routing, fragment and destination options, as far as they were captured.
    while matches!(next, 0 | 43 | 44 | 60) {
        let Some(extension) = header.get(offset..offset + 8) else { break };
        let whole = if next == 44 { 8 } else { (usize::from(extension[1]) + 1) * 8 };
        later_fragment |= next == 44 && u16_at(extension, 2)? & 0xfff8 != 0;
        (next, offset) = (extension[0], offset + whole);
    }
    let payload = if later_fragment { None } else { header.get(offset..) };
    Some(transport(source, destination, next, payload, length))
}

fn transport(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    payload: Option<&[u8]>,
    length: usize,
) -> Packet {
    let payload = payload.unwrap_or_default();
    let pair = || Some((u16_at(payload, 0)?, u16_at(payload, 2)?));
    let icmp = match protocol {
        ICMP | ICMPV6 => payload.first().copied().zip(payload.get(1).copied()),
        _ => None,
    };
    let ports = match (protocol, icmp) {
        (TCP | UDP, _) => pair(),
        (ICMP, Some((0 | 8, _))) | (ICMPV6, Some((128 | 129, _))) => u16_at(payload, 4).map(|id| (id, id)),
        _ => None,
    };
    let tcp_flags = if protocol == TCP { payload.get(13).copied() } else { None };
    Packet { flow: Flow { source, destination, protocol, ports }, icmp, tcp_flags, length }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(offset)?, *bytes.get(offset + 1)?]))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A UDP packet of IPv4 in a frame.
    pub fn udp4(source: &str, destination: &str, ports: (u16, u16)) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, UDP, 0, 0]);
        frame.extend(source.parse::<Ipv4Addr>().unwrap().octets());
        frame.extend(destination.parse::<Ipv4Addr>().unwrap().octets());
        frame.extend(ports.0.to_be_bytes());
        frame.extend(ports.1.to_be_bytes());
        frame.extend([0, 8, 0, 0]);
        frame
    }

    #[test]
    fn reads_ipv4() {
        let packet = Packet::parse(&udp4("10.0.0.1", "10.10.0.200", (1025, 53))).unwrap();
        assert_eq!(packet.flow.source.to_string(), "10.0.0.1");
        assert_eq!(packet.flow.ports, Some((1025, 53)));
        assert_eq!(packet.length, 28);
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let mut frame = udp4("10.0.0.1", "10.10.0.200", (1025, 53));
        frame[21] = 1;
        assert_eq!(Packet::parse(&frame).unwrap().flow.ports, None);
    }

    #[test]
    fn reads_ipv6_behind_extension_headers() {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 60, 64]);
        frame.extend("fd00::1".parse::<Ipv6Addr>().unwrap().octets());
        frame.extend("fd00::2".parse::<Ipv6Addr>().unwrap().octets());
        frame.extend([ICMPV6, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend([128, 0, 0, 0, 0x12, 0x34, 0, 1]);
        let packet = Packet::parse(&frame).unwrap();
        assert_eq!(packet.icmp, Some((128, 0)));
        assert_eq!(packet.flow.ports, Some((0x1234, 0x1234)));
        assert!(!packet.is_discovery() && !packet.is_error());
    }

    #[test]
    fn a_cut_frame_is_no_packet_and_no_panic() {
        let frame = udp4("10.0.0.1", "10.10.0.200", (1025, 53));
        for length in 0..frame.len() {
            let _ = Packet::parse(&frame[..length]);
        }
        assert_eq!(Packet::parse(&frame[..33]), None);
    }
}

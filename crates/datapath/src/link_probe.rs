//! Does the link carry packets without tunnel? The question looks like a pod's translated packet; the gateway's
//! program turns it into an answer as it would come from outside.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use egret_plan::LinkProbe;

use crate::layout::{Addr, PROBE_MAGIC};
use crate::packet_socket::PacketSocket;

/// Nobody's (RFC 5737, RFC 3849), in case that the question gets lost.
const END_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const END_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const END_PORT: u16 = 8474;
const QUESTION: u8 = 3;
const UDP: u8 = 17;
/// No router may take it further.
const HOPS: u8 = 1;

/// Asks a gateway without tunnel. The answer comes to the `Prober`.
pub fn ask_link(probe: &LinkProbe, nonce: u64) -> io::Result<()> {
    PacketSocket::open(probe.link, None)?.send(&question(probe, nonce))
}

fn question(probe: &LinkProbe, nonce: u64) -> Vec<u8> {
    let mut payload = Vec::with_capacity(32);
    payload.extend(PROBE_MAGIC.to_be_bytes());
    payload.extend([QUESTION, 0, 0, 0]);
    payload.extend(Addr::from(probe.target).bytes);
    payload.extend(nonce.to_be_bytes());
    let length = 8 + payload.len() as u16;
    let mut datagram = Vec::with_capacity(length.into());
    datagram.extend(probe.port.to_be_bytes());
    datagram.extend(END_PORT.to_be_bytes());
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);

    let mut frame = [probe.gateway, probe.mac].concat();
    let ends: Vec<u8> = match probe.source {
        IpAddr::V4(source) => {
            let mut header = vec![0x45, 0];
            header.extend((20 + length).to_be_bytes());
            header.extend([0, 0, 0x40, 0, HOPS, UDP, 0, 0]);
            header.extend(source.octets());
            header.extend(END_V4.octets());
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend([0x08, 0x00]);
            frame.extend(&header);
            header.split_off(12)
        }
        IpAddr::V6(source) => {
            let ends = [source.octets(), END_V6.octets()].concat();
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([UDP, HOPS]);
            frame.extend(&ends);
            ends
        }
    };
    let sum = match checksum(&[&ends, &[0, UDP], &length.to_be_bytes(), &datagram]) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    frame.extend(datagram);
    frame
}

/// The Internet checksum (RFC 1071) over parts of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    #[test]
    fn the_question_is_a_datagram_from_a_leased_port_with_valid_checksums() {
        for (source, end) in [("10.10.0.11", "192.0.2.1"), ("fd00:10:10::11", "2001:db8::1")] {
            let source: IpAddr = source.parse().unwrap();
            let probe = LinkProbe {
                link: 2,
                mac: [2, 0, 0, 0, 0, 1],
                gateway: [2, 0, 0, 0, 0, 4],
                target: "10.0.0.4".parse().unwrap(),
                source,
                port: 2048,
            };
            let frame = question(&probe, 77);
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP: {packet:?}") };
            assert_eq!((udp.source_port(), udp.destination_port()), (2048, 8474));
            let (to, from) = match packet.net {
                Some(NetSlice::Ipv4(ip)) => {
                    let header = ip.header();
                    assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum());
                    let sum = udp.to_header().calc_checksum_ipv4(&header.to_header(), udp.payload());
                    assert_eq!(sum.unwrap(), udp.checksum());
                    (IpAddr::from(header.destination_addr()), IpAddr::from(header.source_addr()))
                }
                Some(NetSlice::Ipv6(ip)) => {
                    let header = ip.header();
                    let sum = udp.to_header().calc_checksum_ipv6(&header.to_header(), udp.payload());
                    assert_eq!(sum.unwrap(), udp.checksum());
                    (header.destination_addr().into(), header.source_addr().into())
                }
                other => panic!("{other:?}"),
            };
            assert_eq!((to.to_string().as_str(), from), (end, source));
        }
    }
}

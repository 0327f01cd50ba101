//! Telling the neighbours on a wire that an egress address is here now.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use egret_plan::tables::{LinkIndex, Mac};

use crate::packet_socket::PacketSocket;

const BROADCAST: Mac = [0xff; 6];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];

/// Sends gratuitous ARP in both its forms (RFC 5227 section 3: some hosts update on requests only, some on replies
/// only), or an unsolicited neighbour advertisement with the override flag (RFC 4861 section 7.2.6).
pub fn announce(link: LinkIndex, mac: Mac, address: IpAddr) -> io::Result<()> {
    let socket = PacketSocket::open(link, None)?;
    match address {
        IpAddr::V4(v4) => {
            socket.send(&arp(ARP_REQUEST, mac, v4))?;
            socket.send(&arp(ARP_REPLY, mac, v4))
        }
        IpAddr::V6(v6) => socket.send(&advertisement(mac, v6)),
    }
}

const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;

fn arp(operation: u16, mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    let target = if operation == ARP_REQUEST { [0; 6] } else { mac };
    let mut frame = Vec::with_capacity(42);
    frame.extend(BROADCAST);
    frame.extend(mac);
    frame.extend([0x08, 0x06]);
    frame.extend([0, 1, 0x08, 0x00, 6, 4]);
    frame.extend(operation.to_be_bytes());
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend(target);
    frame.extend(address.octets());
    frame
}

fn advertisement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    const OVERRIDE: u8 = 0x20;
    let mut body = vec![136, 0, 0, 0, OVERRIDE, 0, 0, 0];
    body.extend(address.octets());
    body.extend([2, 1]);
    body.extend(mac);
    let sum = checksum(&address, &ALL_NODES, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = Vec::with_capacity(86);
    frame.extend(ALL_NODES_MAC);
    frame.extend(mac);
    frame.extend([0x86, 0xdd]);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend([0, body.len() as u8, 58, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(body);
    frame
}

/// The checksum of ICMPv6 with its pseudo header (RFC 8200 section 8.1).
fn checksum(source: &Ipv6Addr, destination: &Ipv6Addr, body: &[u8]) -> u16 {
    let mut bytes = Vec::with_capacity(40 + body.len());
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.extend([0, 0, 0, body.len() as u8, 0, 0, 0, 58]);
    bytes.extend(body);
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Icmpv6Slice, SlicedPacket, TransportSlice};

    const MAC: Mac = [2, 0, 0, 0, 0, 7];

    #[test]
    fn gratuitous_arp_names_the_address_twice() {
        let frame = arp(ARP_REQUEST, MAC, Ipv4Addr::new(10, 10, 0, 11));
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[28..32], [10, 10, 0, 11], "sender");
        assert_eq!(frame[38..42], [10, 10, 0, 11], "target");
        assert_eq!(frame[22..28], MAC);
    }

    #[test]
    fn the_advertisement_has_a_valid_checksum() {
        let address: Ipv6Addr = "fd00:10:10::11".parse().unwrap();
        let frame = advertisement(MAC, address);
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("no ICMPv6: {packet:?}") };
        let icmp: Icmpv6Slice = icmp;
        assert!(icmp.is_checksum_valid(address.octets(), ALL_NODES.octets()));
        assert_eq!(icmp.type_u8(), 136);
    }
}

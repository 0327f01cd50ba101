//! Ending connections that have no gateway to hope for: the pod hears a RST as its remote end would send it (RFC 9293
//! section 3.10.7), and its programs an error instead of silence.

use std::io;
use std::net::IpAddr;

use crate::layout::{Flow, FlowKey, PodValue};
use crate::packet_socket::PacketSocket;

const ACK: u8 = 0x10;
const RST: u8 = 0x04;
const TCP: u8 = 6;

/// Tells the pod of a TCP flow that its connection is over.
pub fn reset(key: &FlowKey, flow: &Flow, pod: &PodValue) -> io::Result<()> {
    if pod.shared != 0 {
        return Err(io::Error::other("what is sent by a macvlan's parent goes to others than its pods"));
    }
    let socket = PacketSocket::open(pod.link, None)?;
    // What the kernel brings to a pod is noted as spoken to it from outside; this is not.
    socket.pass_no_programs()?;
    socket.send(&frame(key, flow, pod))
}

fn frame(key: &FlowKey, flow: &Flow, pod: &PodValue) -> Vec<u8> {
    let segment = segment(key, flow);
    let length = (segment.len() as u16).to_be_bytes();
    let mut frame = Vec::with_capacity(74);
    frame.extend(pod.mac);
    frame.extend(pod.host_mac);
    match (IpAddr::from(key.remote), IpAddr::from(key.pod)) {
        (IpAddr::V4(remote), IpAddr::V4(to)) => {
            let ends = [remote.octets(), to.octets()].concat();
            let pseudo = [&ends[..], &[0, TCP], &length].concat();
            let total = (segment.len() as u16 + 20).to_be_bytes();
            let mut header = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, TCP, 0, 0];
            header.extend(ends);
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum);
            frame.extend([0x08, 0x00]);
            frame.extend(header);
            frame.extend(summed(segment, &pseudo));
        }
        (remote, to) => {
            let octets = |end: IpAddr| match end {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            let ends = [octets(remote), octets(to)].concat();
            let pseudo = [&ends[..], &[0, 0], &length, &[0, 0, 0, TCP]].concat();
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, length[0], length[1], TCP, 64]);
            frame.extend(ends);
            frame.extend(summed(segment, &pseudo));
        }
    }
    frame
}

/// A pod that has acknowledged something takes a RST at the byte it expects; one whose SYN is not answered, a RST that
/// acknowledges the SYN.
fn segment(key: &FlowKey, flow: &Flow) -> Vec<u8> {
    let (seq, ack, flags) = match flow.flags & ACK != 0 {
        true => (flow.expects, 0, RST),
        false => (0, flow.expects, RST | ACK),
    };
    let mut segment = Vec::with_capacity(20);
    // Both are in network byte order already.
    segment.extend(key.remote_port.to_ne_bytes());
    segment.extend(key.pod_port.to_ne_bytes());
    segment.extend(seq.to_be_bytes());
    segment.extend(ack.to_be_bytes());
    segment.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    segment
}

fn summed(mut segment: Vec<u8>, pseudo: &[u8]) -> Vec<u8> {
    let sum = checksum(&[pseudo, &segment]);
    segment[16..18].copy_from_slice(&sum);
    segment
}

/// The Internet checksum (RFC 1071) of parts of even length.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{SlicedPacket, TransportSlice};
    use std::net::SocketAddr;

    fn told(pod: &str, remote: &str, flags: u8) -> String {
        let [pod, remote] = [pod, remote].map(|end| end.parse::<SocketAddr>().unwrap());
        let key = FlowKey {
            pod: pod.ip().into(),
            remote: remote.ip().into(),
            pod_port: pod.port().to_be(),
            remote_port: remote.port().to_be(),
            protocol: TCP,
            pad: [0; 3],
        };
        let flow = Flow { flags, expects: 0xfeed_0001, ..Flow::default() };
        let entry = PodValue {
            rules: 1,
            link: 7,
            mac: [2, 0, 0, 0, 0, 1],
            host_mac: [2, 0, 0, 0, 0, 2],
            shared: 0,
            pad: [0; 7],
        };
        let frame = frame(&key, &flow, &entry);
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("{packet:?}") };
        let sum = match (remote.ip(), pod.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => tcp.calc_checksum_ipv4(from.octets(), to.octets()),
            (IpAddr::V6(from), IpAddr::V6(to)) => tcp.calc_checksum_ipv6(from.octets(), to.octets()),
            ends => panic!("{ends:?}"),
        };
        let ends = match packet.net.as_ref().unwrap() {
            etherparse::NetSlice::Ipv4(ip) => {
                let header = ip.header();
                assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum());
                [header.source_addr().into(), header.destination_addr().into()]
            }
            etherparse::NetSlice::Ipv6(ip) => {
                [ip.header().source_addr().into(), ip.header().destination_addr().into()]
            }
            other => panic!("{other:?}"),
        };
        assert_eq!((ends, sum), ([remote.ip(), pod.ip()], Ok(tcp.checksum())));
        assert_eq!(frame[..12], [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]].concat());
        let (rst, ack) = (tcp.rst(), tcp.ack());
        let (from, to) = (tcp.source_port(), tcp.destination_port());
        format!(
            "{from}>{to} rst {rst} seq {:x} ack {ack} {:x}",
            tcp.sequence_number(),
            tcp.acknowledgment_number()
        )
    }

    #[test]
    fn a_connection_ends_where_the_pod_expects_it() {
        let end = told("10.244.1.10:41000", "198.51.100.9:443", 0x12);
        assert_eq!(end, "443>41000 rst true seq feed0001 ack false 0");
        let end = told("[fd00:10:244:1::10]:41000", "[2001:db8::9]:443", 0x12);
        assert_eq!(end, "443>41000 rst true seq feed0001 ack false 0");
    }

    #[test]
    fn a_connection_that_is_not_open_yet_is_refused() {
        let end = told("10.244.1.10:41000", "198.51.100.9:443", 0x02);
        assert_eq!(end, "443>41000 rst true seq 0 ack true feed0001");
    }
}

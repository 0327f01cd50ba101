//! Pods, neighbours and strangers that try to send as others, or to end what is others'. Each attempt ends in the one
//! counter that is for it, nothing wrong leaves, and who was attacked notices nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::Instant;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::families::{FAR, FOUR, SIX, at, pools, steered};
use crate::hairpin::{Caller, WORDS, serve_endpoints};
use crate::harness::{DEADLINE, Host, Lab, assert_echoes};

const SERVER: u16 = 7000;
/// UDP port of the overlay.
const OVERLAY: u16 = 8474;
/// Networks of the overlay: `bpf/lib/types.h`.
const TO_WIRE: u32 = 0x0e_6701;
const TO_POD: u32 = 0x0e_6702;
/// Of each attempt.
const TIMES: u64 = 5;
/// "The packet has its header", for raw sockets.
const IPPROTO_RAW: i32 = 255;

/// What was dropped at a node, by reason.
fn drops(lab: &Lab, node: &str) -> BTreeMap<String, u64> {
    lab.counters(node).into_iter().filter(|(reason, _)| reason.starts_with("DROP_")).collect()
}

/// Each of [`TIMES`] attempts is dropped at this node for this reason, and nothing else is dropped there.
#[track_caller]
pub fn repelled(lab: &Lab, node: &str, reason: &str, what: &str, attempt: impl Fn()) {
    let before = drops(lab, node);
    let mut expected = before.clone();
    *expected.entry(reason.to_owned()).or_default() += TIMES;
    (0..TIMES).for_each(|_| attempt());
    let begun = Instant::now();
    let mut after = drops(lab, node);
    while after.get(reason) < expected.get(reason) && begun.elapsed() < DEADLINE {
        after = drops(lab, node);
    }
    assert_eq!(after, expected, "{what}, at {node}; before: {before:#?}");
}

/// Sends a datagram from a host.
fn say(host: &Host, to: (&str, u16), payload: &[u8]) {
    let (to, payload) = (at(to.0, to.1), payload.to_vec());
    host.wait(move || UdpSocket::bind(("0.0.0.0", 0)).unwrap().send_to(&payload, to).map(drop).unwrap());
}

/// Sends an IPv6 datagram with a source that is not the host's.
fn say_as(host: &Host, from: (&str, u16), to: (&str, u16)) {
    let [from, to] = [from, to].map(|end| SockAddr::from(at(end.0, end.1)));
    host.wait(move || {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
        socket.set_freebind_v6(true).unwrap();
        socket.bind(&from).unwrap();
        socket.send_to(b"who am I?", &to).unwrap();
    });
}

/// Sends an IPv4 packet as it is.
pub fn throw(host: &Host, packet: Vec<u8>) {
    let to = SockAddr::from(SocketAddrV4::new(<[u8; 4]>::try_from(&packet[16..20]).unwrap().into(), 0));
    host.wait(move || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW))).unwrap();
        socket.send_to(&packet, &to).unwrap();
    });
}

/// The Internet checksum, RFC 1071.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let words =
        parts.concat().chunks(2).map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b))).sum();
    let fold = |sum: u32| (sum >> 16) + (sum & 0xffff);
    (!fold(fold(words)) as u16).to_be_bytes()
}

fn ipv4(protocol: u8, from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
    let [from, to] = [from, to].map(|text| text.parse::<Ipv4Addr>().unwrap().octets());
    let length = (20 + payload.len() as u16).to_be_bytes();
    let mut header = [&[0x45, 0], &length[..], &[0, 1, 0, 0, 64, protocol, 0, 0], &from, &to].concat();
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum);
    [&header, payload].concat()
}

/// A datagram without checksum.
pub fn udp(from: (&str, u16), to: (&str, u16), payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let header = [from.1, to.1, length, 0].map(u16::to_be_bytes).concat();
    ipv4(17, from.0, to.0, &[&header, payload].concat())
}

/// What VXLAN (RFC 7348) has behind its UDP header.
fn vxlan(network: u32, inner: &[u8]) -> Vec<u8> {
    let header = [0x0800_0000, network << 8].map(u32::to_be_bytes).concat();
    let (to, from) = ([2, 0xe6, 0x72, 0x65, 0x74, 1], [2, 0, 0, 0, 0, 66]);
    [&header[..], &to, &from, &[8, 0], inner].concat()
}

/// A RST without ACK, as somebody on the way would send it.
fn reset(from: (&str, u16), to: (&str, u16), sequence: u32) -> Vec<u8> {
    let mut segment = [from.1, to.1].map(u16::to_be_bytes).concat();
    segment.extend([sequence, 0].map(u32::to_be_bytes).concat());
    segment.extend([0x50, 4, 0, 0, 0, 0, 0, 0]);
    let [source, destination] = [from, to].map(|end| end.0.parse::<Ipv4Addr>().unwrap().octets());
    let sum = checksum(&[&source, &destination, &[0, 6, 0, 20], &segment]);
    segment[16..18].copy_from_slice(&sum);
    ipv4(6, from.0, to.0, &segment)
}

/// "Host unreachable", about this packet.
fn unreachable(from: &str, to: &str, about: &[u8]) -> Vec<u8> {
    let mut message = [&[3, 1, 0, 0, 0, 0, 0, 0], about].concat();
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum);
    ipv4(1, from, to, &message)
}

/// A selected pod with a connection and a UDP flow, both to `outside-2`.
struct Victim {
    stream: TcpStream,
    datagrams: Caller,
    /// Its ports of [`FOUR`].
    tcp_port: u16,
    udp_port: u16,
}

impl Victim {
    fn new(lab: &Lab, pod: &Host, outside: &Host) -> Victim {
        let (stream, _) = pod.connect(at(FAR[0], SERVER));
        let datagrams = Caller::new(pod, at(FAR[0], WORDS));
        let connections = lab.told(outside, "ss", &["-Htn", "sport", &format!("= :{SERVER}")]);
        let port = |line: &str| line.split_whitespace().nth(4)?.rsplit_once(':')?.1.parse().ok();
        let tcp_port = connections.lines().find_map(port).unwrap_or_else(|| panic!("{connections}"));
        let udp_port = datagrams.seen.port();
        Victim { stream, datagrams, tcp_port, udp_port }
    }

    #[track_caller]
    fn notices_nothing(&mut self) {
        assert_echoes(&mut self.stream, "still there");
        assert_eq!(self.datagrams.asked_again(), self.datagrams.seen);
    }
}

#[test]
fn whoever_sends_as_another_is_dropped_and_counted_as_that() {
    let lab = Lab::up("t-attack", &steered("overlay"));
    lab.apply(&pools(""));
    let [outside, router, other_node] = ["outside-2", "router", "node-2"].map(|name| lab.host(name));
    outside.serve_sources(SERVER);
    serve_endpoints(&outside);
    let pod = lab.pod("nat", "victim", "node-1", "app=nat");
    let [selected, unselected] =
        [("nat", "foe"), ("other", "stranger")].map(|(of, name)| lab.pod(of, name, "node-1", "app=foe"));
    let mut victim = Victim::new(&lab, &pod, &outside);
    let victim_address = pod.address(IpAddr::from([0, 0, 0, 0])).to_string();
    let server = (FAR[0], WORDS);
    let as_victim = udp((FOUR, victim.udp_port), server, b"who am I?");
    let into_pod = udp(server, (FOUR, 1), b"forged");

    for foe in [&selected, &unselected] {
        let name = &foe.namespace;
        for (source, reason) in [
            (victim_address.as_str(), "DROP_SPOOFED"),
            (FOUR, "DROP_UNKNOWN_POD"),
            ("10.0.0.1", "DROP_UNKNOWN_POD"),
            ("203.0.113.5", "DROP_UNKNOWN_POD"),
        ] {
            repelled(&lab, "node-1", reason, &format!("{name} sends as {source}"), || {
                throw(foe, udp((source, victim.udp_port), server, b"who am I?"));
            });
        }
        repelled(&lab, "node-1", "DROP_UNKNOWN_POD", &format!("{name} sends as {SIX}"), || {
            say_as(foe, (SIX, victim.udp_port), (FAR[1], WORDS));
        });
        for node in ["10.0.0.1", "10.0.0.2", "10.0.0.4"] {
            for (network, inner) in [(TO_WIRE, &as_victim), (TO_POD, &into_pod)] {
                repelled(
                    &lab,
                    "node-1",
                    "DROP_OVERLAY_PORT",
                    &format!("{name} puts it into the overlay"),
                    || {
                        say(foe, (node, OVERLAY), &vxlan(network, inner));
                    },
                );
            }
        }
        // Masqueraded, it comes from a node; but nodes send to another address.
        repelled(&lab, "node-4", "DROP_FOREIGN_OUTER", &format!("{name} reaches the gateway's wire"), || {
            say(foe, ("10.10.0.104", OVERLAY), &vxlan(TO_WIRE, &as_victim));
        });
    }

    for (host, network, inner, reason) in [
        (&router, TO_WIRE, &as_victim, "DROP_FOREIGN_OUTER"),
        (&router, TO_POD, &into_pod, "DROP_FOREIGN_OUTER"),
        (&other_node, TO_WIRE, &as_victim, "DROP_NOT_LEASED"),
        (&other_node, TO_WIRE, &udp(("10.10.0.98", 5000), server, b"?"), "DROP_NOT_SERVED"),
        (&other_node, TO_POD, &into_pod, "DROP_NO_RETURN"),
        (&other_node, 7, &as_victim, "DROP_FOREIGN_INNER"),
    ] {
        repelled(&lab, "node-4", reason, &format!("{} puts it into the overlay", host.namespace), || {
            say(host, ("10.0.0.4", OVERLAY), &vxlan(network, inner));
        });
    }

    let (tcp_port, udp_port) = (victim.tcp_port, victim.udp_port);
    repelled(&lab, "node-1", "DROP_NO_RETURN", "from a port that was not spoken to", || {
        throw(&outside, udp((FAR[0], 9999), (FOUR, udp_port), b"hello"));
    });
    repelled(&lab, "node-1", "DROP_OUT_OF_WINDOW", "a guessed RST", || {
        throw(&outside, reset((FAR[0], SERVER), (FOUR, tcp_port), 0x6b8b_4567));
    });
    for about in [udp((FOUR, udp_port), ("203.0.113.7", 53), b""), udp((FOUR, tcp_port), server, b"")] {
        repelled(&lab, "node-1", "DROP_ICMP_UNMATCHED", "an error about what nobody sent", || {
            throw(&outside, unreachable("203.0.113.7", FOUR, &about));
        });
    }
    victim.notices_nothing();
    lab.assert_no_leak();
}

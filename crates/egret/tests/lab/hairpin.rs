//! Pods that speak to egress addresses, and to addresses that are none.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::families::{FAR, FOUR, SIX, at, egress, pool, pools};
use crate::harness::{DEADLINE, Host, Lab, SMALL};

/// Other addresses, for pods of the namespace `peer`.
const PEER: [&str; 2] = ["10.10.0.98", "fd00:10:10::2000"];
pub const WORDS: u16 = 7200;

/// A socket of a pod, and where the outside sees it.
pub struct Caller {
    pod: Host,
    socket: UdpSocket,
    server: SocketAddr,
    pub seen: SocketAddr,
}

impl Caller {
    /// Asks a server of [`serve_endpoints`] how it sees the socket, as STUN does.
    pub fn new(pod: &Host, server: SocketAddr) -> Caller {
        let bind = move || UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
        let mut caller = Caller { pod: pod.clone(), socket: pod.wait(bind), server, seen: server };
        caller.seen = caller.asked_again();
        caller
    }

    /// How the server sees it now.
    pub fn asked_again(&self) -> SocketAddr {
        self.socket.set_read_timeout(Some(DEADLINE)).unwrap();
        self.socket.send_to(b"where am I?", self.server).unwrap();
        let mut buffer = [0; 64];
        let size = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..size]).parse().unwrap()
    }

    /// Says who it is to this address until `heard` holds one of another's words, and returns who said them.
    fn heard(&self, to: SocketAddr, from: &Caller) -> Option<SocketAddr> {
        self.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let begun = Instant::now();
        let mut buffer = [0; 64];
        while begun.elapsed() < DEADLINE {
            let _ = self.socket.send_to(self.seen.to_string().as_bytes(), to);
            let _ = from.socket.send_to(from.seen.to_string().as_bytes(), self.seen);
            if let Ok((size, peer)) = self.socket.recv_from(&mut buffer)
                && buffer[..size] == *from.seen.to_string().as_bytes()
            {
                return Some(peer);
            }
        }
        None
    }
}

/// Tells each datagram's sender, as a STUN server would, by which address and port it sees it.
pub fn serve_endpoints(host: &Host) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    host.run(move || {
        let socket = UdpSocket::bind(("::", WORDS)).unwrap();
        ready.send(()).unwrap();
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let seen = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            let _ = socket.send_to(seen.to_string().as_bytes(), peer);
        }
    });
    is_ready.recv_timeout(DEADLINE).unwrap();
}

#[track_caller]
fn hear_each_other(lab: &Lab, a: &Caller, b: &Caller) {
    for (who, whom) in [(a, b), (b, a)] {
        let heard = who.heard(whom.seen, whom);
        let (pods, counters) =
            ((&who.pod.namespace, &whom.pod.namespace), ["node-1", "node-2", "node-4", "node-5"]);
        let counters = counters.map(|node| lab.counters(node));
        assert_eq!(
            heard,
            Some(whom.seen),
            "{pods:?}: {} was not heard by {}: {counters:#?}",
            whom.seen,
            who.seen
        );
    }
}

#[test]
fn pods_speak_to_egress_addresses_and_are_seen_with_theirs() {
    let lab = Lab::up("t-hairpin", SMALL);
    let peers = [("peer-four", PEER[0]), ("peer-six", PEER[1])];
    lab.apply(&(pools("") + &peers.map(|(name, address)| pool(name, "peer", address, "")).concat()));
    serve_endpoints(&lab.host("outside-2"));
    let pods: Vec<Host> = [
        ("nat", "a-1", "node-1"),
        ("nat", "b-1", "node-1"),
        ("nat", "c-2", "node-2"),
        ("nat", "d-4", "node-4"),
        ("nat", "e-5", "node-5"),
        ("peer", "p-1", "node-1"),
        ("peer", "p-4", "node-4"),
        ("peer", "p-5", "node-5"),
    ]
    .map(|(namespace, name, node)| lab.pod(namespace, name, node, "app=nat"))
    .to_vec();
    for far in FAR {
        let server = at(far, WORDS);
        let callers: Vec<Caller> = pods.iter().map(|pod| Caller::new(pod, server)).collect();
        assert_eq!(callers[0].seen.ip().to_string(), egress(server.ip()));
        for (index, a) in callers.iter().enumerate() {
            for b in &callers[..index] {
                hear_each_other(&lab, a, b);
            }
            let itself = Caller::new(&a.pod, server);
            assert_eq!(itself.heard(itself.seen, &itself), Some(itself.seen), "a pod hears itself");
        }
    }
    let hairpins: u64 =
        ["node-4", "node-5"].iter().filter_map(|n| lab.counters(n).get("SENT_HAIRPIN").copied()).sum();
    assert!(hairpins > 0);
    lab.assert_no_leak();
}

#[test]
fn what_is_no_egress_goes_as_before() {
    let inside = "    agent: [--inside, 10.96.0.0/16, --inside, \"fd00:10:96::/108\"]\n    cni:";
    let lab = Lab::up("t-inside", &SMALL.replace("    cni:", inside));
    let pods =
        ["node-1", "node-2", "node-4"].map(|node| lab.pod("nat", &format!("pod-{node}"), node, "app=nat"));
    let server = lab.pod("other", "server", "node-2", "app=server");
    server.serve_sources(7000);
    let nodes = ["node-1", "node-2", "node-4", "node-5"].map(|node| lab.host(node));
    nodes.iter().for_each(|node| node.serve_sources(7000));
    // as a node does for a Service, by its cluster address and by an external one on the wire
    let service = [("10.96.0.10", FOUR), ("fd00:10:96::10", SIX)];
    for node in &nodes {
        let rules: String = ["10.0.0.0", "::"]
            .iter()
            .zip(service)
            .map(|(like, (cluster, external))| {
                let (family, wire) =
                    if like.contains(':') { ("ip6", "fd00:10:10::/64") } else { ("ip", "10.10.0.0/24") };
                let to = at(&server.address(like.parse().unwrap()).to_string(), 7000);
                format!(
                    "add table {family} service\n\
                     add chain {family} service nat {{ type nat hook prerouting priority dstnat; }}\n\
                     add rule {family} service nat {family} daddr {{ {cluster}, {external} }} tcp dport 80 dnat to {to}\n\
                     add chain {family} service post {{ type nat hook postrouting priority srcnat - 1; }}\n\
                     add rule {family} service post {family} saddr {wire} ct status dnat masquerade\n"
                )
            })
            .collect();
        let file = lab.file(&format!("service-{}", node.namespace), &rules);
        lab.told(node, "nft", &["-f", file.to_str().unwrap()]);
    }
    let mut ends: Vec<SocketAddr> = Vec::new();
    for host in nodes.iter().chain([&server]) {
        ends.extend(host.addresses.iter().map(|a| at(a.split('/').next().unwrap(), 7000)));
    }
    ends.extend(service.iter().map(|(cluster, _)| at(cluster, 80)));
    let sources = |pod: &Host| -> Vec<(SocketAddr, Result<IpAddr, std::io::ErrorKind>)> {
        ends.iter().map(|end| (*end, pod.tcp_source(*end).map_err(|e| e.kind()))).collect()
    };
    let before: Vec<_> = pods.iter().map(sources).collect();
    assert!(before.iter().flatten().all(|(_, source)| source.is_ok()), "{before:#?}");
    lab.apply(&pools(""));
    let after: Vec<_> = pods.iter().map(sources).collect();
    assert_eq!(after, before);
    lab.assert_no_leak();
    // ports of an egress address that nobody leases: the gateway's kernel has the Service
    let gateways: Vec<&str> =
        nodes[2..].iter().flat_map(|n| n.addresses.iter().map(String::as_str)).collect();
    for (_, external) in service {
        let source = lab.host("outside-1").tcp_source(at(external, 80)).map(|source| source.to_string());
        assert!(
            source.as_ref().is_ok_and(|source| gateways.contains(&source.as_str())),
            "to {external}: {source:?}"
        );
    }
    // the sniffer knows of leases only: the Service's own answers are foreign to it
    let leaks: Vec<_> = lab.leaks().into_iter().filter(|leak| leak["headers"]["sourcePort"] != 80).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

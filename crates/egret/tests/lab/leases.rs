//! Addresses, policies, pods and nodes go while connections run and new ones are made. Each ends as the documentation
//! says, and nobody ever gets what is another's.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::families::{FAR, FOUR, at, pools};
use crate::harness::{DEADLINE, Host, Lab, SILENCE, SMALL, assert_echoes, read_address};

/// One new connection after the other, with this between.
const PACE: Duration = Duration::from_millis(10);
const SERVER: u16 = 7000;
/// Sends on to whoever spoke to it once.
const PUSHER: u16 = 7400;
const POD_PORT: u16 = 5555;

/// The source that a new connection had, if it came about.
type Heard = Result<IpAddr, ErrorKind>;

/// A new connection, on which only its own bytes come back.
fn connect_anew(server: SocketAddr, text: &str) -> Heard {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&server, SILENCE)?;
        stream.set_read_timeout(Some(SILENCE))?;
        let source = read_address(&mut stream)?;
        stream.write_all(text.as_bytes())?;
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back)?;
        assert_eq!(String::from_utf8_lossy(&back), text, "another's bytes");
        Ok(source)
    };
    ask().map_err(|e: std::io::Error| e.kind())
}

/// A pod with a connection that lasts, and new ones being made all the time.
struct Busy {
    name: &'static str,
    held: TcpStream,
    heard: Receiver<Heard>,
    all: Vec<Heard>,
    stop: Arc<AtomicBool>,
    asking: Option<JoinHandle<()>>,
}

impl Busy {
    fn new(name: &'static str, pod: &Host) -> Busy {
        let server = at(FAR[0], SERVER);
        let (held, _) = pod.connect(server);
        let stop = Arc::new(AtomicBool::new(false));
        let (say, heard) = std::sync::mpsc::channel();
        let stopped = Arc::clone(&stop);
        let asking = pod.run(move || {
            for number in 0_u32.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let _ = say.send(connect_anew(server, &format!("{name}, connection {number}")));
                // Nobody tells the time but the clock.
                std::thread::sleep(PACE);
            }
        });
        Busy { name, held, heard, all: Vec::new(), stop, asking: Some(asking) }
    }

    /// The next news of a new connection.
    #[track_caller]
    fn next(&mut self) -> Heard {
        let heard = self.heard.recv_timeout(DEADLINE).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        self.all.push(heard);
        heard
    }

    /// Waits until new connections come about so, or fail, and go on like that.
    #[track_caller]
    fn until(&mut self, expected: Option<IpAddr>, when: &str) {
        let begun = Instant::now();
        while self.next().ok() != expected {
            let seen = self.all.last();
            assert!(begun.elapsed() < DEADLINE, "{} {when}: {seen:?}, and should be {expected:?}", self.name);
        }
        for _ in 0..2 {
            let heard = self.next();
            assert_eq!(heard.ok(), expected, "{} {when}, later: {heard:?}", self.name);
        }
    }

    /// The connection that lasts does.
    #[track_caller]
    fn goes_on(&mut self, when: &str) {
        assert_echoes(&mut self.held, &format!("{}: the connection goes on {when}", self.name));
    }

    /// The connection that was to last has ended: nothing comes back any more.
    #[track_caller]
    fn has_ended(&mut self, when: &str) {
        self.held.set_read_timeout(Some(SILENCE)).unwrap();
        let back = self.held.write_all(b"anybody?").and_then(|()| self.held.read(&mut [0; 64]));
        assert!(!matches!(back, Ok(1..)), "{} {when}: {back:?}", self.name);
    }

    /// The sources of all new connections, each once, in their order; how many failed.
    fn stop(mut self) -> (Vec<IpAddr>, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.asking.take().unwrap().join().expect("no connection got another's bytes");
        self.all.extend(self.heard.try_iter());
        let mut sources: Vec<IpAddr> = self.all.iter().filter_map(|heard| heard.ok()).collect();
        sources.dedup();
        (sources, self.all.iter().filter(|heard| heard.is_err()).count())
    }
}

fn pool(name: &str, first: u8, last: u8) -> String {
    format!(
        "
---
apiVersion: egret.dev/v1alpha1
kind: EgressPool
metadata: {{ name: {name} }}
spec: {{ ranges: [{{ start: 10.10.0.{first}, end: 10.10.0.{last} }}], namespaces: {{ names: [\"*\"] }} }}
"
    )
}

/// A namespace's way out, by a certain address.
fn policy(namespace: &str, pool: &str, last: u8) -> String {
    format!(
        "
---
apiVersion: egret.dev/v1alpha1
kind: EgressPolicy
metadata: {{ name: out, namespace: {namespace} }}
spec: {{ podSelector: {{}}, pool: {pool}, address: 10.10.0.{last} }}
"
    )
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 10, 0, last])
}

#[test]
fn addresses_and_policies_change_under_live_traffic() {
    let lab = Lab::up("t-change", SMALL);
    lab.host("outside-2").serve_sources(SERVER);
    let kept = [pool("kept", 60, 60), pool("new", 63, 63), policy("kept", "kept", 60)].concat();
    let [moved, left] = [policy("moved", "wide", 61), pool("left", 64, 64) + &policy("left", "left", 64)];
    let shrunk = policy("shrunk", "wide", 62);
    lab.apply(&[&kept, &pool("wide", 61, 62), &moved, &shrunk, &left].map(String::as_str).concat());
    let busy = |name: &'static str| Busy::new(name, &lab.pod(name, name, "node-1", "app=any"));
    let ordinary = lab.pod("free", "free", "node-1", "app=any").tcp_source(at(FAR[0], SERVER)).unwrap();
    let [mut kept_pod, mut moved_pod, mut shrunk_pod, mut left_pod] =
        ["kept", "moved", "shrunk", "left"].map(busy);
    let left_source = lab.host("left").addresses[0].clone();
    for (pod, last) in [(&mut kept_pod, 60), (&mut moved_pod, 61), (&mut shrunk_pod, 62), (&mut left_pod, 64)]
    {
        pod.until(Some(address(last)), "at first");
        pod.goes_on("at first");
    }

    let moved = policy("moved", "new", 63);
    lab.apply(&[&kept, &pool("wide", 61, 62), &moved, &shrunk, &left].map(String::as_str).concat());
    moved_pod.until(Some(address(63)), "after its policy got another address");
    moved_pod.has_ended("after its policy got another address");
    shrunk_pod.goes_on("while another of its pool goes");
    kept_pod.goes_on("while another's address changes");

    lab.apply(&[&kept, &pool("wide", 61, 61), &moved, &shrunk, &left].map(String::as_str).concat());
    shrunk_pod.until(None, "after its address left the pool");
    shrunk_pod.has_ended("after its address left the pool");
    left_pod.goes_on("while another's address goes");
    kept_pod.goes_on("while another's address goes");

    lab.apply(&[&kept, &pool("wide", 61, 61), &moved, &shrunk].map(String::as_str).concat());
    left_pod.until(Some(ordinary), "after its policy went");
    left_pod.has_ended("after its policy went");
    kept_pod.goes_on("while another's policy goes");

    assert_eq!(kept_pod.stop(), (vec![address(60)], 0), "who is not concerned notices nothing");
    assert_eq!(moved_pod.stop().0, [address(61), address(63)], "one after the other");
    assert_eq!(shrunk_pod.stop().0, [address(62)], "never another address");
    assert_eq!(left_pod.stop().0, [address(64), ordinary], "one after the other");
    // Nobody's pod any more: a FIN with which it gives up its old connection, before it said anything else, is no packet
    // of a connection that the node's kernel knows, and not masqueraded.
    let mut leaks = lab.leaks();
    leaks.retain(|leak| {
        leak["headers"]["source"] != left_source.as_str() || leak["headers"]["flags"][0] != "FIN"
    });
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// Sends without end to everybody who spoke to it, and to whom it sends is what it says.
fn push(outside: &Host, stop: &Arc<AtomicBool>) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let stop = Arc::clone(stop);
    outside.run(move || {
        let socket = UdpSocket::bind(("0.0.0.0", PUSHER)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        ready.send(()).unwrap();
        let mut peers = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            if let Ok((_, peer)) = socket.recv_from(&mut [0; 64])
                && !peers.contains(&peer)
            {
                peers.push(peer);
            }
            peers.iter().for_each(|peer| drop(socket.send_to(peer.to_string().as_bytes(), peer)));
        }
    });
    is_ready.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn a_pod_that_gets_the_address_of_another_gets_nothing_that_was_meant_for_it() {
    let lab = Lab::up("t-heir", SMALL);
    lab.apply(&pools(""));
    let outside = lab.host("outside-2");
    let stop = Arc::new(AtomicBool::new(false));
    push(&outside, &stop);
    outside.serve_sources(SERVER);
    for node in ["node-1", "node-2", "node-4"] {
        let old = lab.pod("nat", &format!("old-{node}"), node, "app=nat");
        let pusher = at(FAR[0], PUSHER);
        let spoken = old.wait(move || {
            let socket = UdpSocket::bind(("0.0.0.0", POD_PORT)).unwrap();
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket.send_to(b"hello", pusher).unwrap();
            socket.recv(&mut [0; 64]).map(drop)
        });
        spoken.expect("the old pod is spoken to");
        let _held = old.connect(at(FAR[0], SERVER));
        let gone = || -> u64 {
            let counters = lab.counters(node);
            ["DROP_POD_GONE", "DROP_NO_RETURN"].iter().filter_map(|reason| counters.get(*reason)).sum()
        };
        let before = gone();
        lab.egret(&["pod", &format!("old-{node}"), "-n", "nat", "--rm"]);
        let heir = lab.pod("nat", &format!("heir-{node}"), node, "app=nat");
        assert_eq!(heir.addresses, old.addresses, "the address is given again");
        let got = heir.wait(|| {
            let socket = UdpSocket::bind(("0.0.0.0", POD_PORT)).unwrap();
            socket.set_read_timeout(Some(SILENCE)).unwrap();
            let mut buffer = [0; 64];
            socket.recv(&mut buffer).map(|size| String::from_utf8_lossy(&buffer[..size]).into_owned())
        });
        assert!(got.is_err(), "the heir on {node} got what was meant for {got:?}");
        assert!(gone() > before, "nothing came for the old pod on {node}: {:?}", lab.counters(node));
        assert_eq!(heir.tcp_source(at(FAR[0], SERVER)).unwrap().to_string(), FOUR, "its own connections");
    }
    stop.store(true, Ordering::Relaxed);
    lab.assert_no_leak();
}

/// A Node object of the lab's store.
fn object(lab: &Lab, node: &str) -> PathBuf {
    lab.directory().join("store").join(format!("lab-node-{node}.json"))
}

#[test]
fn nodes_leave_the_cluster_under_live_traffic() {
    let lab = Lab::up("t-leave", SMALL);
    lab.apply(&pools(""));
    lab.host("outside-2").serve_sources(SERVER);
    let four: IpAddr = FOUR.parse().unwrap();
    let [mut stays, mut leaves] = [("stays", "node-1"), ("leaves", "node-2")]
        .map(|(name, node)| Busy::new(name, &lab.pod("nat", name, node, "app=nat")));
    for pod in [&mut stays, &mut leaves] {
        pod.until(Some(four), "at first");
        pod.goes_on("at first");
    }
    let forget = |node: &str| {
        let file = object(&lab, node);
        let kept = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        move || std::fs::write(&file, &kept).unwrap()
    };
    for gateway in ["node-4", "node-5"] {
        let remember = forget(gateway);
        for pod in [&mut stays, &mut leaves] {
            pod.goes_on(&format!("without {gateway}"));
            pod.until(Some(four), &format!("without {gateway}"));
        }
        remember();
        stays.until(Some(four), &format!("with {gateway} again"));
    }
    lab.egret(&["fault", "node-2", "power-off"]);
    let remember = forget("node-2");
    leaves.until(None, "after its node left");
    assert_eq!(leaves.stop().0, [four], "never another source");
    // No pod outlives the power of its node.
    lab.egret(&["pod", "leaves", "-n", "nat", "--rm"]);
    stays.goes_on("without node-2");
    stays.until(Some(four), "without node-2");
    remember();
    lab.egret(&["fault", "node-2", "heal"]);
    let mut returns = Busy::new("returns", &lab.pod("nat", "returns", "node-2", "app=nat"));
    for pod in [&mut stays, &mut returns] {
        pod.until(Some(four), "with node-2 again");
        pod.goes_on("with node-2 again");
    }
    assert_eq!(stays.stop().0, [four], "never another source");
    assert_eq!(returns.stop().0, [four], "never another source");
    lab.assert_no_leak();
}

//! Ports come before they are needed: a node that begins to open thousands of connections a second waits for none.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::families::{NEAR, at, pools};
use crate::harness::{DEADLINE, Host, Lab, SMALL};

const PODS: usize = 4;
const PER_SECOND: u32 = 5000;
const LASTS: Duration = Duration::from_secs(4);
/// One remote end is the hardest case: towards many, a port serves each of them.
const SERVER: u16 = 7300;

/// Servers that answer one byte with one byte.
fn serve_bytes(host: &Host) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    host.run(move || {
        let listener = TcpListener::bind(("::", SERVER)).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let mut byte = [0];
            let _ = stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte));
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
    });
    is_ready.recv_timeout(DEADLINE).unwrap();
}

/// One connection: a byte there and back, and a RST.
fn one(server: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(&[7])?;
    stream.read_exact(&mut [0])?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

/// What a pod saw of its connections.
#[derive(Debug, Default)]
struct Seen {
    opened: u32,
    failed: Vec<String>,
    longest: Duration,
}

/// Opens connections at an even pace.
fn open(pod: &Host, near: &'static str, per_second: u32) -> std::thread::JoinHandle<Seen> {
    pod.run(move || {
        let (begun, mut seen) = (Instant::now(), Seen::default());
        let mut turn = 0;
        while begun.elapsed() < LASTS {
            let due = Duration::from_secs(1) * turn / per_second;
            // nobody tells the time but the clock
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            let asked = Instant::now();
            match one(at(near, SERVER)) {
                Ok(()) => seen.opened += 1,
                Err(e) => seen.failed.push(format!("{e} at {:?}", begun.elapsed())),
            }
            seen.longest = seen.longest.max(asked.elapsed());
            turn += 1;
        }
        seen
    })
}

fn grows(lab: &Lab, pods: &[Host], near: &'static str) {
    let threads: Vec<_> = pods.iter().map(|pod| open(pod, near, PER_SECOND / PODS as u32)).collect();
    let seen: Vec<Seen> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let opened: u32 = seen.iter().map(|s| s.opened).sum();
    let failed: usize = seen.iter().map(|s| s.failed.len()).sum();
    let longest = seen.iter().map(|s| s.longest).max().unwrap();
    let counters = lab.counters("node-1");
    println!(
        "{near}: {} connections a second, {failed} failed, the longest took {longest:?}",
        opened / LASTS.as_secs() as u32
    );
    for reason in ["DROP_NO_BLOCK", "DROP_NO_PORT", "TOLD_NO_PORT", "DROP_FLOWS_FULL"] {
        assert!(!counters.contains_key(reason), "{reason}: {counters:?}");
    }
    assert_eq!(failed, 0, "{seen:?}");
}

#[test]
fn five_thousand_connections_a_second_wait_for_no_port() {
    let lab = Lab::up_alone("t-growth", SMALL);
    lab.apply(&pools(""));
    let outside = lab.host("outside-1");
    serve_bytes(&outside);
    let pods: Vec<Host> =
        (0..PODS).map(|n| lab.pod("nat", &format!("pod-{n}"), "node-1", "app=nat")).collect();
    for near in NEAR {
        grows(&lab, &pods, near);
    }
    lab.assert_no_leak();
}

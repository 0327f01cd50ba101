//! What happens when every port is in use: the sender is told at once, others go on, and closed ports come back.

use std::io::Read;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::exchange::{Cutting, ECHO};
use crate::families::{FAR, NEAR, at, pools};
use crate::harness::{DEADLINE, Host, Lab, SMALL, assert_echoes};

/// So soon a program knows that it cannot connect. A pod's kernel hears the error while connect() still holds the
/// socket, and then heeds it when it sends the SYN again, after one second; a REJECT of netfilter takes as long.
const AT_ONCE: Duration = Duration::from_millis(1500);
/// Ports of closed connections are free after so long: 4 seconds that are theirs, counted in whole ones, and one
/// until somebody looks.
const FREE_AGAIN: Duration = Duration::from_secs(7);
/// Longer than a connection takes in a lab.
const PATIENCE: Duration = Duration::from_millis(50);

fn small(block: u16, share: u8) -> String {
    pools(&format!("ports: {{ blockSize: {block}, initialBlocks: 1, maxBlocks: 1, podShare: {share} }}"))
}

/// Connections until one fails, at most so many; and how that one failed, and after how long.
fn connect(
    pod: &Host,
    server: SocketAddr,
    most: usize,
) -> (Vec<TcpStream>, Option<(std::io::Error, Duration)>) {
    pod.wait(move || {
        let mut held = Vec::new();
        while held.len() < most {
            let begun = Instant::now();
            match TcpStream::connect(server) {
                Ok(stream) => held.push(stream),
                Err(e) => return (held, Some((e, begun.elapsed()))),
            }
        }
        (held, None)
    })
}

#[track_caller]
fn assert_refused(refused: Option<(std::io::Error, Duration)>, server: SocketAddr, what: &str) {
    let (error, after) = refused.unwrap_or_else(|| panic!("{what}: nothing was refused"));
    let expected = if server.is_ipv4() { nix::libc::EHOSTUNREACH } else { nix::libc::EACCES };
    assert_eq!(error.raw_os_error(), Some(expected), "{what}: {error}");
    assert!(after < AT_ONCE, "{what}: known after {after:?}");
}

fn told(lab: &Lab) -> u64 {
    lab.counters("node-1").get("TOLD_NO_PORT").copied().unwrap_or(0)
}

fn prepared(name: &str, pools: &str) -> Lab {
    let lab = Lab::up_alone(name, SMALL);
    lab.apply(pools);
    for outside in ["outside-1", "outside-2"] {
        lab.host(outside).serve_echo(ECHO, Cutting::Sender);
        lab.host(outside).serve_echo(ECHO + 1, Cutting::Sender);
    }
    lab
}

#[test]
fn without_a_free_port_senders_are_told_and_closed_ports_come_back() {
    let lab = prepared("t-full", &small(64, 1));
    let pod = lab.pod("nat", "pod", "node-1", "app=nat");
    for (near, far) in NEAR.into_iter().zip(FAR) {
        let server = at(near, ECHO);
        let before = told(&lab);
        let (mut held, refused) = connect(&pod, server, 65);
        assert_eq!(held.len(), 64, "connections to {server}: {refused:?}");
        assert_refused(refused, server, "the 65th");
        assert!(told(&lab) > before, "{:?}", lab.counters("node-1"));
        for other in [at(near, ECHO + 1), at(far, ECHO)] {
            let (mut others, refused) = connect(&pod, other, 64);
            assert_eq!(others.len(), 64, "the same ports towards {other}: {refused:?}");
            assert_echoes(&mut others[63], "the same port, another remote end");
            reset(&mut others);
        }
        held.iter_mut().for_each(|stream| assert_echoes(stream, "all the while"));
        let closed = Instant::now();
        reset(&mut held);
        while let Err(e) = pod.wait(move || TcpStream::connect_timeout(&server, PATIENCE)) {
            assert!(closed.elapsed() < FREE_AGAIN, "still {e}");
            // nothing tells when a port is free; and who asks without pause is told no more (RFC 1812 section 4.3.2.8)
            std::thread::sleep(PATIENCE);
        }
        println!("{server}: a port again after {:?}", closed.elapsed());
        datagrams_are_told(&lab, &pod, [at(near, ECHO), at(far, ECHO)]);
    }
    lab.assert_no_leak();
}

/// Connections that end in order, the pod last.
fn reset(held: &mut Vec<TcpStream>) {
    for stream in held.iter() {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    for stream in held.iter_mut() {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the other end closes as well");
    }
    held.clear();
}

/// A port is a pod's port towards everybody, so one more socket has none towards anybody.
fn datagrams_are_told(lab: &Lab, pod: &Host, servers: [SocketAddr; 2]) {
    let (sockets, refused) = pod.wait(move || {
        let socket = || {
            let socket = UdpSocket::bind(if servers[0].is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket
        };
        let ask = |socket: &UdpSocket, server| {
            socket.connect(server)?;
            socket.send(b"whole")?;
            socket.recv(&mut [0; 8])
        };
        let sockets: Vec<UdpSocket> = (0..64).map(|_| socket()).collect();
        for (index, socket) in sockets.iter().enumerate() {
            for server in servers {
                ask(socket, server).unwrap_or_else(|e| panic!("socket {index} to {server}: {e}"));
            }
        }
        let begun = Instant::now();
        let refused = ask(&socket(), servers[0]).map_err(|e| (e, begun.elapsed())).err();
        (sockets, refused)
    });
    assert_refused(refused, servers[0], &format!("the 65th socket: {:?}", lab.counters("node-1")));
    drop(sockets);
}

#[test]
fn a_greedy_pod_leaves_its_neighbour_ports() {
    let lab = prepared("t-greedy", &small(256, 2));
    let greedy = lab.pod("nat", "greedy", "node-1", "app=nat");
    let neighbour = lab.pod("nat", "neighbour", "node-1", "app=nat");
    for near in NEAR {
        let server = at(near, ECHO);
        let (taken, refused) = connect(&greedy, server, 257);
        assert_eq!(taken.len(), 128, "one port of each two: {refused:?}");
        assert_refused(refused, server, "more than its share");
        let (mut held, refused) = connect(&neighbour, server, 20);
        assert!(refused.is_none() && held.len() == 20, "the neighbour got {}: {refused:?}", held.len());
        held.iter_mut().for_each(|stream| assert_echoes(stream, "a neighbour of a greedy pod"));
        let (more, _) = connect(&neighbour, server, 128);
        println!("{server}: the neighbour could have {} of 256", held.len() + more.len());
    }
    lab.assert_no_leak();
}

//! What people run over it: names, files, pages, and connections that say nothing for a while.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::exchange::{Cutting, bytes, datagrams};
use crate::families::{FAR, NEAR, at, egress, pools, steered};
use crate::harness::{DEADLINE, Host, Lab, assert_echoes};

const NAMES: u16 = 53;
const FILES: u16 = 21;
const PAGES: u16 = 80;
/// As long as an answer that needs fragments everywhere.
const ANSWER: usize = 4000;
const FILE: usize = 4_000_000;
/// Longer than the sweeps need to see that a connection is silent.
const SILENT: Duration = Duration::from_secs(3);

/// A question with this identifier: the A records of `a.example`.
fn question(identifier: u16) -> Vec<u8> {
    let mut message = identifier.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(b"\x01a\x07example\x00\x00\x10\x00\x01");
    message
}

/// The answer of ANSWER bytes.
fn answer(question: &[u8]) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2] |= 0x80;
    message.extend(bytes(ANSWER - message.len(), question[1]));
    message
}

/// A name server. Its datagrams are cut as `cutting` says: most servers want no path MTU discovery.
fn serve_names(host: &Host, cutting: Cutting) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    host.run(move || {
        for any in ["0.0.0.0", "::"] {
            let udp = datagrams(SocketAddr::new(any.parse().unwrap(), NAMES), cutting).unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 512];
                while let Ok((size, peer)) = udp.recv_from(&mut buffer) {
                    let _ = udp.send_to(&answer(&buffer[..size]), peer);
                }
            });
        }
        let tcp = TcpListener::bind(("::", NAMES)).unwrap();
        ready.send(()).unwrap();
        for stream in tcp.incoming() {
            let Ok(mut stream) = stream else { break };
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut asked = vec![0; usize::from(u16::from_be_bytes(length))];
            let _ = stream.read_exact(&mut asked);
            let _ = stream.write_all(&(ANSWER as u16).to_be_bytes());
            let _ = stream.write_all(&answer(&asked));
        }
    });
    is_ready.recv_timeout(DEADLINE).unwrap();
}

/// Resolvers ask again with a new socket when nothing comes.
fn resolve(server: SocketAddr) -> std::io::Result<()> {
    let mut buffer = [0; 8192];
    let mut last = None;
    for identifier in 1..=3 {
        let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        socket.connect(server)?;
        socket.send(&question(identifier))?;
        match socket.recv(&mut buffer) {
            Ok(size) if buffer[..size] == answer(&question(identifier)) => {
                last = None;
                break;
            }
            Ok(size) => return Err(std::io::Error::other(format!("another answer, of {size} bytes"))),
            Err(e) => last = Some(e),
        }
    }
    if let Some(e) = last {
        return Err(e);
    }
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let asked = question(9);
    stream.write_all(&(asked.len() as u16).to_be_bytes())?;
    stream.write_all(&asked)?;
    let mut back = vec![0; 2 + ANSWER];
    stream.read_exact(&mut back)?;
    if back[2..] == answer(&asked) { Ok(()) } else { Err(std::io::Error::other("another answer over TCP")) }
}

/// A server of one file, as FTP does passively: a control connection tells the port at which the file is pushed.
fn serve_file(host: &Host) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    host.run(move || {
        let control = TcpListener::bind(("::", FILES)).unwrap();
        ready.send(()).unwrap();
        for stream in control.incoming() {
            let Ok(mut stream) = stream else { break };
            std::thread::spawn(move || -> std::io::Result<()> {
                let data = TcpListener::bind(("::", 0))?;
                writeln!(stream, "227 {}", data.local_addr()?.port())?;
                let (mut pushed, _) = data.accept()?;
                pushed.write_all(&bytes(FILE, 1))?;
                drop(pushed);
                writeln!(stream, "226 done")?;
                stream.read(&mut [0]).map(drop)
            });
        }
    });
    is_ready.recv_timeout(DEADLINE).unwrap();
}

fn fetch_file(server: SocketAddr) -> std::io::Result<()> {
    let control = TcpStream::connect(server)?;
    control.set_read_timeout(Some(DEADLINE))?;
    let mut lines = BufReader::new(control).lines();
    let mut line = || lines.next().unwrap_or_else(|| Err(std::io::Error::other("no more lines")));
    let port = line()?.trim_start_matches("227 ").parse().map_err(std::io::Error::other)?;
    let mut data = TcpStream::connect(SocketAddr::new(server.ip(), port))?;
    data.set_read_timeout(Some(DEADLINE))?;
    let mut file = Vec::new();
    data.read_to_end(&mut file)?;
    let done = line()?;
    match file == bytes(FILE, 1) && done == "226 done" {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("{} bytes, then {done:?}", file.len()))),
    }
}

/// A web server with one large page.
fn serve_page(host: &Host) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    host.run(move || {
        let listener = TcpListener::bind(("::", PAGES)).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let asked = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|l| !l.is_empty());
            let _ = asked.count();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {FILE}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes(FILE, 2)));
        }
    });
    is_ready.recv_timeout(DEADLINE).unwrap();
}

/// A connection, and the first words on it.
fn greeted(server: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let source = crate::harness::read_address(&mut stream).unwrap().to_string();
    assert_eq!(source, egress(server.ip()));
    stream
}

#[test]
fn names_files_pages_and_silent_connections_are_as_without_nat() {
    let lab = Lab::up("t-apps", &steered("overlay"));
    lab.apply(&pools(""));
    let outsides = [(NEAR, "outside-1", Cutting::Deaf), (FAR, "outside-2", Cutting::Sender)];
    for (_, outside, cutting) in outsides {
        let outside = lab.host(outside);
        serve_names(&outside, cutting);
        serve_file(&outside);
        serve_page(&outside);
        outside.serve_sources(7000);
    }
    let pods =
        ["node-1", "node-2", "node-4"].map(|node| lab.pod("nat", &format!("pod-{node}"), node, "app=nat"));
    let ends: Vec<&str> = outsides.iter().flat_map(|(ends, ..)| *ends).collect();
    let mut silent: Vec<TcpStream> = Vec::new();
    for (pod, end) in pods.iter().flat_map(|pod| ends.iter().map(move |end| (pod, *end))) {
        silent.push(pod.wait(move || greeted(at(end, 7000))));
    }
    let begun = std::time::Instant::now();
    for (pod, end) in pods.iter().flat_map(|pod| ends.iter().map(move |end| (pod, *end))) {
        let what = format!("{}, {end}", pod.namespace);
        pod.wait(move || resolve(at(end, NAMES))).unwrap_or_else(|e| panic!("{what}: names: {e}"));
        pod.wait(move || fetch_file(at(end, FILES))).unwrap_or_else(|e| panic!("{what}: file: {e}"));
        let page = at(end, PAGES);
        let output = pod.command("curl", &["-sS", "--max-time", "10", &format!("http://{page}/")]);
        assert!(
            output.status.success() && output.stdout == bytes(FILE, 2),
            "{what}: curl: {} bytes, {}",
            output.stdout.len(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    std::thread::sleep(SILENT.saturating_sub(begun.elapsed()));
    silent.iter_mut().for_each(|stream| assert_echoes(stream, "after a silence"));
    lab.assert_no_leak();
}

//! The outside servers: they take the other end of every connection, and tell who asks which source they saw.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream as Blocking, UdpSocket as BlockingUdp};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::flow::{Flow, Kind};
use super::tcp::{Greeting, check, push};
use super::{PORT, udp};
use crate::netns;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Bytes of datagrams that may wait.
const DATAGRAMS: usize = 1 << 20;

/// The servers of all outside hosts. They run until the process ends.
pub struct Servers {
    expected: Expected,
    /// The port that they listen at.
    pub port: u16,
}

type Expected = Arc<Mutex<BTreeMap<u32, Arc<Flow>>>>;

impl Servers {
    /// Starts a server at a port in each of these network namespaces, for IPv4 and IPv6. They listen when this returns.
    ///
    /// # Errors
    /// When one cannot listen.
    pub fn start(namespaces: &[String], port: u16) -> Result<Servers> {
        let expected = Expected::default();
        for namespace in namespaces {
            let (listener, datagrams) =
                netns::run_in(namespace, || listen(port).context("the outside server"))?;
            let expected = Arc::clone(&expected);
            netns::spawn_in(namespace, move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(serve(listener, datagrams, expected))
            })?;
        }
        Ok(Servers { expected, port })
    }

    /// A flow will come.
    pub fn expect(&self, flow: &Arc<Flow>) {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).insert(flow.id, Arc::clone(flow));
    }
}

/// Asks a server which source it sees when a host connects to it.
///
/// # Errors
/// When no connection comes about, or no answer.
pub fn ask(netns: &str, server: IpAddr, patience: Duration) -> Result<IpAddr> {
    netns::run_in(netns, || {
        let mut stream = Blocking::connect_timeout(&SocketAddr::new(server, PORT), patience)
            .with_context(|| format!("no connection to {server}"))?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(&Greeting { kind: None, id: 0 }.encode())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).with_context(|| format!("no answer from {server}"))?;
        answer.trim().parse().with_context(|| format!("{server} answered {answer:?}"))
    })
}

/// Sockets for both families: IPv4 shows as mapped addresses.
fn listen(port: u16) -> Result<(std::net::TcpListener, BlockingUdp)> {
    let any = SocketAddr::from(([0u16; 8], port));
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.bind(&any.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let datagrams = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
    datagrams.set_only_v6(false)?;
    // One socket for all flows: it holds what comes within half a second while the machine is busy with something else.
    setsockopt(&datagrams, sockopt::RcvBufForce, &DATAGRAMS)?;
    datagrams.bind(&any.into())?;
    datagrams.set_nonblocking(true)?;
    Ok((socket.into(), datagrams.into()))
}

async fn serve(listener: std::net::TcpListener, datagrams: BlockingUdp, expected: Expected) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    tokio::spawn(send_back(UdpSocket::from_std(datagrams)?, Arc::clone(&expected)));
    loop {
        let (stream, source) = listener.accept().await?;
        tokio::spawn(take(stream, plain(source), Arc::clone(&expected)));
    }
}

async fn take(mut stream: TcpStream, source: SocketAddr, expected: Expected) {
    let mut greeting = [0; Greeting::LENGTH];
    if stream.read_exact(&mut greeting).await.is_err() {
        return;
    }
    let Some(greeting) = Greeting::decode(greeting) else { return };
    let Some(kind) = greeting.kind else {
        // Who asked and went needs no answer.
        let _ = stream.write_all(source.ip().to_string().as_bytes()).await;
        return;
    };
    let Some(flow) = find(&expected, greeting.id) else { return };
    flow.saw_source(source);
    let _ = stream.set_nodelay(true);
    let outcome = match kind {
        Kind::PushedByServer => push(&mut stream, &flow).await,
        Kind::PushedByClient | Kind::Datagrams => check(&mut stream, &flow).await,
    };
    flow.close(outcome);
}

async fn send_back(socket: UdpSocket, expected: Expected) {
    let mut buffer = [0; 2 * udp::LENGTH];
    loop {
        let Ok((count, source)) = socket.recv_from(&mut buffer).await else { continue };
        let Some((id, _)) = udp::decode(&buffer[..count]) else { continue };
        if let Some(flow) = find(&expected, id) {
            flow.saw_source(plain(source));
        }
        // A datagram may be lost here as on any link.
        let _ = socket.send_to(&buffer[..count], source).await;
    }
}

fn find(expected: &Expected, id: u32) -> Option<Arc<Flow>> {
    expected.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
}

/// An IPv4 address as such.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

//! TCP connections: one end pushes chunks, the other checks every byte, and at the end both agree on how many
//! there were.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::flow::{Flow, Kind};
use super::{INTERVAL, pattern, phase};

/// Bytes of a chunk.
pub const CHUNK: usize = 200;
/// How long opening a connection may take.
const OPENING: Duration = Duration::from_secs(10);
/// How long the two ends may take to agree after the last chunk.
const CLOSING: Duration = Duration::from_secs(10);

/// What a client says first: what it wants, and which connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Who pushes; `None`: only tell me the source that you see.
    pub kind: Option<Kind>,
    /// The connection's number.
    pub id: u32,
}

impl Greeting {
    /// Bytes of a greeting.
    pub const LENGTH: usize = 5;

    /// As bytes.
    pub fn encode(self) -> [u8; Self::LENGTH] {
        let kind = match self.kind {
            None => b'?',
            Some(Kind::PushedByClient) => b'c',
            Some(Kind::PushedByServer) => b's',
            Some(Kind::Datagrams) => b'd',
        };
        let [a, b, c, d] = self.id.to_be_bytes();
        [kind, a, b, c, d]
    }

    /// From bytes; `None` if they are no greeting.
    pub fn decode([kind, a, b, c, d]: [u8; Self::LENGTH]) -> Option<Greeting> {
        let kind = match kind {
            b'?' => None,
            b'c' => Some(Kind::PushedByClient),
            b's' => Some(Kind::PushedByServer),
            b'd' => Some(Kind::Datagrams),
            _ => return None,
        };
        Some(Greeting { kind, id: u32::from_be_bytes([a, b, c, d]) })
    }
}

/// The pod's end, from opening to close.
///
/// # Errors
/// What happened to the connection.
pub async fn client(flow: &Flow) -> Result<(), String> {
    let opened = timeout(OPENING, TcpStream::connect(flow.server)).await;
    let mut stream = opened.map_err(|_| "no connection".to_owned())?.map_err(|e| format!("connect: {e}"))?;
    stream.set_nodelay(true).map_err(words)?;
    stream.write_all(&Greeting { kind: Some(flow.kind), id: flow.id }.encode()).await.map_err(words)?;
    match flow.kind {
        Kind::PushedByServer => check(&mut stream, flow).await,
        Kind::PushedByClient | Kind::Datagrams => push(&mut stream, flow).await,
    }
}

/// Pushes chunks until the flow shall stop, then asks the other end how many bytes came.
///
/// # Errors
/// What happened to the connection.
pub async fn push(stream: &mut TcpStream, flow: &Flow) -> Result<(), String> {
    let mut ticks = interval_at(Instant::now() + phase(flow.id), INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut offset, mut chunk) = (0, [0; CHUNK]);
    while !flow.is_stopping() {
        // An end that has gone shows at once, not at the next write only.
        let mut early = [0; 1];
        tokio::select! {
            _ = ticks.tick() => {}
            read = stream.read(&mut early) => {
                return Err(match read {
                    Ok(0) => "closed by the other end".to_owned(),
                    Ok(_) => "the other end spoke out of turn".to_owned(),
                    Err(error) => words(error),
                });
            }
        }
        pattern::fill(flow.id, offset, &mut chunk);
        flow.add_sent();
        stream.write_all(&chunk).await.map_err(words)?;
        offset += CHUNK as u64;
    }
    stream.shutdown().await.map_err(words)?;
    let mut total = [0; 8];
    let read = timeout(CLOSING, stream.read_exact(&mut total)).await;
    read.map_err(|_| "the other end does not close".to_owned())?.map_err(words)?;
    match u64::from_be_bytes(total) {
        total if total == offset => Ok(()),
        total => Err(format!("{offset} bytes sent, {total} came")),
    }
}

/// Checks what is pushed until the other end is done, then tells it how many bytes came.
///
/// # Errors
/// What happened to the connection, or which byte was wrong.
pub async fn check(stream: &mut TcpStream, flow: &Flow) -> Result<(), String> {
    let (mut offset, mut buffer) = (0, vec![0; 16 * CHUNK]);
    loop {
        let count = stream.read(&mut buffer).await.map_err(words)?;
        if count == 0 {
            break;
        }
        if let Some(at) = pattern::first_wrong(flow.id, offset, &buffer[..count]) {
            return Err(format!("byte {at} is wrong"));
        }
        let chunks = offset / CHUNK as u64;
        offset += count as u64;
        if offset / CHUNK as u64 > chunks {
            flow.received_up_to(offset / CHUNK as u64);
        }
    }
    if offset % CHUNK as u64 != 0 || !flow.is_stopping() {
        return Err(format!("ended early, after {offset} bytes"));
    }
    stream.write_all(&offset.to_be_bytes()).await.map_err(words)?;
    stream.shutdown().await.map_err(words)
}

fn words(error: std::io::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use tokio::net::TcpListener;

    #[test]
    fn greetings_come_back() {
        for kind in [None, Some(Kind::PushedByClient), Some(Kind::PushedByServer)] {
            let greeting = Greeting { kind, id: 0x0102_0304 };
            assert_eq!(Greeting::decode(greeting.encode()), Some(greeting));
        }
        assert_eq!(Greeting::decode(*b"GET /"), None);
    }

    async fn pair() -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0, address)
    }

    #[tokio::test]
    async fn both_ends_agree_on_a_clean_end() {
        let (mut near, mut far, address) = pair().await;
        let flow = Arc::new(Flow::new(9, Kind::PushedByClient, "pod".into(), address));
        let watched = Arc::clone(&flow);
        let stopper = async move {
            while !watched.has_received(2) {
                tokio::task::yield_now().await;
            }
            watched.stop();
        };
        let (pushed, checked, ()) = tokio::join!(push(&mut near, &flow), check(&mut far, &flow), stopper);
        assert_eq!((pushed, checked), (Ok(()), Ok(())));
        assert!(flow.sent() >= 2);
    }

    #[tokio::test]
    async fn a_wrong_byte_and_an_early_end_are_failures() {
        let (mut near, mut far, address) = pair().await;
        let flow = Flow::new(9, Kind::PushedByClient, "pod".into(), address);
        near.write_all(&[0; CHUNK]).await.unwrap();
        assert!(check(&mut far, &flow).await.unwrap_err().ends_with("is wrong"));
        let (near, mut far, _) = pair().await;
        drop(near);
        assert_eq!(check(&mut far, &flow).await, Err("ended early, after 0 bytes".into()));
    }
}

//! Flows of numbered datagrams, each of which the server sends back.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::flow::Flow;
use super::{INTERVAL, pattern, phase};

/// Bytes of a datagram: flow, number, pattern.
pub const LENGTH: usize = 64;
const HEADER: usize = 12;
/// How long answers to the last datagrams may take.
const LINGER: Duration = Duration::from_secs(1);

/// A datagram of a flow.
pub fn encode(id: u32, number: u64) -> [u8; LENGTH] {
    let mut datagram = [0; LENGTH];
    datagram[..4].copy_from_slice(&id.to_be_bytes());
    datagram[4..HEADER].copy_from_slice(&number.to_be_bytes());
    pattern::fill(id, number, &mut datagram[HEADER..]);
    datagram
}

/// The flow and number of a datagram; `None` if it is none of ours or not whole.
pub fn decode(datagram: &[u8]) -> Option<(u32, u64)> {
    let id = u32::from_be_bytes(datagram.get(..4)?.try_into().ok()?);
    let number = u64::from_be_bytes(datagram.get(4..HEADER)?.try_into().ok()?);
    (datagram == encode(id, number)).then_some((id, number))
}

/// The pod's end: sends until the flow shall stop. A datagram may be lost, a flow may not.
///
/// # Errors
/// A datagram that came back changed, or a socket that cannot be made.
pub async fn client(flow: &Arc<Flow>) -> Result<(), String> {
    let any = if flow.server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.map_err(|e| e.to_string())?;
    socket.connect(flow.server).await.map_err(|e| e.to_string())?;
    let mut ticks = interval_at(Instant::now() + phase(flow.id), INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = [0; 2 * LENGTH];
    let mut stop_at = None;
    // After the last datagram, answers that are still under way are waited for.
    while stop_at.is_none_or(|at| Instant::now() < at && flow.answers() < flow.sent()) {
        if flow.is_stopping() && stop_at.is_none() {
            stop_at = Some(Instant::now() + LINGER);
        }
        tokio::select! {
            _ = ticks.tick() => {
                if stop_at.is_some() {
                    continue;
                }
                let number = flow.sent();
                flow.add_sent();
                // An error here tells of an earlier datagram; whether the flow lives, the answers tell.
                let _ = socket.send(&encode(flow.id, number)).await;
            }
            received = socket.recv(&mut buffer) => match received.map(|count| decode(&buffer[..count])) {
                Ok(Some((id, number))) if id == flow.id => flow.received_up_to(number + 1),
                Ok(_) => return Err("a datagram came back changed".to_owned()),
                Err(_) => {}
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_datagram_is_none() {
        let mut datagram = encode(5, 77);
        assert_eq!(decode(&datagram), Some((5, 77)));
        datagram[40] ^= 1;
        assert_eq!(decode(&datagram), None);
        assert_eq!(decode(b"short"), None);
    }
}

//! Probes: is that gateway alive? The question leaves by the overlay, and the gateway's program answers. Answers to
//! questions about the link (`link_probe`) are heard here as well.

use std::io;
use std::net::IpAddr;

use egret_plan::tables::LinkIndex;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::layout::{Addr, PROBE_ETHERTYPE, PROBE_MAGIC, Probe};
use crate::overlay::OVERLAY_MAC;
use crate::packet_socket::PacketSocket;

const ETHERNET: usize = 14;
const FRAME: usize = ETHERNET + size_of::<Probe>();
/// Not the device's own address: a frame that comes in with it is a loop to the kernel.
const SENDER: [u8; 6] = [0x02, 0xe6, 0x72, 0x65, 0x74, 0x02];
const QUESTION: u8 = 1;
const ANSWER: u8 = 2;
/// An answer about the link, made into a frame of the overlay device by this node's program.
const LINK_ANSWER: u8 = 4;

/// Asks gateways, and hears their answers.
pub struct Prober {
    socket: AsyncFd<PacketSocket>,
}

/// A gateway's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Underlay address of the gateway.
    pub target: IpAddr,
    /// The nonce of the question.
    pub nonce: u64,
    /// The gateway can carry packets now. Answers about the link do not tell.
    pub ready: bool,
    /// Question and answer went without tunnel.
    pub link: bool,
}

impl Prober {
    /// Opens a socket on the overlay device. Must be called on a tokio runtime.
    pub fn open(overlay_link: LinkIndex) -> io::Result<Self> {
        let socket = PacketSocket::open(overlay_link, Some(PROBE_ETHERTYPE))?;
        // SAFETY: the descriptor belongs to the PacketSocket, which is moved into the AsyncFd and never gives it
        // away, so it stays open and the same for as long as it is registered.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE)? };
        Ok(Prober { socket })
    }

    /// Asks the gateway with this underlay address. Never waits: a full queue is an error, and a lost question.
    pub fn send(&self, target: IpAddr, nonce: u64) -> io::Result<()> {
        self.socket.get_ref().send(&question(target, nonce))
    }

    /// The next answer.
    pub async fn receive(&mut self) -> io::Result<Answer> {
        let mut frame = [0; 256];
        loop {
            let mut readable = self.socket.readable().await?;
            match readable.try_io(|socket| socket.get_ref().receive(&mut frame)) {
                Ok(length) => {
                    if let Some(answer) = answer(&frame[..length?]) {
                        return Ok(answer);
                    }
                }
                Err(_would_block) => {}
            }
        }
    }
}

fn question(target: IpAddr, nonce: u64) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[..6].copy_from_slice(&OVERLAY_MAC);
    frame[6..12].copy_from_slice(&SENDER);
    frame[12..14].copy_from_slice(&PROBE_ETHERTYPE.to_be_bytes());
    frame[14..18].copy_from_slice(&PROBE_MAGIC.to_be_bytes());
    frame[18] = QUESTION;
    frame[22..38].copy_from_slice(&Addr::from(target).bytes);
    frame[38..46].copy_from_slice(&nonce.to_be_bytes());
    frame
}

fn answer(frame: &[u8]) -> Option<Answer> {
    let frame: &[u8; FRAME] = frame.get(..FRAME)?.try_into().ok()?;
    if frame[14..18] != PROBE_MAGIC.to_be_bytes() || ![ANSWER, LINK_ANSWER].contains(&frame[18]) {
        return None;
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&frame[22..38]);
    let mut nonce = [0; 8];
    nonce.copy_from_slice(&frame[38..46]);
    Some(Answer {
        target: Addr { bytes }.into(),
        nonce: u64::from_be_bytes(nonce),
        ready: frame[19] != 0,
        link: frame[18] == LINK_ANSWER,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_turned_into_an_answer_is_read_as_it_was_asked() {
        for target in ["10.0.0.4", "fd00::4"] {
            let target: IpAddr = target.parse().unwrap();
            let mut frame = question(target, 0x1122_3344_5566_7788);
            assert_eq!(answer(&frame), None, "a question is no answer");
            frame[18] = ANSWER;
            frame[19] = 1;
            assert_eq!(
                answer(&frame),
                Some(Answer { target, nonce: 0x1122_3344_5566_7788, ready: true, link: false })
            );
            assert_eq!(answer(&frame[..FRAME - 1]), None, "a short frame is none");
            frame[18] = LINK_ANSWER;
            assert!(answer(&frame).is_some_and(|answer| answer.link && answer.target == target));
        }
    }

    #[test]
    fn the_frame_is_the_shared_layout() {
        assert_eq!(std::mem::offset_of!(Probe, target), 22 - ETHERNET);
        assert_eq!(std::mem::offset_of!(Probe, nonce), 38 - ETHERNET);
        assert_eq!(size_of::<Probe>(), 32);
    }
}

//! What a NAT knows of a TCP connection: enough for its timers (RFC 5382 REQ-5), for a new connection on the same
//! ends, and to tell an end's RST from a forgery (RFC 9293 section 3.10.7.4, RFC 5961, RFC 7857 section 2.2).

use egret_datapath::layout::Timers;

use crate::packet::{ACK, FIN, RST, SYN, Segment};

#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The pod has acknowledged something.
    acknowledged: bool,
    pod_finished: bool,
    pod_reset: bool,
    remote_opened: bool,
    remote_finished: bool,
    remote_reset: bool,
    /// Before that: what acknowledges its SYN and the data in it. Then: the highest that it acknowledged.
    pub next: u32,
    /// The largest window that it can offer, in bytes.
    pub window: u32,
}

const LARGEST_SCALE: u8 = 14;

impl Connection {
    /// By a SYN that carries so many bytes.
    pub fn opened(segment: &Segment, data: usize) -> Self {
        let mut new = Connection::default();
        new.open(segment, data);
        new
    }

    fn open(&mut self, segment: &Segment, data: usize) {
        self.next = segment.seq.wrapping_add(1 + data as u32);
        self.window = 0xffff << segment.scale.unwrap_or(0).min(LARGEST_SCALE);
        self.pod_finished = segment.flags & FIN != 0;
        self.pod_reset = segment.flags & RST != 0;
    }

    pub fn closed(&self) -> bool {
        self.pod_reset || self.remote_reset || (self.pod_finished && self.remote_finished)
    }

    pub fn pod_sends(&mut self, segment: &Segment, data: usize) {
        let flags = segment.flags;
        if flags & (SYN | ACK) == SYN {
            if self.closed() {
                *self = Connection::default();
            }
            if !self.acknowledged {
                self.open(segment, data);
            }
        } else if flags & ACK != 0 {
            if !self.acknowledged || (segment.ack.wrapping_sub(self.next) as i32) > 0 {
                self.next = segment.ack;
            }
            self.acknowledged = true;
        }
        self.pod_finished |= flags & FIN != 0;
        // Who speaks on after a RST did not mean it.
        self.pod_reset = flags & RST != 0;
    }

    /// Could the pod's end take a RST or FIN here?
    fn expected(&self, segment: &Segment) -> bool {
        if !self.acknowledged {
            return segment.flags & ACK != 0 && segment.ack == self.next;
        }
        segment.seq.wrapping_sub(self.next) < self.window
    }

    /// False: a RST that is nobody's.
    pub fn remote_sends(&mut self, segment: &Segment) -> bool {
        let flags = segment.flags;
        let expected = self.expected(segment);
        if flags & RST != 0 && !expected {
            return false;
        }
        self.remote_reset = flags & RST != 0;
        self.remote_finished |= flags & FIN != 0 && expected;
        self.remote_opened |= flags & SYN != 0;
        true
    }

    /// The pod spoke on after a RST of the other end, which then was not its own.
    pub fn pod_spoke_later(&mut self) {
        self.remote_reset = false;
    }

    pub fn lifetime(&self, timers: &Timers) -> u32 {
        if self.closed() {
            timers.tcp_closed
        } else if self.acknowledged && self.remote_opened {
            timers.tcp_established
        } else {
            timers.tcp_transitory
        }
    }
}

//! Datagrams in pieces: the first says for 30 seconds where the others go (RFC 6146 section 3.4, RFC 791 section 3.2).

use std::net::IpAddr;

use super::Nat;
use crate::packet::{Packet, Piece};

/// Where a datagram is met: each place remembers its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    OfPod,
    ToWire,
    OfWire,
    ToPod,
}

/// RFC 791: source, destination, protocol and number; RFC 8200: without the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PieceId {
    place: Place,
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    id: u32,
}

#[derive(Clone, Copy, Debug)]
pub enum Decision {
    /// Sent to, or as, this address, under this number.
    To(IpAddr, u32),
    /// Left to the kernel, and why.
    Passed(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub struct Kept {
    decision: Decision,
    seen: u32,
}

const WAIT: u32 = 30;

fn id(p: &Packet, place: Place) -> PieceId {
    let protocol = if p.v4() { p.number() } else { 0 };
    PieceId { place, src: p.src.ip(), dst: p.dst.ip(), protocol, id: p.id }
}

impl Nat {
    pub fn remember(&mut self, p: &Packet, place: Place, decision: Decision) {
        if p.piece == Piece::First {
            self.pieces.insert(id(p, place), Kept { decision, seen: self.now });
        }
    }

    pub fn recall(&self, p: &Packet, place: Place) -> Option<Decision> {
        let kept = self.pieces.get(&id(p, place))?;
        (self.now - kept.seen <= WAIT).then_some(kept.decision)
    }
}

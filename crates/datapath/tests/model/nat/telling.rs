//! ICMP errors that a NAT sends itself (RFC 792, RFC 4443, RFC 1812 section 4.3, RFC 5508 section 5).

use super::{Answer, Nat, Way};
use crate::packet::{Body, Complaint, Packet, Piece, at};

pub enum Why {
    NoHopLeft,
    TooBig(u16),
    NoPort,
    Protocol,
}

impl Why {
    fn verdicts(&self) -> (&'static str, &'static str) {
        match self {
            Why::NoHopLeft => ("TOLD_TTL", "DROP_TTL"),
            Why::TooBig(_) => ("TOLD_TOO_BIG", "DROP_TOO_BIG"),
            Why::NoPort => ("TOLD_NO_PORT", "DROP_NO_PORT"),
            Why::Protocol => ("TOLD_PROTOCOL", "DROP_PROTOCOL"),
        }
    }

    /// Type, code, MTU.
    fn message(&self, v4: bool) -> (u8, u8, u16) {
        match (self, v4) {
            (Why::NoHopLeft, true) => (11, 0, 0),
            (Why::NoHopLeft, false) => (3, 0, 0),
            (Why::TooBig(mtu), true) => (3, 4, *mtu),
            (Why::TooBig(mtu), false) => (2, 0, *mtu),
            (Why::NoPort, true) => (3, 13, 0),
            (Why::Protocol, true) => (3, 2, 0),
            (Why::NoPort | Why::Protocol, false) => (1, 1, 0),
        }
    }
}

impl Nat {
    /// The packet is refused. Its sender is told by `way`, unless it complains itself or has no ports.
    pub fn tell(&self, p: &Packet, way: Way, why: Why) -> Answer {
        let (told, untold) = why.verdicts();
        let settings = &self.world.settings;
        let hop = if p.v4() { settings.hop4 } else { settings.hop6 };
        if matches!(p.body, Body::Error(_)) || p.piece == Piece::Later || hop == Default::default() {
            return Answer::only(untold);
        }
        let (kind, code, mtu) = why.message(p.v4());
        let error = Packet {
            src: at(hop.into(), 0),
            dst: at(p.src.ip(), 0),
            body: Body::Error(Complaint { kind, code, mtu, about: p.quote() }),
            ttl: 64,
            whole: false,
            piece: Piece::Whole,
            id: 0,
            size: 0,
        };
        Answer::sent(told, way, error)
    }
}

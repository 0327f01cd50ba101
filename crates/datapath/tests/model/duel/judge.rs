//! One packet: did what must come of it come?

use std::net::IpAddr;

use super::{Duel, Told};
use crate::names::{POD, mac};
use crate::nat::{Answer, LINK_MTU, Way};
use crate::packet::Packet;
use crate::reading::read;
use crate::rig::Outcome;

impl Duel<'_> {
    pub fn judge(
        &mut self,
        from: [u8; 6],
        packet: &Packet,
        bytes: &[u8],
        expected: &Answer,
        outcome: &Outcome,
    ) -> Told {
        if expected.verdict != outcome.verdict {
            return Err(format!("the verdict is {}, and must be {}", outcome.verdict, expected.verdict));
        }
        if !self.rig.counted(expected.verdict) {
            return Err(format!("{} was not counted once", expected.verdict));
        }
        let kernel_hears = match expected.verdict.split_once('_').map_or("", |(first, _)| first) {
            "PASS" => -1,
            "DROP" => 2,
            _ => 7,
        };
        if outcome.answer != kernel_hears {
            return Err(format!("the kernel hears {}, and must hear {kernel_hears}", outcome.answer));
        }
        let Some((way, sent)) = &expected.sent else {
            return match kernel_hears == 2 || outcome.frame == bytes {
                true => Ok(()),
                false => Err("a packet that is passed was changed".to_owned()),
            };
        };
        let small = outcome.pieces.iter().all(|size| *size <= usize::from(LINK_MTU));
        if !small || (expected.verdict == "SENT_PIECES") == outcome.pieces.is_empty() {
            return Err(format!("it left in pieces of {:?}", outcome.pieces));
        }
        let reading = read(&outcome.frame).ok_or("what is sent cannot be read")?;
        if !reading.sound {
            return Err(format!("a checksum or length is wrong: {} {:02x?}", reading.packet, outcome.frame));
        }
        let mut sent = sent.clone();
        if expected.verdict.starts_with("TOLD") {
            sent.size = reading.packet.size;
        }
        if reading.packet != sent {
            return Err(format!("{packet}\n   left as {}\n   must be {sent}", reading.packet));
        }
        self.went(way, from, (reading.to, reading.from), outcome.tunnel)
    }

    /// Out of the right door.
    fn went(
        &self,
        way: &Way,
        from: [u8; 6],
        macs: ([u8; 6], [u8; 6]),
        tunnel: Option<(IpAddr, u32)>,
    ) -> Told {
        let by = match way {
            Way::Overlay(node, vni) => Some((*node, *vni)),
            _ => None,
        };
        let to = match way {
            Way::Neighbour => {
                return if tunnel.is_none() { Ok(()) } else { Err("it went by a tunnel".to_owned()) };
            }
            Way::Wire => mac("router"),
            Way::Back => from,
            Way::Hairpin => mac("wire"),
            Way::Overlay(..) => mac("overlay"),
            Way::Link(_) => mac("node5"),
            Way::Pod(_) => POD,
        };
        if tunnel != by || macs.0 != to {
            return Err(format!("it went to {macs:02x?} by {tunnel:?}, and must go to {to:02x?} by {by:?}"));
        }
        Ok(())
    }
}

//! What packets look like when they leave, beyond addresses and ports.

use std::collections::BTreeSet;

use egret_datapath::layout::{VNI_TO_POD, VNI_TO_WIRE};

use super::node::{Node, REDIRECT};
use super::{EGRESS, EGRESS6, OUTSIDE, OUTSIDE6, POD, POD6};
use crate::describe;
use crate::packet::{tcp, udp};
use crate::support::alone;
use crate::world::{World, addr};

/// IPv4's number of a datagram.
fn number(frame: &[u8]) -> [u8; 2] {
    [frame[18], frame[19]]
}

#[test]
fn datagrams_that_may_be_cut_leave_with_numbers_of_their_own() {
    alone(|bpf| {
        let mut node = Node::new(bpf, |_| {});
        let numbers: BTreeSet<[u8; 2]> =
            (0..40).map(|_| number(&node.out(&udp(POD, OUTSIDE)).frame)).collect();
        assert!(numbers.len() > 35, "40 datagrams of one number left with {numbers:?}");
        let whole = node.out(&udp(POD, OUTSIDE).dont_fragment());
        assert_eq!(number(&whole.frame), [0, 7], "a number that nobody needs stays");
        assert!(describe::frame(&whole.frame).ends_with("udp 10.10.0.11:2000>198.51.100.9:443 ttl=63"));
    });
}

#[test]
fn the_pieces_of_a_datagram_leave_with_one_number() {
    alone(|bpf| {
        let mut node = Node::new(bpf, |_| {});
        let mut left = BTreeSet::new();
        for _ in 0..8 {
            let first = node.out(&udp(POD, OUTSIDE).fragment(0, true));
            let later = node.out(&udp(POD, OUTSIDE).fragment(2, true));
            let last = node.out(&udp(POD, OUTSIDE).fragment(4, false));
            let numbers = [&first, &later, &last].map(|piece| number(&piece.frame));
            assert!(numbers.iter().all(|n| *n == numbers[0]), "{numbers:?}");
            assert!(!describe::frame(&last.frame).contains("BAD"), "{}", describe::frame(&last.frame));
            left.insert(numbers[0]);
        }
        assert!(left.len() > 6, "eight datagrams of one number left with {left:?}");
    });
}

#[test]
fn pieces_cross_a_gateway_both_ways() {
    alone(|bpf| {
        let mut node = Node::new(bpf, World::gateway);
        let (overlay, wire) = (node.0.on.overlay, node.0.on.wire);
        let from_node = Some((addr("10.0.0.4"), VNI_TO_WIRE));
        for (egress, outside) in [(EGRESS, OUTSIDE), (EGRESS6, OUTSIDE6)] {
            for (place, more) in [(0, true), (2, true), (4, false)] {
                let piece = udp(egress, outside).fragment(place, more).bytes();
                let out = node.0.run("from_overlay", overlay, from_node, &piece);
                assert_eq!(out.verdict, REDIRECT, "{place} of {egress}: {:?}", out.counters);
                let piece = udp(outside, egress).fragment(place, more).eth("wire", "router").bytes();
                let back = node.0.run("from_wire", wire, None, &piece);
                assert_eq!(back.verdict, REDIRECT, "{place} to {egress}: {:?}", back.counters);
                assert_eq!(back.tunnel, Some((addr("10.0.0.4"), VNI_TO_POD)));
            }
        }
    });
}

#[test]
fn what_a_packet_says_of_addresses_leaves_as_it_came() {
    const TEXT: &[u8; 24] = b"PORT 10,244,1,10,160,40.";
    alone(|bpf| {
        let mut node = Node::new(bpf, |_| {});
        for (packet, header) in [(tcp(POD, "198.51.100.9:21", "S"), 20), (udp(POD, "198.51.100.9:5060"), 8)] {
            let packet = TEXT.chunks(2).enumerate().fold(packet.payload(24), |packet, (at, pair)| {
                packet.word(header + 2 * at, u16::from_be_bytes([pair[0], pair[1]]))
            });
            let (came, left) = (packet.bytes(), node.out(&packet).frame);
            assert_ne!(came[26..36], left[26..36], "address and port are others");
            assert_eq!(came[34 + header..], left[34 + header..], "{}", describe::frame(&left));
        }
    });
}

#[test]
fn errors_have_the_precedence_and_the_length_of_a_router() {
    const QUOTED: usize = 128;
    alone(|bpf| {
        let mut node = Node::new(bpf, |_| {});
        let v4 = node.out(&udp(POD, OUTSIDE).payload(900).ttl(1)).frame;
        assert_eq!((v4[15], v4[22], v4.len()), (0xc0, 64, 14 + 20 + 8 + QUOTED), "{}", describe::frame(&v4));
        let v6 = node.out(&udp(POD6, OUTSIDE6).payload(900).ttl(1)).frame;
        assert_eq!((v6[21], v6.len()), (64, 14 + 40 + 8 + QUOTED), "{}", describe::frame(&v6));
        // All of a short one is quoted.
        let short = node.out(&udp(POD, OUTSIDE).ttl(1)).frame;
        assert_eq!(short.len(), 14 + 20 + 8 + 20 + 16, "{}", describe::frame(&short));
    });
}

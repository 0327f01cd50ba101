//! Whole connections, packet by packet.

use super::node::{DROP, Node, REDIRECT};
use super::{EGRESS, EGRESS6, OUTSIDE, OUTSIDE6, POD, POD6};
use crate::describe;
use crate::packet::tcp;
use crate::support::alone;

#[test]
fn a_connection_passes_from_its_first_syn_to_its_last_ack() {
    alone(|bpf| {
        let mut node = Node::new(bpf, |_| {});
        for (pod, egress, outside) in [(POD, EGRESS, OUTSIDE), (POD6, EGRESS6, OUTSIDE6)] {
            let ours = |flags, seq, ack| tcp(pod, outside, flags).numbers(seq, ack);
            let theirs = |flags, seq, ack| tcp(outside, egress, flags).numbers(seq, ack);
            // Numbers pass the point where they begin anew.
            let (x, y) = (u32::MAX - 50, u32::MAX - 100);
            let after = |n: u32, more: u32| n.wrapping_add(more);
            let walk = [
                (true, ours("S", x, 0)),
                (true, ours("S", x, 0)),
                (false, theirs("SA", y, after(x, 1))),
                (true, ours("A", after(x, 1), after(y, 1))),
                (true, ours("PA", after(x, 1), after(y, 1)).payload(200)),
                (false, theirs("PA", after(y, 1), after(x, 201)).payload(300)),
                (true, ours("A", after(x, 201), after(y, 301))),
                (false, theirs("FA", after(y, 301), after(x, 201))),
                (true, ours("A", after(x, 201), after(y, 302))),
                (true, ours("PA", after(x, 201), after(y, 302)).payload(10)),
                (false, theirs("A", after(y, 302), after(x, 211))),
                (true, ours("FA", after(x, 211), after(y, 302))),
                (false, theirs("A", after(y, 302), after(x, 212))),
            ];
            for (step, (outward, packet)) in walk.iter().enumerate() {
                let outcome = if *outward { node.out(packet) } else { node.back(packet) };
                let text = describe::frame(&packet.bytes());
                assert_eq!(outcome.verdict, REDIRECT, "step {step}: {text}: {:?}", outcome.counters);
            }
        }
    });
}

#[test]
fn a_connection_that_both_ends_open_at_once_passes() {
    alone(|bpf| {
        let mut node = Node::new(bpf, |_| {});
        for (pod, egress, outside) in [(POD, EGRESS, OUTSIDE), (POD6, EGRESS6, OUTSIDE6)] {
            let walk = [
                (true, tcp(pod, outside, "S").numbers(100, 0)),
                (false, tcp(outside, egress, "S").numbers(500, 0)),
                (true, tcp(pod, outside, "SA").numbers(100, 501)),
                (false, tcp(outside, egress, "SA").numbers(500, 101)),
                (true, tcp(pod, outside, "A").numbers(101, 501)),
                (false, tcp(outside, egress, "PA").numbers(501, 101).payload(9)),
            ];
            for (step, (outward, packet)) in walk.iter().enumerate() {
                let outcome = if *outward { node.out(packet) } else { node.back(packet) };
                assert_eq!(outcome.verdict, REDIRECT, "step {step} of {pod}: {:?}", outcome.counters);
            }
        }
    });
}

#[test]
fn a_reset_is_judged_by_what_the_pod_has_acknowledged_and_by_the_window_of_its_syn() {
    alone(|bpf| {
        let mut node = Node::new(bpf, |_| {});
        // Its SYN counts windows in units of 2^3.
        node.out(&tcp(POD, OUTSIDE, "S").numbers(100, 0).options(&[1, 3, 3, 3]));
        node.back(&tcp(OUTSIDE, EGRESS, "SA").numbers(7000, 101));
        node.out(&tcp(POD, OUTSIDE, "A").numbers(101, 7001));
        node.out(&tcp(POD, OUTSIDE, "A").numbers(101, 9000));
        // An acknowledgment that comes late takes nothing back.
        node.out(&tcp(POD, OUTSIDE, "A").numbers(101, 8000));
        let last = 9000 + (0xffff << 3) - 1;
        for (seq, verdict) in
            [(8999, DROP), (last + 1, DROP), (0x8000_0000, DROP), (last, REDIRECT), (9000, REDIRECT)]
        {
            let outcome = node.back(&tcp(OUTSIDE, EGRESS, "R").numbers(seq, 0));
            assert_eq!(outcome.verdict, verdict, "{seq}: {:?}", outcome.counters);
        }
    });
}

/// TCP Fast Open, RFC 7413: the data is acknowledged with the SYN by whoever refuses both.
#[test]
fn a_syn_that_carries_data_can_be_refused() {
    alone(|bpf| {
        let mut node = Node::new(bpf, |_| {});
        for (pod, outside, egress) in [(POD, OUTSIDE, EGRESS), (POD6, OUTSIDE6, EGRESS6)] {
            node.out(&tcp(pod, outside, "S").numbers(100, 0).options(&[2, 4, 5, 180]).payload(20));
            for (ack, verdict) in [(101, DROP), (120, DROP), (122, DROP), (121, REDIRECT)] {
                let outcome = node.back(&tcp(outside, egress, "RA").numbers(0, ack));
                assert_eq!(outcome.verdict, verdict, "{egress} {ack}: {:?}", outcome.counters);
            }
            // Sent again without the data, as a host does that was not answered.
            node.out(&tcp(pod, outside, "S").numbers(100, 0));
            let outcome = node.back(&tcp(outside, egress, "RA").numbers(0, 101));
            assert_eq!(outcome.verdict, REDIRECT, "{egress}: {:?}", outcome.counters);
        }
    });
}

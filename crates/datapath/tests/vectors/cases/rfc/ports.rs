//! Which ports many flows get, and what one pod leaves to the others.

use std::collections::BTreeSet;

use super::node::{Node, REDIRECT, source_port};
use super::{OUTSIDE, POD};
use crate::packet::tcp;
use crate::support::alone;
use crate::world::{World, addr};

#[test]
fn ports_are_chosen_at_random_over_all_blocks() {
    alone(|bpf| {
        let mut node = Node::new(bpf, |world| {
            world.each_egress(|egress| {
                egress.shift = 6;
                egress.block_count = 2;
                egress.blocks[..2].copy_from_slice(&[2048, 4096]);
            });
        });
        // Towards different ends, so that any port would be free for each.
        let ports: Vec<u16> = (1..=60)
            .map(|host| source_port(&node.out(&tcp(POD, &format!("198.51.100.{host}:443"), "S")).frame))
            .collect();
        assert!(ports.iter().all(|port| [2048 / 64, 4096 / 64].contains(&(port / 64))), "{ports:?}");
        let (seen, low) =
            (ports.iter().collect::<BTreeSet<_>>().len(), ports.iter().filter(|p| **p < 4096).count());
        assert!(
            seen > 30 && (10..=50).contains(&low),
            "{seen} different ports, {low} of the first block: {ports:?}"
        );
        let steps = ports.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
        assert!(steps < 12, "{steps} ports follow their neighbour: {ports:?}");
    });
}

#[test]
fn a_pod_uses_its_share_of_the_ports_and_is_told_that_there_are_no_more() {
    alone(|bpf| {
        let mut node = Node::new(bpf, |_| {});
        for share in [0, 1, 2, 3] {
            node.is(|world| {
                world.each_egress(|egress| {
                    egress.shift = 5;
                    egress.share = share;
                    egress.blocks[0] = 2048;
                });
            });
            let most = 32 >> share;
            let mut ports = BTreeSet::new();
            for port in 1..=most {
                let outcome = node.out(&tcp(&format!("10.244.1.10:{port}"), OUTSIDE, "S"));
                assert_eq!(outcome.verdict, REDIRECT, "{port} of {most}: {:?}", outcome.counters);
                ports.insert(source_port(&outcome.frame));
            }
            let groups: BTreeSet<u16> = ports.iter().map(|port| port >> share).collect();
            assert_eq!((ports.len(), groups.len()), (most, most), "one of each group: {ports:?}");
            let outcome = node.out(&tcp("10.244.1.10:9999", OUTSIDE, "S"));
            assert_eq!(outcome.counters.keys().collect::<Vec<_>>(), ["TOLD_NO_PORT"], "share {share}");
        }
    });
}

/// A selected pod beside the first.
fn neighbour(world: &mut World, pod: &str) {
    let like = world.pods[&addr("10.244.1.10")];
    world.pods.insert(addr(pod), like);
}

#[test]
fn a_greedy_pod_leaves_its_neighbours_ports() {
    alone(|bpf| {
        let neighbours: Vec<String> = (11..=26).map(|host| format!("10.244.1.{host}")).collect();
        let mut node = Node::new(bpf, |world| {
            world.each_egress(|egress| {
                egress.shift = 5;
                egress.share = 1;
                egress.blocks[0] = 2048;
            });
            neighbours.iter().for_each(|pod| neighbour(world, pod));
        });
        for port in 1..=16 {
            assert_eq!(node.out(&tcp(&format!("10.244.1.10:{port}"), OUTSIDE, "S")).verdict, REDIRECT);
        }
        let starved: Vec<&String> = neighbours
            .iter()
            .filter(|pod| {
                node.out(&tcp(&format!("{pod}:7"), OUTSIDE, "S")).counters.contains_key("TOLD_NO_PORT")
            })
            .collect();
        assert!(starved.len() < 8, "of 16 neighbours there is no port left for {starved:?}");
    });
}

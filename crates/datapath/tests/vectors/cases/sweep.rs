//! The sweep: idle, closed and orphaned flows go, all others stay.

use std::collections::BTreeSet;

use crate::kernel::Kernel;
use crate::support::alone;
use crate::world::{World, addr};

const S: u8 = 0x02;
const SA: u8 = 0x12;
const FSA: u8 = 0x13;
const RST: u8 = 0x04;

/// Protocol, flags of both sides, idle seconds, and whether the flow lives on.
const FLOWS: [(u8, u8, u8, u32, bool); 13] = [
    (6, SA, SA, 900, true),
    (6, SA, SA, 1100, false),
    (6, S, 0, 190, true),
    (6, S, 0, 210, false),
    (6, SA, FSA, 900, true),
    (6, FSA, FSA, 40, true),
    (6, FSA, FSA, 60, false),
    (6, SA, RST | SA, 40, true),
    (6, SA, RST | SA, 60, false),
    (17, 0, 0, 90, true),
    (17, 0, 0, 110, false),
    (1, 0, 0, 50, true),
    (1, 0, 0, 70, false),
];

#[test]
fn flows_end_by_their_age_and_state() {
    alone(|bpf| {
        let mut kernel = Kernel::load(bpf);
        let mut world = World::standard(kernel.on);
        for (number, (protocol, sent, received, idle, _)) in (0_u16..).zip(FLOWS) {
            let (pod, egress) =
                (format!("10.244.1.10:{}", 100 + number), format!("10.10.0.11:{}", 2000 + number));
            world.flow(protocol, &pod, "198.51.100.9:443", &egress, (sent, received), idle);
        }
        world.flow(17, "[fd00:10:244:1::10]:7", "[2001:db8::9]:9", "[fd00:10:10::11]:2000", (0, 0), 5);
        kernel.fill(&world);
        let before = kernel.counts();
        let gone = kernel.sweep();
        assert_eq!(kernel.counts(), before, "a sweep is no packet");

        let after = kernel.read(&world);
        let ports: BTreeSet<u16> = after
            .flows
            .values()
            .filter(|flow| flow.egress == addr("10.10.0.11").into())
            .map(|flow| u16::from_be(flow.egress_port) - 2000)
            .collect();
        let live: BTreeSet<u16> =
            (0..).zip(FLOWS).filter(|(_, (.., lives))| *lives).map(|(number, _)| number).collect();
        assert_eq!(ports, live);
        assert_eq!(after.flows.len(), after.returns.len());
        assert_eq!(gone, (6, 0));
    });
}

#[test]
fn flows_that_nobody_owns_end() {
    alone(|bpf| {
        let mut kernel = Kernel::load(bpf);
        let mut world = World::standard(kernel.on);
        world.flow(17, "10.244.1.10:1", "198.51.100.9:1", "10.10.0.11:2001", (0, 0), 5);
        world.flow(17, "10.244.1.77:2", "198.51.100.9:2", "10.10.0.11:2002", (0, 0), 5);
        world.flow(17, "10.244.1.9:3", "198.51.100.9:3", "10.10.0.11:2003", (0, 0), 5);
        world.flow(17, "10.244.1.10:4", "198.51.100.9:4", "10.10.0.99:2004", (0, 0), 5);
        kernel.fill(&world);
        assert_eq!(kernel.sweep(), (0, 3));
        // Mappings go with the second sweep that finds them empty.
        kernel.sweep();
        let left: Vec<String> = kernel.read(&world).state().into_iter().collect();
        assert_eq!(
            left,
            [
                "flow udp 10.244.1.10:1>198.51.100.9:1 = 10.10.0.11:2001",
                "mapping udp 10.244.1.10:1 = 10.10.0.11:2001 of 1",
                "return udp 198.51.100.9:1>10.10.0.11:2001 = 10.244.1.10:1"
            ]
        );
    });
}

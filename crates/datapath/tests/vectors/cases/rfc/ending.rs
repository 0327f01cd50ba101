//! How flows and mappings end.

use std::collections::BTreeSet;

use egret_datapath::layout::Timers;

use super::{EGRESS, OUTSIDE, POD, SA};
use crate::kernel::Kernel;
use crate::support::alone;
use crate::world::{TIMERS, World, addr, now};

/// What is left, each kind in its own words.
fn left(kernel: &Kernel, world: &World) -> Vec<String> {
    kernel.read(world).state().into_iter().collect()
}

#[test]
fn a_mapping_lives_as_long_as_its_last_flow_and_one_sweep_more() {
    alone(|bpf| {
        let mut kernel = Kernel::load(bpf);
        let mut world = World::standard(kernel.on);
        world.flow(17, POD, OUTSIDE, EGRESS, (0, 0), TIMERS.udp - 30);
        world.flow(17, POD, "198.51.100.10:53", EGRESS, (0, 0), TIMERS.udp + 30);
        kernel.fill(&world);
        for _ in 0..3 {
            kernel.sweep();
        }
        assert_eq!(
            left(&kernel, &world),
            [
                "flow udp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 idle",
                "mapping udp 10.244.1.10:41000 = 10.10.0.11:2000 of 1",
                "return udp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 idle",
            ]
        );
        let mut world = kernel.read(&world);
        world.flows.values_mut().for_each(|flow| flow.seen -= 60);
        world.returns.values_mut().for_each(|back| back.seen -= 60);
        kernel.fill(&world);
        kernel.sweep();
        assert_eq!(left(&kernel, &world), ["mapping udp 10.244.1.10:41000 = 10.10.0.11:2000 of 0 idle"]);
        kernel.sweep();
        assert_eq!(left(&kernel, &world), [""; 0]);
    });
}

#[test]
fn a_connection_whose_pod_speaks_on_after_a_reset_lives() {
    const RST: u8 = 0x04;
    alone(|bpf| {
        let mut kernel = Kernel::load(bpf);
        let mut world = World::standard(kernel.on);
        world.flow(6, POD, OUTSIDE, EGRESS, (SA, SA | RST), TIMERS.tcp_closed + 30);
        world.flow(6, POD, "198.51.100.10:443", EGRESS, (SA, SA | RST), TIMERS.tcp_closed + 30);
        let spoken = addr("198.51.100.9").into();
        world
            .flows
            .iter_mut()
            .filter(|(key, _)| key.remote == spoken)
            .for_each(|(_, flow)| flow.seen = now() - 1);
        kernel.fill(&world);
        kernel.sweep();
        assert_eq!(
            left(&kernel, &world),
            [
                "flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 SA",
                "return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 SA idle",
            ]
        );
    });
}

#[test]
fn flows_end_by_the_timers_of_their_own_address() {
    alone(|bpf| {
        let mut kernel = Kernel::load(bpf);
        let mut world = World::standard(kernel.on);
        let patient =
            Timers { tcp_established: 9000, tcp_transitory: 900, tcp_closed: 200, udp: 900, icmp: 900 };
        world.egress.insert(addr("10.10.0.12"), crate::world::by_overlay("10.0.0.4"));
        world.egress.get_mut(&addr("10.10.0.12")).unwrap().timers = patient;
        const FSA: u8 = 0x13;
        for (egress, port) in [("10.10.0.11", 1), ("10.10.0.12", 2)] {
            let (pod, egress) = (format!("10.244.1.10:{port}"), format!("{egress}:2000"));
            for (protocol, remote, flags, idle) in [
                (6, "198.51.100.1:1", (SA, SA), 1500),
                (6, "198.51.100.2:1", (0x02, 0), 300),
                (6, "198.51.100.3:1", (FSA, FSA), 100),
                (17, "198.51.100.4:1", (0, 0), 300),
                (1, "198.51.100.5:0", (0, 0), 300),
            ] {
                world.flow(protocol, &pod, remote, &egress, flags, idle);
            }
        }
        kernel.fill(&world);
        kernel.sweep();
        let after = kernel.read(&world);
        let addresses: BTreeSet<_> =
            after.flows.values().map(|flow| std::net::IpAddr::from(flow.egress)).collect();
        assert_eq!((after.flows.len(), addresses), (5, [addr("10.10.0.12")].into()), "{:#?}", after.state());
    });
}

//! How far the ports of an address go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::kernel::Kernel;
use crate::packet::tcp;
use crate::support::alone;
use crate::world::{EGRESS, RULES, World, addr};

const REMOTE: &str = "198.51.100.9:443";
/// The ports of an address that can be leased: 1024 to 65535.
const PORTS: u32 = 63 * 1024;

/// A node that leases so many blocks of 1,024 ports, with pods 10.244.1.20 and up on one link.
fn node(kernel: &Kernel, blocks: u16, share: u8) -> World {
    let mut world = World::standard(kernel.on);
    world.each_egress(|egress| {
        egress.shift = 10;
        egress.share = share;
        egress.block_count = blocks;
        (1..=blocks).for_each(|block| egress.blocks[usize::from(block) - 1] = block * 1024);
    });
    let pod = world.pods[&addr("10.244.1.10")];
    assert_eq!(pod.rules, RULES);
    world.pods.extend((20..30).map(|last| (IpAddr::from([10, 244, 1, last]), pod)));
    world
}

/// Opens connections from ports of a pod. Returns the verdicts.
fn open(
    kernel: &mut Kernel,
    pod: &str,
    ports: impl Iterator<Item = u32>,
    remote: &str,
) -> BTreeMap<String, u64> {
    let before = kernel.counts();
    for port in ports {
        kernel.execute("from_pod", kernel.on.pod, &tcp(&format!("{pod}:{port}"), remote, "S").bytes());
    }
    let moved = kernel.counts().into_iter().map(|(name, count)| (name.clone(), count - before[&name]));
    moved.filter(|(_, count)| *count > 0).collect()
}

fn only(name: &str, count: u32) -> BTreeMap<String, u64> {
    BTreeMap::from([(name.to_owned(), count.into())])
}

#[test]
fn an_address_carries_sixty_four_thousand_connections_to_one_remote_end() {
    alone(|bpf| {
        let mut kernel = Kernel::load_with(bpf, 1 << 17);
        let world = node(&kernel, 63, 0);
        kernel.fill(&world);
        let opened = open(&mut kernel, "10.244.1.20", 1000..65_000, REMOTE);
        assert_eq!(opened, only("SENT_OVERLAY", 64_000));
        let egress = addr(EGRESS[0]).into();
        let ports: BTreeSet<u16> = kernel
            .read(&world)
            .flows
            .values()
            .filter(|flow| flow.egress == egress)
            .map(|flow| u16::from_be(flow.egress_port))
            .collect();
        assert_eq!(ports.len(), 64_000, "each has a port of its own");
        assert!(ports.iter().all(|port| *port >= 1024));

        // Most of the last in a hundred are found, too: each packet looks at two thousand ports.
        let rest = open(&mut kernel, "10.244.1.21", 1000..1000 + PORTS - 64_000, REMOTE);
        let found = rest.get("SENT_OVERLAY").copied().unwrap_or(0);
        assert!(found > u64::from(PORTS - 64_000) * 3 / 4, "{rest:?}");
        // Every port serves another remote end.
        let other = open(&mut kernel, "10.244.1.22", 1000..2000, "198.51.100.10:443");
        assert_eq!(other, only("SENT_OVERLAY", 1000));
    });
}

#[test]
fn a_greedy_pod_leaves_its_neighbours_their_ports() {
    alone(|bpf| {
        let mut kernel = Kernel::load_with(bpf, 1 << 16);
        for share in 1..=3 {
            let world = node(&kernel, 2, share);
            kernel.fill(&world);
            let greedy = open(&mut kernel, "10.244.1.20", 1000..31_000, REMOTE);
            let sent = greedy["SENT_OVERLAY"];
            assert_eq!(sent, 2048 >> share, "one port in each group");
            assert_eq!(
                greedy.get("TOLD_NO_PORT").copied().unwrap_or(0) + told_too_much(&greedy),
                30_000 - sent
            );
            for last in 21..24 {
                let neighbour = open(&mut kernel, &format!("10.244.1.{last}"), 1000..1020, REMOTE);
                assert_eq!(neighbour, only("SENT_OVERLAY", 20), "share {share}, pod {last}");
            }
        }
    });
}

#[test]
fn a_pod_has_its_half_of_the_flow_table_and_gets_it_back() {
    alone(|bpf| {
        let mut kernel = Kernel::load_with(bpf, 1 << 14);
        let mut world = node(&kernel, 63, 0);
        world.settings.pod_flows = 5000;
        kernel.fill(&world);
        let (greedy, modest) = ("10.244.1.20", "10.244.1.21");
        let opened = open(&mut kernel, greedy, 1000..7000, REMOTE);
        let expected = [("SENT_OVERLAY".to_owned(), 5000), ("DROP_POD_FLOWS".to_owned(), 1000)];
        assert_eq!(opened, BTreeMap::from(expected));
        assert_eq!(open(&mut kernel, modest, 1000..2000, REMOTE), only("SENT_OVERLAY", 1000));
        assert_eq!(kernel.flows_of_pods(), BTreeMap::from([(addr(greedy), 5000), (addr(modest), 1000)]));
        // The pod goes, and its flows with it.
        world = kernel.read(&world);
        world.pod_flows = kernel.flows_of_pods();
        world.pods.remove(&addr(greedy));
        kernel.fill(&world);
        assert_eq!(kernel.sweep(), (0, 5000));
        assert_eq!(kernel.flows_of_pods(), BTreeMap::from([(addr(modest), 1000)]));
    });
}

/// Errors are limited; what is not told is dropped.
fn told_too_much(verdicts: &BTreeMap<String, u64>) -> u64 {
    verdicts.get("DROP_NO_PORT").copied().unwrap_or(0)
}

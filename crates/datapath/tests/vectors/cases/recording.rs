//! What is told of flows: each record's fields beside packet, maps and counters, and what happens when nobody reads. That
//! every other vector tells what it must and nothing else, is [`Case::tells`](crate::case::Case::tells).

use std::time::Duration;

use egret_datapath::layout;
use egret_datapath::{FlowEvent, Told, Untold};

use crate::kernel::{Fate, Kernel};
use crate::packet::{tcp, udp};
use crate::support::alone;
use crate::world::{World, addr, now};

const POD: &str = "10.244.1.10:41000";
const OUTSIDE: &str = "198.51.100.9:443";
const S: u8 = 0x02;
const SA: u8 = 0x12;
const FSA: u8 = 0x13;

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

fn send(kernel: &mut Kernel, frame: &[u8]) -> Vec<String> {
    let outcome = kernel.run("from_pod", kernel.on.pod, None, frame);
    outcome.counters.into_keys().collect()
}

#[test]
fn a_record_of_an_opening_has_both_ends_and_what_it_leaves_by() {
    alone(|bpf| {
        let mut kernel = Kernel::load(bpf);
        let world = World::standard(kernel.on);
        for (frame, protocol, pod, remote, egress) in [
            (tcp(POD, OUTSIDE, "S"), 6, POD, OUTSIDE, "10.10.0.11"),
            (
                udp("[fd00:10:244:1::10]:7", "[2001:db8::9]:9"),
                17,
                "[fd00:10:244:1::10]:7",
                "[2001:db8::9]:9",
                "fd00:10:10::11",
            ),
        ] {
            kernel.fill(&world);
            assert_eq!(send(&mut kernel, &frame.bytes()), ["SENT_OVERLAY"]);
            let after = kernel.read(&world);
            let flow = after.flows.values().next().unwrap();
            assert_eq!(after.returns.values().next().unwrap().opened, now());
            let expected = FlowEvent {
                at: seconds(now()),
                told: Told::Opened,
                protocol,
                pod: pod.parse().unwrap(),
                remote: remote.parse().unwrap(),
                egress: Some((addr(egress), u16::from_be(flow.egress_port)).into()),
                link: kernel.on.pod,
                opened: Some(seconds(now())),
                seen: None,
            };
            assert_eq!(kernel.told(), [expected]);
            assert_eq!(send(&mut kernel, &frame.bytes()), ["SENT_OVERLAY"]);
            assert_eq!(kernel.told(), [], "a packet of a flow that is there");
        }
    });
}

#[test]
fn a_record_of_an_end_says_why_and_when_the_flow_was_last_alive() {
    alone(|bpf| {
        let mut kernel = Kernel::load(bpf);
        let mut world = World::standard(kernel.on);
        let flows = [
            (6, "10.244.1.10:1", (SA, SA), 900, None),
            (6, "10.244.1.10:2", (SA, SA), 1100, Some(Told::Expired)),
            (6, "10.244.1.10:3", (FSA, FSA), 60, Some(Told::Closed)),
            (6, "10.244.1.10:4", (S, 0), 210, Some(Told::Expired)),
            (17, "10.244.1.10:5", (0, 0), 110, Some(Told::Expired)),
            (17, "10.244.1.77:6", (0, 0), 5, Some(Told::Orphaned)),
        ];
        for (number, (protocol, pod, flags, idle, _)) in (0..).zip(flows) {
            world.flow(protocol, pod, OUTSIDE, &format!("10.10.0.11:{}", 2000 + number), flags, idle);
        }
        kernel.fill(&world);
        kernel.sweep();
        let mut told = kernel.told();
        told.sort_by_key(|event| event.pod.port());
        let told: Vec<_> = told
            .iter()
            .map(|event| {
                assert_eq!((event.at, event.remote), (seconds(now()), OUTSIDE.parse().unwrap()));
                let port = event.egress.unwrap().port() - 2000 + 1;
                assert_eq!(event.pod.port(), port, "its own egress port");
                (port, event.told, event.opened.unwrap(), event.seen.unwrap())
            })
            .collect();
        let expected: Vec<_> = (1..)
            .zip(flows)
            .filter_map(|(port, (.., idle, end))| {
                Some((port, end?, seconds(now() - idle - 7), seconds(now() - idle)))
            })
            .collect();
        assert_eq!(told, expected);
    });
}

#[test]
fn what_is_refused_alike_is_told_at_once_and_then_every_ten_seconds_with_a_count() {
    alone(|bpf| {
        let mut kernel = Kernel::load(bpf);
        let mut world = World::standard(kernel.on);
        world.each_egress(|egress| egress.path = layout::PATH_NONE);
        kernel.fill(&world);
        let frame = tcp(POD, OUTSIDE, "S").bytes();
        let mut packets_told = Vec::new();
        for (second, count) in [(0, 1), (1, 3), (9, 2), (10, 1), (11, 1), (20, 1)] {
            kernel.fate.set(0, Fate { now: u64::from(now() + second), dice: 1 }, 0).unwrap();
            for _ in 0..count {
                assert_eq!(
                    send(&mut kernel, &frame),
                    ["DROP_NO_GATEWAY"],
                    "a packet is refused all the same"
                );
            }
            for event in kernel.told() {
                assert_eq!((event.pod, event.remote), (POD.parse().unwrap(), OUTSIDE.parse().unwrap()));
                assert_eq!((event.egress, event.link, event.protocol), (None, kernel.on.pod, 6));
                packets_told.push((second, event.told));
            }
        }
        let refused = |packets| Told::Refused { reason: "DROP_NO_GATEWAY", packets };
        assert_eq!(packets_told, [(0, refused(1)), (10, refused(6)), (20, refused(2))]);

        // Another destination is another thing; but of too many, most are only counted.
        world.refusals = 126;
        kernel.fill(&world);
        for port in 1..=5 {
            send(&mut kernel, &tcp(POD, &format!("198.51.100.9:{port}"), "S").bytes());
        }
        let ports: Vec<u16> = kernel.told().iter().map(|event| event.remote.port()).collect();
        assert_eq!(ports, [1, 2]);
        assert_eq!(kernel.events.untold().unwrap(), Untold { flows: 0, refusals: 3 });
    });
}

#[test]
fn packets_go_on_and_are_counted_when_nobody_reads() {
    alone(|bpf| {
        let mut kernel = Kernel::load(bpf);
        let mut world = World::standard(kernel.on);
        world.each_egress(|egress| {
            egress.shift = 10;
            egress.block_count = 1;
            egress.blocks[0] = 1024;
        });
        kernel.fill(&world);
        const MANY: u16 = 60;
        for port in 1..=MANY {
            let frame = tcp(&format!("10.244.1.10:{port}"), OUTSIDE, "S").bytes();
            assert_eq!(send(&mut kernel, &frame), ["SENT_OVERLAY"], "port {port}");
        }
        assert_eq!(kernel.read(&world).flows.len(), usize::from(MANY));
        let told: Vec<u16> = kernel.told().iter().map(|event| event.pod.port()).collect();
        let fit = u16::try_from(told.len()).unwrap();
        assert!((40..MANY).contains(&fit), "{fit} records are told");
        assert_eq!(told, (1..=fit).collect::<Vec<_>>(), "in their order, the first ones");
        assert_eq!(kernel.events.untold().unwrap().flows, u64::from(MANY - fit));

        world.settings.tell_flows = 0;
        kernel.fill(&world);
        assert_eq!(send(&mut kernel, &tcp(POD, OUTSIDE, "S").bytes()), ["SENT_OVERLAY"]);
        world.each_egress(|egress| egress.path = layout::PATH_NONE);
        kernel.fill(&world);
        assert_eq!(send(&mut kernel, &tcp(POD, OUTSIDE, "S").bytes()), ["DROP_NO_GATEWAY"]);
        assert_eq!(kernel.told(), [], "who keeps no log is told nothing");
        assert_eq!(kernel.events.untold().unwrap().flows, u64::from(MANY - fit));
    });
}

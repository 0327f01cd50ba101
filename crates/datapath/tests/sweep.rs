//! A million flows: they fit, they are swept in slices, and what is old, closed or nobody's goes. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use aya::maps::{HashMap, Map, MapData};
use egret_datapath::layout::{
    FLOW_ANSWERED, FLOW_CLOSING, Flow, FlowKey, Mapping, MappingKey, ReturnFlow, ReturnKey,
};
use egret_datapath::{Attach, Config, Datapath, Sweep};
use egret_plan::Change;
use egret_plan::tables::{EgressEntry, Path as Way, PodEntry, Timers};
use nix::time::{ClockId, clock_gettime};
use support::{Namespace, alone, block_on, ip};

const FLOWS: u32 = 1_000_000;
const POD: &str = "10.244.1.10";
const EGRESS: &str = "10.10.0.11";
const SYN_ACK: u8 = 0x12;
const FIN: u8 = 0x01;

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What is wrong with every hundredth flow.
enum Wrong {
    Nothing,
    Idle,
    Closed,
    PodGone,
}

fn wrong(number: u32) -> Wrong {
    match number % 100 {
        0 => Wrong::Idle,
        1 => Wrong::Closed,
        2 => Wrong::PodGone,
        _ => Wrong::Nothing,
    }
}

fn entries(number: u32, now: u32) -> (FlowKey, Flow, ReturnKey, ReturnFlow) {
    let (port, remote) = (1024 + number % 16_384, 0x0a14_0000 + number / 16_384);
    let remote = IpAddr::from(remote.to_be_bytes());
    let (mut pod, mut flags, mut seen) = (addr(POD), SYN_ACK | FLOW_ANSWERED, now);
    match wrong(number) {
        Wrong::Nothing => {}
        Wrong::Idle => seen = now - 8000,
        Wrong::Closed => (flags, seen) = (flags | FIN | FLOW_CLOSING, now - 60),
        Wrong::PodGone => pod = addr("10.244.1.77"),
    }
    let back_flags = if flags & FIN == 0 { SYN_ACK } else { SYN_ACK | FIN };
    let (pod_port, remote_port, egress_port) =
        ((port as u16).to_be(), 443_u16.to_be(), (port as u16).to_be());
    let key =
        FlowKey { pod: pod.into(), remote: remote.into(), pod_port, remote_port, protocol: 6, pad: [0; 3] };
    let flow = Flow { egress: addr(EGRESS).into(), egress_port, flags, seen, link: 1, ..Flow::default() };
    let egress = addr(EGRESS).into();
    let back =
        ReturnKey { egress, remote: remote.into(), egress_port, remote_port, protocol: 6, pad: [0; 3] };
    let value =
        ReturnFlow { pod: pod.into(), link: 1, seen, pod_port, flags: back_flags, pad: 0, opened: seen };
    (key, flow, back, value)
}

fn pinned<K: aya::Pod, V: aya::Pod>(maps: &Path, name: &str) -> HashMap<MapData, K, V> {
    HashMap::try_from(Map::HashMap(MapData::from_pin(maps.join(name)).unwrap())).unwrap()
}

/// Sweeps to the end; the longest call of all, and the time of all together.
fn sweep(datapath: &mut Datapath) -> (Sweep, Duration, Duration) {
    let (mut longest, mut all) = (Duration::ZERO, Duration::ZERO);
    loop {
        let begun = Instant::now();
        let found = datapath.sweep().unwrap();
        longest = longest.max(begun.elapsed());
        all += begun.elapsed();
        if let Some(found) = found {
            return (found, longest, all);
        }
    }
}

#[test]
fn a_million_flows_are_held_and_what_ended_goes() {
    alone(|bpf| {
        let other = Namespace::new();
        other.link("under0", "under1");
        ip("addr add 10.0.0.1/24 dev under0");
        let config = Config {
            pin_dir: bpf.join("egret"),
            underlay: "under0".to_owned(),
            underlay_address: addr("10.0.0.1"),
            overlay: "egret0".to_owned(),
            vxlan_port: 8474,
            attach: Attach::Auto,
            max_flows: 1 << 20,
            tell_flows: true,
        };
        let mut datapath = block_on(Datapath::open(config)).unwrap();
        let pod = PodEntry { link: 1, mac: [2; 6], host_mac: [2; 6], rules: 7, shared: false };
        let egress = EgressEntry {
            path: Way::None,
            block_size: 1024,
            blocks: (1..=16).map(|block| block * 1024).collect(),
            timers: Timers::default(),
            pod_share: 2,
            node_address: false,
        };
        datapath.apply(&[Change::SetPod(addr(POD), pod), Change::SetEgress(addr(EGRESS), egress)]).unwrap();

        let maps = bpf.join("egret/maps");
        let mut flows: HashMap<_, FlowKey, Flow> = pinned(&maps, "flows");
        let mut returns: HashMap<_, ReturnKey, ReturnFlow> = pinned(&maps, "returns");
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().tv_sec() as u32;
        // Idle times reach back to before the machine was started: the clock wraps, and so do they.
        for number in 0..FLOWS {
            let (key, flow, back, value) = entries(number, now.wrapping_add(10_000));
            let age = |seen: u32| seen.wrapping_sub(10_000);
            flows.insert(key, Flow { seen: age(flow.seen), ..flow }, 0).unwrap();
            returns.insert(back, ReturnFlow { seen: age(value.seen), ..value }, 0).unwrap();
        }

        let mut mappings: HashMap<_, MappingKey, Mapping> = pinned(&maps, "mappings");
        let key = MappingKey {
            pod: addr(POD).into(),
            egress: addr(EGRESS).into(),
            pod_port: 7_u16.to_be(),
            protocol: 17,
            pad: [0; 5],
        };
        let unused = 20 * 1024_u16;
        let mapping = Mapping { egress_port: (unused + 5).to_be(), ..Mapping::default() };
        mappings.insert(key, mapping, 0).unwrap();

        let each = FLOWS / 100;
        let (found, longest, all) = sweep(&mut datapath);
        println!("with {} to remove: {all:?}, longest slice {longest:?}", 3 * each);
        assert_eq!((found.expired, found.orphaned, found.kept), (2 * each, each, FLOWS - 3 * each));
        let (found, longest, all) = sweep(&mut datapath);
        println!("with nothing to remove: {all:?}, longest slice {longest:?}");
        assert_eq!((found.expired, found.orphaned, found.kept), (0, 0, FLOWS - 3 * each));
        assert!(
            found.use_[&addr(EGRESS)].busy_blocks.contains(&unused),
            "a mapping without flows keeps its block"
        );
        let (found, ..) = sweep(&mut datapath);
        let used = &found.use_[&addr(EGRESS)];
        assert_eq!(used.flows, u64::from(found.kept));
        let blocks: Vec<u16> = (1..=16).map(|block| block * 1024).collect();
        assert_eq!(used.busy_blocks, blocks);
        assert_eq!(returns.keys().count() as u32, found.kept, "the way back went with the way out");
        assert_eq!(found.use_, BTreeMap::from([(addr(EGRESS), used.clone())]));
    });
}

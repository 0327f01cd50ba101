//! The guard in a real kernel: packets that are forwarded, held, and counted. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use egret_datapath::{GuardDrops, GuardInput, PacketSocket, guard_apply, guard_drops, guard_script};
use egret_plan::tables::{Captured, Guard, PortMatch, UnknownPods};
use etherparse::PacketBuilder;
use nix::net::if_::if_nametoindex;
use support::{alone, ip, run};

const FREE: [&str; 2] = ["10.244.1.9", "fd00:10:244:1::9"];
const ALL: [&str; 2] = ["10.244.1.10", "fd00:10:244:1::10"];
const SOME: [&str; 2] = ["10.244.1.11", "fd00:10:244:1::11"];
const UNKNOWN: [&str; 2] = ["10.244.1.77", "fd00:10:244:1::77"];
const HOST: [&str; 2] = ["10.99.0.7", "fd00:99::7"];
const OUTSIDE: [&str; 2] = ["198.51.100.9", "2001:db8::9"];
const PARTLY: [&str; 2] = ["203.0.113.7", "2001:db8:7::7"];
const EGRESS: [&str; 2] = ["10.10.0.11", "fd00:10:10::11"];
const INSIDE: [&str; 2] = ["10.244.2.20", "fd00:10:244:2::20"];

fn range(first: &str, last: &str, ports: PortMatch) -> Captured {
    Captured { first: first.parse().unwrap(), last: last.parse().unwrap(), ports }
}

fn input(unknown_pods: UnknownPods) -> GuardInput {
    let addresses = |texts: [&str; 2]| texts.map(|text| text.parse::<IpAddr>().unwrap());
    let all = BTreeSet::from([
        range("0.0.0.0", "255.255.255.255", PortMatch::Any),
        range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PortMatch::Any),
    ]);
    let some = BTreeSet::from([
        range("203.0.113.0", "203.0.113.255", PortMatch::Tcp(440, 443)),
        range("203.0.113.7", "203.0.113.7", PortMatch::Tcp(442, 450)),
        range("203.0.113.7", "203.0.113.7", PortMatch::Udp(53, 53)),
        range("2001:db8:7::", "2001:db8:7::ffff", PortMatch::Tcp(443, 443)),
    ]);
    GuardInput {
        guard: Guard {
            pod_networks: ["10.244.1.0/24", "fd00:10:244:1::/64"].map(|net| net.parse().unwrap()).into(),
            free: addresses(FREE).into(),
            selected: addresses(ALL)
                .map(|a| (a, 1))
                .into_iter()
                .chain(addresses(SOME).map(|a| (a, 2)))
                .collect(),
            captured: BTreeMap::from([(1, all), (2, some)]),
        },
        inside: ["10.244.0.0/16", "fd00:10:244::/48"].map(|net| net.parse().unwrap()).into(),
        unknown_pods,
        egress: addresses(EGRESS).into(),
        departed: BTreeSet::new(),
        vxlan_port: 8474,
        drops: GuardDrops::default(),
    }
}

/// A node between pods and the outside. Frames are put into the far ends of its links, and read there.
struct Node {
    pods: PacketSocket,
    outside: PacketSocket,
    pod_mac: [u8; 6],
    outside_mac: [u8; 6],
}

impl Node {
    fn new() -> Self {
        for name in ["pod", "out"] {
            ip(&format!("link add {name}0 type veth peer name {name}1"));
            ip(&format!("link set {name}0 up"));
            ip(&format!("link set {name}1 up"));
        }
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{switch}"), "1").unwrap();
        }
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0").unwrap();
        for (link, gateway, networks) in [
            ("pod0", "169.254.9.9", vec!["10.244.0.0/16", "10.99.0.0/16"]),
            ("pod0", "fd00:9::9", vec!["fd00:10:244::/48", "fd00:99::/64"]),
            ("out0", "169.254.8.8", vec!["0.0.0.0/0"]),
            ("out0", "fd00:8::8", vec!["::/0"]),
        ] {
            ip(&format!("neigh add {gateway} lladdr 02:00:00:00:00:99 dev {link} nud permanent"));
            for network in networks {
                ip(&format!("route add {network} via {gateway} dev {link} onlink"));
            }
        }
        let index = |name: &str| if_nametoindex(name).unwrap();
        Node {
            pods: PacketSocket::open(index("pod1"), Some(EVERYTHING)).unwrap(),
            outside: PacketSocket::open(index("out1"), Some(EVERYTHING)).unwrap(),
            pod_mac: mac_of("pod0"),
            outside_mac: mac_of("out0"),
        }
    }

    /// What becomes of a packet from a pod.
    fn fate(&self, protocol: &str, src: &str, dst: &str, port: u16) -> &'static str {
        let before = guard_drops().unwrap();
        let frame = frame(self.pod_mac, protocol, (src, 40000), (dst, port));
        self.pods.send(&frame).unwrap();
        let way_out = if dst.parse::<IpAddr>().is_ok_and(|a| INSIDE.map(|i| i.parse().unwrap()).contains(&a))
        {
            &self.pods
        } else {
            &self.outside
        };
        eventually(|| {
            if arrived(way_out, src, dst) {
                return Some("passes");
            }
            let drops = guard_drops().unwrap();
            if drops.captured.packets > before.captured.packets {
                return Some("captured");
            }
            if drops.egress.packets > before.egress.packets {
                return Some("egress");
            }
            (drops.unknown.packets > before.unknown.packets).then_some("unknown")
        })
    }
}

const EVERYTHING: u16 = 3;

fn mac_of(name: &str) -> [u8; 6] {
    let text = run("ip", &format!("-br link show {name}"));
    let mac = text.split_whitespace().nth(2).unwrap();
    let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

fn frame(to: [u8; 6], protocol: &str, src: (&str, u16), dst: (&str, u16)) -> Vec<u8> {
    let eth = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], to);
    let ip = match (src.0.parse().unwrap(), dst.0.parse().unwrap()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => eth.ipv4(src.octets(), dst.octets(), 64),
        (IpAddr::V6(src), IpAddr::V6(dst)) => eth.ipv6(src.octets(), dst.octets(), 64),
        _ => panic!("addresses of two families"),
    };
    let mut frame = Vec::new();
    match protocol {
        "tcp" => ip.tcp(src.1, dst.1, 1, 1000).syn().write(&mut frame, &[]).unwrap(),
        "answer" => ip.tcp(src.1, dst.1, 1, 1000).syn().ack(2).write(&mut frame, &[]).unwrap(),
        _ => ip.udp(src.1, dst.1).write(&mut frame, b"egret").unwrap(),
    }
    frame
}

/// A frame with these addresses has come; others are not looked at.
fn arrived(socket: &PacketSocket, src: &str, dst: &str) -> bool {
    let mut buffer = [0; 2048];
    while let Ok(length) = socket.receive(&mut buffer) {
        let packet = &buffer[14..length];
        let found = match packet[0] >> 4 {
            4 => (packet[12..16].to_vec(), packet[16..20].to_vec()),
            6 => (packet[8..24].to_vec(), packet[24..40].to_vec()),
            _ => continue,
        };
        let octets = |text: &str| match text.parse().unwrap() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        // The sockets hear what they sent themselves as well, before it was forwarded: with its full time to live.
        let ttl = if packet[0] >> 4 == 4 { packet[8] } else { packet[7] };
        if ttl == 63 && found == (octets(src), octets(dst)) {
            return true;
        }
    }
    false
}

fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "nothing became of the packet: {}", run("nft", "list ruleset"));
        std::thread::yield_now();
    }
}

#[test]
fn each_packet_meets_its_fate() {
    alone(|_| {
        let node = Node::new();
        guard_apply(None, &input(UnknownPods::Hold)).unwrap();
        let cases = [
            ("udp", FREE, OUTSIDE, 53, "passes"),
            ("udp", HOST, OUTSIDE, 53, "passes"),
            ("udp", ALL, OUTSIDE, 53, "captured"),
            ("tcp", ALL, PARTLY, 80, "captured"),
            ("udp", ALL, INSIDE, 53, "passes"),
            ("tcp", SOME, OUTSIDE, 443, "passes"),
            ("tcp", SOME, PARTLY, 443, "captured"),
            ("tcp", SOME, PARTLY, 80, "passes"),
            ("udp", SOME, PARTLY, 443, "passes"),
            ("udp", UNKNOWN, OUTSIDE, 53, "unknown"),
            ("udp", UNKNOWN, INSIDE, 53, "passes"),
            ("udp", HOST, EGRESS, 53, "egress"),
            ("tcp", EGRESS, OUTSIDE, 443, "egress"),
            ("udp", FREE, EGRESS, 53, "passes"),
        ];
        for (protocol, src, dst, port, fate) in cases {
            for family in [0, 1] {
                let (src, dst) = (src[family], dst[family]);
                assert_eq!(node.fate(protocol, src, dst, port), fate, "{protocol} {src} > {dst}:{port}");
            }
        }
        assert_eq!(node.fate("tcp", SOME[0], PARTLY[0], 450), "captured", "ranges of ports are joined");
        assert_eq!(node.fate("udp", SOME[0], PARTLY[0], 53), "captured");

        let dropped = guard_drops().unwrap();
        guard_apply(None, &input(UnknownPods::Pass)).unwrap();
        assert_eq!(guard_drops().unwrap(), dropped, "a new table goes on counting");
        assert_eq!(node.fate("udp", UNKNOWN[0], OUTSIDE[0], 53), "passes");
        assert_eq!(node.fate("udp", ALL[0], OUTSIDE[0], 53), "captured");
    });
}

#[test]
fn answers_to_connections_from_outside_pass() {
    alone(|_| {
        let node = Node::new();
        guard_apply(None, &input(UnknownPods::Hold)).unwrap();
        for family in [0, 1] {
            let (outside, pod) = (OUTSIDE[family], ALL[family]);
            let opening = frame(node.outside_mac, "tcp", (outside, 50000), (pod, 40000));
            node.outside.send(&opening).unwrap();
            eventually(|| arrived(&node.pods, outside, pod).then_some(()));
            assert_eq!(node.fate("answer", pod, outside, 50000), "passes");
            assert_eq!(node.fate("answer", pod, outside, 50001), "captured", "an answer to nothing");
        }
    });
}

/// As kube-proxy has it: the destination that a pod asked for is the Service's, and where that leads is not the pod's choice.
#[test]
fn what_a_pod_sends_to_a_service_passes_wherever_the_service_is() {
    alone(|_| {
        let node = Node::new();
        guard_apply(None, &input(UnknownPods::Hold)).unwrap();
        let services = ["10.244.96.1", "fd00:10:244:96::1"];
        let elsewhere = ["192.0.2.5", "2001:db8:5::5"];
        let rules = |family: usize, table: &str, ip: &str| {
            let (service, other, to) = (services[family], elsewhere[family], OUTSIDE[family]);
            format!(
                "table {table} services {{
                   chain to {{
                     type nat hook prerouting priority dstnat;
                     {ip} daddr {{ {service}, {other} }} dnat to {to}
                   }}
                 }}\n"
            )
        };
        let file = std::env::temp_dir().join(format!("egret-services-{}.nft", std::process::id()));
        std::fs::write(&file, rules(0, "ip", "ip") + &rules(1, "ip6", "ip6")).unwrap();
        run("nft", &format!("-f {}", file.display()));
        std::fs::remove_file(&file).unwrap();
        for family in [0, 1] {
            let (pod, to) = (ALL[family], OUTSIDE[family]);
            let to_service = frame(node.pod_mac, "tcp", (pod, 40000), (services[family], 443));
            node.pods.send(&to_service).unwrap();
            eventually(|| arrived(&node.outside, pod, to).then_some(()));
            assert_eq!(
                node.fate("tcp", pod, elsewhere[family], 443),
                "captured",
                "no Service of the cluster"
            );
            assert_eq!(node.fate("tcp", pod, to, 443), "captured", "the same host by its own address");
        }
    });
}

/// Routers and connections remember it for longer than we do.
#[test]
fn an_address_that_went_is_held_for_a_while() {
    alone(|_| {
        let node = Node::new();
        let used = input(UnknownPods::Hold);
        let gone = GuardInput { egress: BTreeSet::new(), departed: used.egress.clone(), ..used.clone() };
        let later = GuardInput { departed: BTreeSet::new(), ..gone.clone() };
        for (number, steps) in [vec![&used, &gone, &later], vec![&gone]].into_iter().enumerate() {
            let mut before = None;
            for step in steps {
                guard_apply(before, step).unwrap();
                before = Some(step);
            }
            for family in [0, 1] {
                assert_eq!(node.fate("udp", HOST[family], EGRESS[family], 53), "egress", "way {number}");
                assert_eq!(node.fate("udp", EGRESS[family], OUTSIDE[family], 53), "egress", "way {number}");
            }
            let held = run("nft", "list set inet egret departed4");
            assert!(held.contains("timeout 10m"), "not for ever: {held}");
        }
        guard_apply(Some(&later), &used).unwrap();
        guard_apply(Some(&used), &gone).unwrap();
        assert_eq!(node.fate("udp", HOST[0], EGRESS[0], 53), "egress", "it came back and went again");
    });
}

/// Of a Service on an egress address, the pod is who it is in the forward path, and answers are answers.
#[test]
fn answers_of_an_egress_address_pass() {
    alone(|_| {
        let node = Node::new();
        guard_apply(None, &input(UnknownPods::Hold)).unwrap();
        for family in [0, 1] {
            let (pod, egress) = (FREE[family], EGRESS[family]);
            assert_eq!(node.fate("tcp", pod, egress, 443), "passes", "a pod asks a Service");
            let answer = frame(node.outside_mac, "answer", (egress, 443), (pod, 40000));
            node.outside.send(&answer).unwrap();
            eventually(|| arrived(&node.pods, egress, pod).then_some(()));
        }
    });
}

#[test]
fn the_overlay_is_not_tracked() {
    alone(|_| {
        guard_apply(None, &input(UnknownPods::Hold)).unwrap();
        let rules = run("nft", "list ruleset");
        assert_eq!(rules.matches("udp dport 8474 notrack").count(), 2, "{rules}");
    });
}

/// Flat: the number of policies is a matter of loading, not of packets, and loading stays quick.
#[test]
fn a_thousand_rule_sets_are_one_transaction() {
    alone(|_| {
        let mut many = input(UnknownPods::Hold);
        for number in 1..=1000_u32 {
            let set = u64::from(number) << 20;
            let net = std::net::Ipv4Addr::from(0xc600_0000 + number * 256);
            let ports = [PortMatch::Any, PortMatch::Tcp(443, 443)];
            let captured = ports.map(|ports| Captured { first: net.into(), last: net.into(), ports });
            many.guard.captured.insert(set, captured.into());
            many.guard.selected.insert(std::net::Ipv4Addr::from(0x0af4_1000 + number).into(), set);
        }
        guard_apply(None, &many).unwrap();
        guard_apply(None, &many).unwrap();
        let path = run("nft", "list chain inet egret pod4");
        assert!(path.lines().count() < 16, "a packet meets as many rules as with one policy: {path}");
        assert!(guard_script(&many).lines().count() > 10_000);
    });
}

/// The kernel's table, without the order in which things were made.
fn in_kernel() -> BTreeMap<String, BTreeSet<String>> {
    let mut blocks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in run("nft", "list table inet egret").lines().map(str::trim) {
        if let Some(header) = line.strip_suffix(" {") {
            name = header.to_owned();
            blocks.entry(name.clone()).or_default();
        } else {
            let words = line.trim_start_matches("elements = {").trim_end_matches('}').split(',');
            blocks.entry(name.clone()).or_default().extend(words.map(|word| word.trim().to_owned()));
        }
    }
    blocks
}

#[test]
fn step_by_step_is_the_same_as_anew() {
    alone(|_| {
        let first = input(UnknownPods::Hold);
        let mut freed = first.clone();
        let pod: IpAddr = SOME[0].parse().unwrap();
        freed.guard.selected.remove(&pod);
        freed.guard.free.insert(pod);
        let mut moved = freed.clone();
        moved.guard.selected.insert(ALL[1].parse().unwrap(), 2);
        moved.guard.free.remove(&pod);
        let mut other_rules = moved.clone();
        other_rules.guard.captured.remove(&2);
        other_rules
            .guard
            .captured
            .insert(3, BTreeSet::from([range("192.0.2.0", "192.0.2.9", PortMatch::Any)]));
        other_rules.guard.selected = other_rules.guard.selected.into_keys().map(|pod| (pod, 3)).collect();
        let mut wider = other_rules.clone();
        wider.inside.insert("10.0.0.0/8".parse().unwrap());
        wider.guard.pod_networks.insert("10.244.0.0/16".parse().unwrap());
        let mut narrower = wider.clone();
        narrower.inside.clear();
        narrower.egress.pop_first();
        let passing = GuardInput { unknown_pods: UnknownPods::Pass, ..narrower.clone() };
        let steps = [
            first.clone(),
            freed,
            moved,
            other_rules,
            wider,
            narrower,
            passing,
            GuardInput::default(),
            first,
        ];
        let mut before: Option<&GuardInput> = None;
        for (number, step) in steps.iter().enumerate() {
            let step_by_step = before.map(|before| {
                guard_apply(Some(before), step).unwrap();
                in_kernel()
            });
            guard_apply(None, step).unwrap();
            if let Some(step_by_step) = step_by_step {
                assert_eq!(step_by_step, in_kernel(), "step {number}");
            }
            before = Some(step);
        }
    });
}

#[test]
fn somebody_elses_hand_in_the_table_is_mended() {
    alone(|_| {
        let first = input(UnknownPods::Hold);
        guard_apply(None, &first).unwrap();
        let whole = in_kernel();
        run("nft", "delete table inet egret");
        let mut freed = first.clone();
        freed.guard.free.clear();
        guard_apply(Some(&first), &freed).unwrap();
        guard_apply(Some(&freed), &first).unwrap();
        assert_eq!(in_kernel(), whole);
    });
}

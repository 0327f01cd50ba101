//! What people find out with the tools of their distribution: who is on the way, and how much it carries.

use crate::families::{FAR, FOUR, SIX, pools, steered};
use crate::harness::{Host, Lab, SMALL};

/// The way from a pod of this node to the far end: its hops in IPv4 and IPv6. Either gateway may carry.
struct Way {
    node: &'static str,
    hops: [&'static [&'static [&'static str]]; 2],
}

const GATEWAYS: [&[&str]; 2] = [&["10.10.0.104", "10.10.0.105"], &["fd00:10:10::104", "fd00:10:10::105"]];
const ROUTER: [&[&str]; 2] = [&["10.10.0.1"], &["fd00:10:10::1"]];
const END: [&[&str]; 2] = [&[FAR[0]], &[FAR[1]]];

const WAYS: [Way; 3] = [
    Way {
        node: "node-1",
        hops: [
            &[&["10.0.0.1"], GATEWAYS[0], ROUTER[0], END[0]],
            &[&["fd00:0:0:1::1"], GATEWAYS[1], ROUTER[1], END[1]],
        ],
    },
    Way {
        node: "node-2",
        hops: [
            &[&["10.0.0.2"], GATEWAYS[0], ROUTER[0], END[0]],
            &[&["fd00:0:0:1::2"], GATEWAYS[1], ROUTER[1], END[1]],
        ],
    },
    Way {
        node: "node-4",
        hops: [&[&["10.10.0.104"], ROUTER[0], END[0]], &[&["fd00:10:10::104"], ROUTER[1], END[1]]],
    },
];

fn prepared(name: &str, topology: &str) -> Lab {
    let lab = Lab::up(name, topology);
    lab.apply(&pools(""));
    lab.host("outside-2").serve_sources(7000);
    for host in ["router", "outside-2"] {
        // the tools ask faster than a host tells one other
        lab.host(host).sysctls(&[
            ("ipv4/icmp_ratelimit", "0"),
            ("ipv4/icmp_msgs_per_sec", "100000"),
            ("ipv4/icmp_msgs_burst", "100000"),
            ("ipv6/icmp/ratelimit", "0"),
        ]);
    }
    lab
}

/// The hop of each line that begins with a number: the first address in it, and the whole line.
fn hops(text: &str) -> Vec<(usize, String, String)> {
    let hop = |line: &str| {
        let mut words = line.split_whitespace();
        let number = words.next()?.trim_end_matches(['.', ':', '?', '|', '-']).parse().ok()?;
        let who = words.find(|word| word.contains('*') || word.parse::<std::net::IpAddr>().is_ok())?;
        Some((number, who.to_owned(), line.to_owned()))
    };
    // where tracepath learns a size, it names who told it, at the number of the hop it asked for
    let lines = text.lines().filter(|line| !line.contains("pmtu"));
    lines.filter_map(|line| hop(&line.replace(".|--", " "))).collect()
}

#[track_caller]
fn assert_hops(text: &str, expected: &[&[&str]], what: &str) {
    let found = hops(text);
    for (index, who) in expected.iter().enumerate() {
        let mut of_hop = found.iter().filter(|(number, ..)| *number == index + 1).peekable();
        assert!(of_hop.peek().is_some(), "{what}: no hop {} of {expected:?} in\n{text}", index + 1);
        for (_, hop, line) in of_hop {
            assert!(
                who.contains(&hop.as_str()) && !line.contains('*'),
                "{what}: hop {} is {hop}, not {who:?}, in\n{text}",
                index + 1
            );
        }
    }
    assert!(found.iter().all(|(number, ..)| *number <= expected.len()), "{what}: too many hops in\n{text}");
}

/// Every tool from this pod, in both families.
fn diagnose(lab: &Lab, pod: &Host, way: &Way, what: &str) {
    for (family, (expected, end)) in way.hops.iter().zip(FAR).enumerate() {
        let option = ["-4", "-6"][family];
        let what = format!("{what}, {} {option}", way.node);
        for method in [&["-U", "-p", "33434"][..], &["-I"], &["-T", "-p", "7000"]] {
            let arguments = [&[option, "-n", "-q", "2", "-w", "2", "-m", "8"], method, &[end]].concat();
            let text = lab.told(pod, "traceroute", &arguments);
            assert_hops(&text, expected, &format!("{what}: traceroute {method:?}"));
        }
        let text = lab.told(pod, "mtr", &[option, "-n", "-r", "-c", "2", "-i", "0.1", "-G", "0.2", end]);
        assert_hops(&text, expected, &format!("{what}: mtr"));
        assert!(
            text.lines().filter(|line| line.contains("|--")).all(|line| line.contains(" 0.0%")),
            "{what}: {text}"
        );
        for size in ["56", "1472", "4000", "60000"] {
            // each side may lose one, by which it learns what the way carries
            let text = lab.told(pod, "ping", &[option, "-c", "4", "-i", "0.02", "-W", "1", "-s", size, end]);
            let received = [" 4 received", " 3 received", " 2 received"].iter().any(|r| text.contains(r));
            assert!(received, "{what}: ping -s {size}: {text}");
        }
    }
}

#[track_caller]
fn tracepath_finds(lab: &Lab, pod: &Host, way: &Way, mtu: [u32; 2]) {
    for (family, (expected, end)) in way.hops.iter().zip(FAR).enumerate() {
        let text = lab.told(pod, "tracepath", &[["-4", "-6"][family], "-n", "-m", "8", end]);
        assert_hops(&text, expected, "tracepath");
        let found = format!("pmtu {} hops {}", mtu[family], expected.len());
        assert!(text.contains(&found), "no {found:?} in\n{text}");
    }
}

#[test]
fn tools_show_every_hop_and_large_pings_come_back() {
    let lab = prepared("t-diag", SMALL);
    for way in &WAYS {
        let pod = lab.pod("nat", &format!("pod-{}", way.node), way.node, "app=nat");
        lab.until_no_tunnel(&pod, way.node);
        tracepath_finds(&lab, &pod, way, [1500, 1500]);
        diagnose(&lab, &pod, way, "by the link");
        assert_eq!(pod.udp_source(crate::families::at(FAR[0], 7000)).unwrap().to_string(), FOUR);
        assert_eq!(pod.udp_source(crate::families::at(FAR[1], 7000)).unwrap().to_string(), SIX);
    }
    lab.assert_no_leak();
}

#[test]
fn tools_show_every_hop_and_what_the_overlay_carries() {
    let lab = prepared("t-diag-o", &steered("overlay"));
    for (way, mtu) in WAYS.iter().zip([1450, 1450, 1500]) {
        let pod = lab.pod("nat", &format!("pod-{}", way.node), way.node, "app=nat");
        tracepath_finds(&lab, &pod, way, [mtu, mtu]);
        diagnose(&lab, &pod, way, "by the overlay");
    }
    lab.assert_no_leak();
}

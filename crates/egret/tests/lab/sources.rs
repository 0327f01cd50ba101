//! Which address the outside sees.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use crate::harness::{ANTREA_HA, DEADLINE, Host, Lab, SMALL, Store, on_both_stores};

on_both_stores!(
    seed_example_sends_prod_and_staging_by_their_addresses_under_each_cni_shape,
    unselected_pods_and_destinations_go_as_before,
    ipv6_leaves_by_ipv6_addresses,
);

const OWN: &str = include_str!("own.yaml");
const NEAR: &str = "10.10.0.200:7000";
const FAR: &str = "198.51.100.10:7000";
const FAR6: &str = "[fd00:198:51:100::10]:7000";

fn at(server: &str) -> SocketAddr {
    server.parse().unwrap()
}

pub fn seed_example_sends_prod_and_staging_by_their_addresses_under_each_cni_shape(store: Store) {
    let lab = Lab::up_on(store, "t-seed", SMALL);
    lab.apply(ANTREA_HA);
    for outside in ["outside-1", "outside-2"] {
        lab.host(outside).serve_sources(7000);
    }
    for (namespace, expected) in [("prod", "10.10.0.11"), ("staging", "10.10.0.12")] {
        for node in ["node-1", "node-2", "node-4", "node-5"] {
            let pod = lab.pod(namespace, &format!("{namespace}-{node}"), node, "app=web");
            for server in [NEAR, FAR] {
                assert_eq!(
                    pod.tcp_source(at(server)).unwrap().to_string(),
                    expected,
                    "TCP, {namespace} on {node} to {server}"
                );
                assert_eq!(
                    pod.udp_source(at(server)).unwrap().to_string(),
                    expected,
                    "UDP, {namespace} on {node} to {server}"
                );
            }
            let ping = pod.command("ping", &["-c", "3", "-i", "0.2", "-W", "2", "198.51.100.10"]);
            assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
        }
    }
    lab.assert_no_leak();
}

fn unselected_pods_and_destinations_go_as_before(store: Store) {
    let lab = Lab::up_on(store, "t-before", SMALL);
    for outside in ["outside-1", "outside-2"] {
        lab.host(outside).serve_sources(7000);
    }
    let other = lab.pod("prod", "other", "node-1", "app=other");
    let batch = lab.pod("batch", "job", "node-1", "app=batch");
    let before = [other.tcp_source(at(FAR)).unwrap(), batch.tcp_source(at(NEAR)).unwrap()];
    lab.apply(ANTREA_HA);
    lab.apply(OWN);
    assert_eq!(other.tcp_source(at(FAR)).unwrap(), before[0], "a pod that nobody selects");
    assert_eq!(batch.tcp_source(at(NEAR)).unwrap(), before[1], "a destination that the policy does not name");
    assert_eq!(batch.tcp_source(at(FAR)).unwrap().to_string(), "10.10.0.64", "a destination that it names");
    let neighbour = lab.pod("prod", "web", "node-2", "app=web");
    neighbour.serve_sources(7000);
    let inside: SocketAddr =
        format!("{}:7000", neighbour.addresses[0].split('/').next().unwrap()).parse().unwrap();
    assert_eq!(
        batch.tcp_source(inside).unwrap().to_string(),
        batch.addresses[0].split('/').next().unwrap(),
        "pod to pod"
    );
    lab.host("node-1").serve_sources(7000);
    let source = neighbour.tcp_source(at("10.0.0.1:7000")).unwrap().to_string();
    assert!(!source.starts_with("10.10.0."), "pod to node: {source}");
    lab.assert_no_leak();
}

fn ipv6_leaves_by_ipv6_addresses(store: Store) {
    let lab = Lab::up_on(store, "t-v6", SMALL);
    lab.apply(OWN);
    lab.host("outside-2").serve_sources(7000);
    for node in ["node-1", "node-2", "node-4"] {
        let pod = lab.pod("six", &format!("six-{node}"), node, "app=six");
        let server = at("[fd00:198:51:100::10]:7000");
        assert_eq!(pod.tcp_source(server).unwrap().to_string(), "fd00:10:10::1000", "TCP on {node}");
        assert_eq!(pod.udp_source(server).unwrap().to_string(), "fd00:10:10::1000", "UDP on {node}");
        let ping = pod.command("ping", &["-c", "3", "-i", "0.2", "-W", "2", "fd00:198:51:100::10"]);
        assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
    }
    lab.assert_no_leak();
}

#[test]
fn answers_to_connections_from_outside_are_no_egress() {
    let lab = Lab::up("t-reply", SMALL);
    lab.apply(ANTREA_HA);
    let pod = lab.pod("prod", "web", "node-1", "app=web");
    pod.serve_sources(7000);
    // the outside reaches the pod through its node, as a node port would
    lab.egret(&["exec", "router", "--", "ip", "route", "add", "10.244.1.0/24", "via", "10.0.0.1"]);
    let server: SocketAddr = format!("{}:7000", pod.addresses[0].split('/').next().unwrap()).parse().unwrap();
    let outside = lab.host("outside-2");
    assert_eq!(outside.tcp_source(server).unwrap().to_string(), "198.51.100.10", "TCP");
    assert_eq!(outside.udp_source(server).unwrap().to_string(), "198.51.100.10", "UDP");
}

#[test]
fn the_older_way_of_attaching_and_each_way_to_gateways_carry_the_same_packets() {
    for (name, arguments, way) in [
        ("t-tunnel", "[--steering, overlay]", "SENT_OVERLAY"),
        ("t-clsact", "[--steering, link, --attach, clsact]", "SENT_LINK"),
    ] {
        let lab = Lab::up(name, &SMALL.replace("    cni:", &format!("    agent: {arguments}\n    cni:")));
        lab.apply(ANTREA_HA);
        lab.apply(OWN);
        lab.host("outside-2").serve_sources(7000);
        for node in ["node-1", "node-2", "node-5"] {
            speaks_both_families(&lab, node, &format!("{arguments} on {node}"));
        }
        let counters = lab.counters("node-1");
        for other in ["SENT_OVERLAY", "SENT_LINK"] {
            assert_eq!(counters.contains_key(other), other == way, "{counters:?}");
        }
        lab.assert_no_leak();
    }
}

/// Pods of a node, one for each family, are seen with their egress addresses.
#[track_caller]
fn speaks_both_families(lab: &Lab, node: &str, what: &str) -> [Host; 2] {
    let web = lab.pod("prod", &format!("web-{node}"), node, "app=web");
    let six = lab.pod("six", &format!("six-{node}"), node, "app=six");
    let pods = [web, six];
    assert_both_families(&pods, what);
    pods
}

#[test]
fn a_link_that_carries_is_found_out_and_used_both_ways() {
    let lab = Lab::up("t-auto", SMALL);
    lab.apply(ANTREA_HA);
    lab.apply(OWN);
    lab.host("outside-2").serve_sources(7000);
    let pods = speaks_both_families(&lab, "node-1", "node-1");
    let sent_back =
        || ["node-4", "node-5"].iter().any(|node| lab.counters(node).contains_key("SENT_NODE_LINK"));
    let begun = Instant::now();
    while !(lab.counters("node-1").contains_key("SENT_LINK") && sent_back()) {
        assert!(begun.elapsed() < DEADLINE, "{:?}", lab.counters("node-1"));
        assert_both_families(&pods, "while it is found out");
    }
    assert_both_families(&pods, "without tunnel");
    let counters = lab.counters("node-1");
    assert!(counters.keys().all(|reason| !reason.starts_with("DROP")), "{counters:?}");
    lab.assert_no_leak();
}

#[test]
fn a_fabric_that_filters_by_source_is_found_out_and_the_overlay_carries() {
    let lab = Lab::up("t-fabric", SMALL);
    let switch = |arguments: &[&str]| {
        let nft =
            Command::new("ip").args(["netns", "exec", "t-fabric-switch", "nft"]).args(arguments).output();
        let nft = nft.unwrap();
        assert!(nft.status.success(), "{}", String::from_utf8_lossy(&nft.stderr));
        String::from_utf8_lossy(&nft.stdout).into_owned()
    };
    // A node's port sends what comes from the node or its pods, and nothing else, as in clouds.
    switch(&["add table bridge fabric; \
         add counter bridge fabric foreign; \
         add chain bridge fabric forward { type filter hook forward priority 0; }; \
         add rule bridge fabric forward iifname { node-1.eth0, node-2.eth0, node-4.eth0, node-5.eth0 } \
             ip saddr != { 10.0.0.0/24, 10.244.0.0/16 } counter name foreign drop; \
         add rule bridge fabric forward iifname { node-1.eth0, node-2.eth0, node-4.eth0, node-5.eth0 } \
             ip6 saddr != { fd00:0:0:1::/64, fd00:10:244::/48, fe80::/10 } counter name foreign drop"]);
    let dropped = || -> u64 {
        let counter = switch(&["list", "counter", "bridge", "fabric", "foreign"]);
        counter.split_whitespace().skip_while(|word| *word != "packets").nth(1).unwrap().parse().unwrap()
    };
    lab.apply(ANTREA_HA);
    lab.apply(OWN);
    lab.host("outside-2").serve_sources(7000);
    let pods = speaks_both_families(&lab, "node-1", "node-1");
    let begun = Instant::now();
    // More rounds than finding out that a link carries takes, to two gateways in two families.
    while dropped() < 6 * 4 {
        assert!(begun.elapsed() < DEADLINE, "{} questions about links were dropped", dropped());
        assert_both_families(&pods, "while it is found out");
    }
    let counters = lab.counters("node-1");
    assert!(counters["SENT_OVERLAY"] > 0 && !counters.contains_key("SENT_LINK"), "{counters:?}");
    // The fabric lets all pass from now on, and that is found out as well.
    switch(&["flush ruleset"]);
    let begun = Instant::now();
    while !lab.counters("node-1").contains_key("SENT_LINK") {
        assert!(begun.elapsed() < DEADLINE, "{:?}", lab.counters("node-1"));
        assert_both_families(&pods, "while it is found out");
    }
    lab.assert_no_leak();
}

#[track_caller]
fn assert_both_families([web, six]: &[Host; 2], what: &str) {
    assert_eq!(web.tcp_source(at(FAR)).unwrap().to_string(), "10.10.0.11", "{what}");
    assert_eq!(six.tcp_source(at(FAR6)).unwrap().to_string(), "fd00:10:10::1000", "{what}");
}

//! Nothing leaves with the wrong source: not when a program is gone, not when the guard is gone, not from a pod
//! that nobody knows yet.

use std::net::UdpSocket;

use crate::harness::{ANTREA_HA, DEADLINE, Lab, SMALL, Store, on_both_stores};

on_both_stores!(
    guard_alone_holds_when_the_program_is_gone,
    a_new_pod_leaks_nothing_from_its_first_packet,
    without_any_gateway_selected_packets_are_dropped_with_their_reason,
);

const FAR: &str = "198.51.100.10:7000";

fn prepared(store: Store, name: &str) -> Lab {
    let lab = Lab::up_on(store, name, SMALL);
    lab.apply(ANTREA_HA);
    lab.host("outside-2").serve_sources(7000);
    lab
}

fn guard_alone_holds_when_the_program_is_gone(store: Store) {
    let lab = prepared(store, "t-guard");
    let pods =
        ["node-1", "node-2"].map(|node| (node, lab.pod("prod", &format!("web-{node}"), node, "app=web")));
    for (node, pod) in pods {
        assert_eq!(pod.tcp_source(FAR.parse().unwrap()).unwrap().to_string(), "10.10.0.11");
        // nobody repairs what is taken away now
        lab.egret(&["fault", node, "hang"]);
        let links = lab.directory().join("bpf").join(node).join("links");
        let mut removed = 0;
        for link in std::fs::read_dir(&links).unwrap().flatten() {
            if link.file_name().to_string_lossy().contains("from_pod") {
                std::fs::remove_file(link.path()).unwrap();
                removed += 1;
            }
        }
        assert!(removed > 0, "no program of a pod's link below {links:?}");
        lab.kill_programs(node);
        assert!(pod.tcp_source(FAR.parse().unwrap()).is_err(), "TCP on {node} left without the program");
        assert!(pod.udp_source(FAR.parse().unwrap()).is_err(), "UDP on {node} left without the program");
    }
    lab.assert_no_leak();
}

#[test]
fn programs_alone_hold_when_the_guard_is_gone() {
    let lab = prepared(Store::Directory, "t-progs");
    for node in ["node-1", "node-2"] {
        let pod = lab.pod("prod", &format!("web-{node}"), node, "app=web");
        lab.egret(&["fault", node, "hang"]);
        lab.egret(&["exec", node, "--", "nft", "delete", "table", "inet", "egret"]);
        assert_eq!(pod.tcp_source(FAR.parse().unwrap()).unwrap().to_string(), "10.10.0.11");
        assert_eq!(pod.udp_source(FAR.parse().unwrap()).unwrap().to_string(), "10.10.0.11");
    }
    lab.assert_no_leak();
}

fn a_new_pod_leaks_nothing_from_its_first_packet(store: Store) {
    let lab = prepared(store, "t-start");
    let outside = lab.host("outside-2");
    for node in ["node-1", "node-2"] {
        let (report, seen) = std::sync::mpsc::channel();
        let port = if node == "node-1" { 7101 } else { 7102 };
        outside.run(move || {
            let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                if report.send(peer.ip().to_string()).is_err() {
                    break;
                }
            }
        });
        let name = format!("early-{node}");
        // the pod's first process sends from the moment that its link is up
        let send = format!("while :; do echo early > /dev/udp/198.51.100.10/{port}; done 2> /dev/null");
        let pod = [
            "pod",
            &name,
            "-n",
            "prod",
            "--node",
            node,
            "-l",
            "app=web",
            "--no-wait",
            "--",
            "bash",
            "-c",
            &send,
        ];
        lab.egret(&pod);
        for right in 0..100 {
            let source = seen.recv_timeout(DEADLINE).expect("nothing came out at all");
            assert_eq!(source, "10.10.0.11", "after {right} right packets on {node}");
        }
        let counters = lab.counters(node);
        let guard = lab.egret(&["exec", node, "--", "nft", "list", "table", "inet", "egret"]);
        let held = counters.get("DROP_UNKNOWN_POD").copied().unwrap_or(0);
        assert!(
            held > 0 || !guard.contains("counter packets 0 bytes 0"),
            "nobody held anything back:\n{counters:?}\n{guard}"
        );
    }
    lab.assert_no_leak();
}

fn without_any_gateway_selected_packets_are_dropped_with_their_reason(store: Store) {
    let lab = prepared(store, "t-none");
    let pod = lab.pod("prod", "web", "node-1", "app=web");
    for node in ["node-4", "node-5"] {
        lab.egret(&["fault", node, "power-off"]);
    }
    // the first SYN still goes to a gateway that nobody has missed yet, the next one, a second later, does not
    assert!(pod.tcp_source(FAR.parse().unwrap()).is_err());
    let counters = lab.counters("node-1");
    assert!(counters.get("DROP_NO_GATEWAY").is_some_and(|dropped| *dropped > 0), "{counters:?}");
    lab.assert_no_leak();
}

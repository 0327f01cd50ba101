//! Who answers for an egress address on the wire, and what neighbours hear of it.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use crate::families::{FAR, FOUR, NEAR, SIX, at, egress, pools};
use crate::harness::{DEADLINE, Host, Lab, SMALL, assert_echoes};

/// The link-layer address that a host has for a neighbour.
fn neighbour(lab: &Lab, host: &Host, address: &str, link: &str) -> Option<String> {
    let text = lab.told(host, "ip", &["neigh", "show", address, "dev", link]);
    let mut words = text.split_whitespace().skip_while(|word| *word != "lladdr");
    words.nth(1).map(str::to_owned)
}

fn mac(lab: &Lab, node: &str) -> String {
    let text = lab.told(&lab.host(node), "ip", &["-o", "link", "show", "eth1"]);
    text.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap().to_owned()
}

/// What a host hears of neighbours on a link, a line each.
struct Ear {
    tcpdump: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Ear {
    fn new(host: &Host, link: &str) -> Ear {
        let mut tcpdump = Command::new("ip")
            .args(["netns", "exec", &host.namespace, "tcpdump", "-i", link, "-l", "-n", "-e", "-Q", "in"])
            .args(["--immediate-mode", "arp or (icmp6 and ip6[40] == 136)"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut notes = BufReader::new(tcpdump.stderr.take().unwrap()).lines();
        assert!(notes.any(|line| line.unwrap().contains("listening on")), "tcpdump did not start");
        let lines = BufReader::new(tcpdump.stdout.take().unwrap()).lines();
        let (say, said) = std::sync::mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| say.send(line)));
        Ear { tcpdump, lines: said, heard: Vec::new() }
    }

    /// Waits until it hears, from this link-layer address, that it has the address now, without being asked.
    #[track_caller]
    fn hears(&mut self, address: &str, mac: &str) {
        let announces = |line: &str| {
            let from = line.contains(&format!("{mac} > ff:ff:ff:ff:ff:ff"))
                || line.contains(&format!("{mac} > 33:33:00:00:00:01"));
            from && line.contains(address)
        };
        let begun = Instant::now();
        while !self.heard.iter().any(|line| announces(line)) {
            match self.lines.recv_timeout(DEADLINE.saturating_sub(begun.elapsed())) {
                Ok(line) => self.heard.push(line),
                Err(e) => panic!("{mac} did not announce {address} ({e}):\n{}", self.heard.join("\n")),
            }
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

#[track_caller]
fn assert_sources(pod: &Host, when: &str) {
    for (far, near) in FAR.into_iter().zip(NEAR) {
        for end in [far, near] {
            let server = at(end, 7000);
            let expected = egress(server.ip());
            assert_eq!(pod.tcp_source(server).unwrap().to_string(), expected, "TCP to {end} {when}");
            assert_eq!(pod.udp_source(server).unwrap().to_string(), expected, "UDP to {end} {when}");
        }
    }
}

#[test]
fn neighbours_learn_the_holder_and_who_never_learns_is_served_as_well() {
    let lab = Lab::up("t-neigh", SMALL);
    lab.apply(&pools(""));
    let (router, near) = (lab.host("router"), lab.host("outside-1"));
    for outside in ["outside-1", "outside-2"] {
        lab.host(outside).serve_sources(7000);
    }
    let pod = lab.pod("nat", "pod", "node-1", "app=nat");
    let macs = ["node-4", "node-5"].map(|node| (node, mac(&lab, node)));
    assert_sources(&pod, "at first");
    for (host, link) in [(&router, "eth1"), (&near, "eth0")] {
        for address in [FOUR, SIX] {
            let known = neighbour(&lab, host, address, link);
            let holder = macs.iter().find(|(_, mac)| Some(mac) == known.as_ref());
            assert!(holder.is_some(), "{address} is at {known:?} for {}: {macs:?}", host.namespace);
        }
    }
    for address in [FOUR, SIX] {
        let holder_mac = neighbour(&lab, &near, address, "eth0").unwrap();
        let (holder, _) = macs.iter().find(|(_, mac)| *mac == holder_mac).unwrap();
        let (_, other_mac) = macs.iter().find(|(_, mac)| *mac != holder_mac).unwrap();
        let mut ear = Ear::new(&near, "eth0");
        lab.egret(&["fault", holder, "cut", "eth1"]);
        ear.hears(address, other_mac);
        assert_sources(&pod, "after the holder's wire was cut");
        for (host, link) in [(&router, "eth1"), (&near, "eth0")] {
            assert_eq!(neighbour(&lab, host, address, link).as_ref(), Some(other_mac), "after the cut");
        }
        // the router never learns that the holder is back
        lab.told(
            &router,
            "ip",
            &["neigh", "replace", address, "lladdr", other_mac, "dev", "eth1", "nud", "permanent"],
        );
        let mut ear = Ear::new(&near, "eth0");
        lab.egret(&["fault", holder, "heal"]);
        ear.hears(address, &holder_mac);
        let begun = Instant::now();
        while neighbour(&lab, &near, address, "eth0").as_ref() != Some(&holder_mac) {
            assert!(begun.elapsed() < DEADLINE, "{address} is elsewhere for outside-1");
        }
        assert_eq!(
            neighbour(&lab, &router, address, "eth1").as_ref(),
            Some(other_mac),
            "the router never learns"
        );
        assert_sources(&pod, "and a router that sends to a gateway that is no holder");
        lab.told(&router, "ip", &["neigh", "del", address, "dev", "eth1"]);
    }
    lab.assert_no_leak();
}

/// A gateway's wire becomes a port of a bridge, which has its addresses and routes from then on.
fn bridge_the_wire(lab: &Lab, node: &str) {
    let number = node.trim_start_matches("node-");
    let (four, six) = (format!("10.10.0.10{number}/24"), format!("fd00:10:10::10{number}/64"));
    for line in [
        "link add wire0 type bridge forward_delay 0 mcast_snooping 0",
        "addr flush dev eth1",
        // As if eth1 were hardware: a bridge of nothing but veths is one of pods.
        "link add link eth1 name port0 type macvlan mode passthru",
        "link set port0 master wire0",
        "link set port0 up",
        "link set wire0 up",
        &format!("addr add {four} dev wire0"),
        &format!("addr add {six} dev wire0 nodad"),
        "route replace default via 10.10.0.1 dev wire0 metric 100",
        "route replace default via fd00:10:10::1 dev wire0 metric 100",
    ] {
        lab.told(&lab.host(node), "ip", &line.split(' ').collect::<Vec<_>>());
    }
}

#[test]
fn wires_become_bridges_and_connections_go_on() {
    let lab = Lab::up("t-bridge", SMALL);
    lab.apply(&pools(""));
    for outside in ["outside-1", "outside-2"] {
        lab.host(outside).serve_sources(7000);
    }
    let pod = lab.pod("nat", "pod", "node-1", "app=nat");
    assert_sources(&pod, "at first");
    let mut held: Vec<TcpStream> =
        (FAR.into_iter().chain(NEAR)).map(|end| pod.connect(at(end, 7000)).0).collect();
    for node in ["node-4", "node-5"] {
        bridge_the_wire(&lab, node);
        held.iter_mut().for_each(|stream| assert_echoes(stream, &format!("{node}'s wire is a bridge")));
    }
    assert_sources(&pod, "when every wire is a bridge");
    let macs = ["node-4", "node-5"].map(|node| mac(&lab, node));
    for address in [FOUR, SIX] {
        let known = neighbour(&lab, &lab.host("outside-1"), address, "eth0");
        assert!(known.as_ref().is_some_and(|known| macs.contains(known)), "{address} is at {known:?}");
    }
    lab.assert_no_leak();
}

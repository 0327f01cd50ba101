//! Two nodes ask each other through the overlay, in a real kernel: the answer is the program's. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

mod support;

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use egret_datapath::{Answer, Attach, Config, Datapath, Prober};
use egret_plan::Change;
use egret_plan::tables::NodeEntry;
use support::{Namespace, alone, block_on, ip};

fn config(pins: &Path, address: &str, attach: Attach) -> Config {
    Config {
        pin_dir: pins.to_owned(),
        underlay: "under0".to_owned(),
        underlay_address: address.parse().unwrap(),
        overlay: "egret0".to_owned(),
        vxlan_port: 8474,
        attach,
        max_flows: 1024,
        tell_flows: true,
    }
}

/// Does something with the gateway's datapath, as its agent would, and is gone again.
fn agent(gateway: &Namespace, config: Config, job: impl FnOnce(&mut Datapath) + Send) {
    std::thread::scope(|threads| {
        let job = move || {
            gateway.enter();
            block_on(async { job(&mut Datapath::open(config).await.unwrap()) });
        };
        threads.spawn(job).join().unwrap();
    });
}

async fn ask(prober: &mut Prober, gateway: IpAddr, nonce: u64) -> Option<Answer> {
    prober.send(gateway, nonce).unwrap();
    tokio::time::timeout(Duration::from_secs(2), prober.receive()).await.ok().map(Result::unwrap)
}

fn two_nodes(bpf: &Path, node: &'static str, gateway: &'static str, prefix: u8, attach: Attach) {
    let other = Namespace::new();
    other.link("under0", "under0");
    let dad = if node.contains(':') { " nodad" } else { "" };
    ip(&format!("addr add {node}/{prefix} dev under0{dad}"));
    other.ip(&format!("addr add {gateway}/{prefix} dev under0{dad}"));
    let there = config(&bpf.join("gateway"), gateway, attach);
    let (asker, target): (IpAddr, IpAddr) = (node.parse().unwrap(), gateway.parse().unwrap());

    agent(&other, there.clone(), |datapath| {
        datapath.apply(&[Change::SetNode(asker, NodeEntry::default())]).unwrap();
        datapath.set_ready(true).unwrap();
    });
    block_on(async {
        let mut datapath = Datapath::open(config(&bpf.join("node"), node, attach)).await.unwrap();
        let mut prober = Prober::open(datapath.overlay_link()).unwrap();
        assert_eq!(ask(&mut prober, target, 1).await, None, "an answer from no node of ours is none");
        datapath.apply(&[Change::SetNode(target, NodeEntry::default())]).unwrap();
        assert_eq!(
            ask(&mut prober, target, 2).await,
            Some(Answer { target, nonce: 2, ready: true, link: false })
        );
        agent(&other, there.clone(), |datapath| {
            assert_eq!(datapath.counters().read().unwrap()["ANSWERED_PROBE"].packets, 2);
            datapath.set_ready(false).unwrap();
        });
        assert_eq!(
            ask(&mut prober, target, 3).await,
            Some(Answer { target, nonce: 3, ready: false, link: false })
        );
        other.ip("link set under0 down");
        assert_eq!(ask(&mut prober, target, 4).await, None);
    });
}

#[test]
fn a_gateway_without_its_agent_answers() {
    alone(|bpf| two_nodes(bpf, "10.0.0.1", "10.0.0.4", 24, Attach::Tcx));
}

#[test]
fn a_gateway_without_its_agent_answers_over_ipv6() {
    alone(|bpf| two_nodes(bpf, "fd00::1", "fd00::4", 64, Attach::Tcx));
}

#[test]
fn a_gateway_without_its_agent_answers_with_clsact() {
    alone(|bpf| two_nodes(bpf, "10.0.0.1", "10.0.0.4", 24, Attach::Clsact));
}

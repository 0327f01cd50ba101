//! What one agent needs beside a large cluster: a real API server has all its objects, and no packet is sent.
//! `make size` runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod objects;
mod place;

use std::time::{Duration, Instant};

use crate::objects::Size;
use crate::place::Place;

/// How long the agent may take to have everything in force, and to let go of what it needed for that.
const SOON: Duration = Duration::from_secs(120);
const SETTLED: Duration = Duration::from_secs(10);

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name)
        .map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: no number")))
}

/// A value of `/proc/PID/status`, in MiB.
fn memory(pid: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// What one object of the cluster may cost an agent at most, in KiB, with what it costs to be there at all, in MiB: the
/// bound at any size.
fn bound(size: &Size) -> f64 {
    12.0 + size.nodes as f64 * 7.0 / 1024.0
}

#[test]
fn an_agent_needs_little_beside_a_large_cluster() {
    let size = Size { nodes: number("EGRET_NODES", 5_000), pods: number("EGRET_PODS", 100_000) };
    Place::run(move |place| {
        let begun = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(objects::make(&place.kubeconfig(), &size));
        println!("{} nodes and {} pods are there after {:.0?}", size.nodes, size.pods, begun.elapsed());
        let begun = Instant::now();
        let agent = place.agent(objects::NODE);
        let record = runtime.block_on(objects::reported(&place.kubeconfig(), SOON));
        let record = record.unwrap_or_else(|| panic!("the agent does not report:\n{}", agent.log()));
        println!("its plan was in force after {:.1?}", begun.elapsed());
        // It sees the whole cluster, and the pods of its own node.
        assert_eq!(record.programmed.len(), objects::addresses(&size), "{record:?}");
        assert_eq!(record.ports.len(), objects::OWN_ADDRESSES, "{record:?}");
        // nobody tells when an allocator has given back what it can
        std::thread::sleep(SETTLED);
        let [own, all, most] = ["RssAnon", "VmRSS", "VmHWM"].map(|field| memory(agent.id(), field));
        println!("the agent's memory: {own:.1} MiB of its own, {all:.1} MiB resident, {most:.1} MiB at most");
        assert!(own <= bound(&size), "{own:.1} MiB are more than {:.1}", bound(&size));
        // A build for tests is larger than all it holds.
        if !cfg!(debug_assertions) {
            assert!(all <= 50.0, "{all:.1} MiB resident");
        }
    });
}

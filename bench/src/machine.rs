//! Where the figures come from.

use crate::cpus::{FIRST, SECOND};
use crate::load::echo;
use crate::run::Options;
use serde::Serialize;

/// The head of a result: machine, kernel, time, and who did what where.
#[derive(Serialize, Clone, Debug)]
pub struct Head {
    /// Processor, CPUs and memory.
    pub machine: String,
    /// Kernel release and version.
    pub kernel: String,
    /// When the run began.
    pub date: String,
    /// Rounds: each runs all configurations once, in turn.
    pub rounds: usize,
    /// Milliseconds of one measurement.
    pub time_ms: u64,
    /// The path of a packet and what runs on each host.
    pub roles: String,
    /// Which CPU does whose work.
    pub pinning: String,
    /// How the figures are made.
    pub method: Vec<String>,
    /// Load of the machine in the minute before the run.
    pub load_before: String,
}

impl Head {
    /// Of this machine, now.
    pub fn now(options: &Options) -> Self {
        let (steady, paced) = (options.steady, options.paced);
        Self {
            machine: machine(),
            kernel: read("/proc/sys/kernel/osrelease") + " " + &read("/proc/sys/kernel/version"),
            date: jiff::Timestamp::now().to_string(),
            rounds: options.reps,
            time_ms: options.time,
            roles: "pod 10.244.1.2 - n1 10.0.0.1 (the pod's node) - g1 10.0.0.11 and 10.10.0.1 (gateway) - ext 10.10.0.100 \
                    (outside host): network namespaces joined by veth pairs, MTU 1500, the pod's 1450; all on one machine"
                .into(),
            pinning: format!(
                "the pod's load on CPU {FIRST}, the outside host's and Egret's programs on CPU {SECOND}; forwarding runs on the \
                 CPU that sends. Where the gateway's CPU time is measured, everything is on CPU {FIRST}"
            ),
            method: vec![
                "UDP: 64 bytes of payload, batches of 32 (sendmmsg); what arrives is counted".into(),
                "connections: connect, one byte each way, close; 16 at a time in one thread".into(),
                "round trip: one byte each way on an open connection".into(),
                format!(
                    "gateway CPU per packet: {steady} datagrams a second in bursts of {} and their echoes; run time of the NAPI \
                     threads that the gateway's two devices are given for it, as the scheduler counts it",
                    echo::burst(steady)
                ),
                format!(
                    "outside CPU per connection: {paced} connections a second; CPU time of client, server, ksoftirqd and \
                     Egret's agents (less what those take when idle): forwarding runs in their name; less the same over one \
                     direct link between the pod and the outside host"
                ),
                "several policies: each selects one pod of n1 with an egress address of its own; the measured pod's rule \
                 stands in the middle"
                    .into(),
                "share of plain: by round, then the median".into(),
            ],
            load_before: read("/proc/loadavg"),
        }
    }
}

fn machine() -> String {
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let count = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let memory = read("/proc/meminfo");
    let kilobytes =
        memory.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    format!("{}, {count} CPUs, {} GiB", model.trim_start_matches([' ', '\t', ':']), kilobytes >> 20)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

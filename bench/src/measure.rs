//! One figure: the loads it needs, where they run, and what is made of what they measured.

use crate::cluster::{Cluster, OUTSIDE};
use crate::load::Measured;
use crate::namespace::run;
use crate::process::Running;
use crate::steer::{FIRST, SECOND, Steering};
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use std::collections::BTreeMap;

/// What is measured. One of them may give several figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Metric {
    /// Single-flow TCP.
    Tcp,
    /// 64-byte UDP packets per second.
    Pps,
    /// New TCP connections per second.
    Cps,
    /// Round trips of one byte.
    Rtt,
    /// CPU time at the gateway per packet.
    Gateway,
    /// CPU time of everything per new connection; less that of a direct link it is what the nodes between spend.
    Outside,
    /// CPU time of both nodes per new connection by steering; what is put into the pod at once is counted, too.
    Nodes,
}

/// How long a figure is measured, in milliseconds, and how fast the steady loads are.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Of throughput, packets and connections.
    pub time: u64,
    /// Datagrams per second and direction while the gateway's cost is measured: less than every configuration can do.
    pub steady: u64,
    /// Connections per second while their cost is measured.
    pub paced: u64,
}

/// Names of figures, as in rows.
pub mod figure {
    /// Gbit/s of one TCP stream.
    pub const TCP: &str = "tcp_gbit_per_second";
    /// Datagrams received per second.
    pub const PPS: &str = "udp_packets_per_second";
    /// Connections opened, used and closed per second.
    pub const CPS: &str = "connections_per_second";
    /// Median round trip.
    pub const RTT_P50: &str = "round_trip_p50";
    /// 99th percentile of round trips.
    pub const RTT_P99: &str = "round_trip_p99";
    /// CPU time of the gateway per packet.
    pub const GATEWAY: &str = "gateway_cpu_per_packet";
    /// CPU time of both CPUs per connection, the ends' included.
    pub const WHOLE: &str = "cpu_per_connection";
    /// CPU time of both nodes per connection, by steering.
    pub const NODES: &str = "nodes_cpu_per_connection";
    /// CPU time outside the end hosts per connection.
    pub const OUTSIDE: &str = "outside_cpu_per_connection";
}

/// The unit of a figure.
pub fn unit(figure: &str) -> &'static str {
    match figure {
        figure::TCP => "Gbit/s",
        figure::PPS => "packets/s",
        figure::CPS => "connections/s",
        figure::RTT_P50 | figure::RTT_P99 | figure::OUTSIDE | figure::WHOLE | figure::NODES => "us",
        figure::GATEWAY => "ns",
        _ => "bytes",
    }
}

/// Whether less of a figure is better.
pub fn less_is_better(figure: &str) -> bool {
    !matches!(figure, figure::TCP | figure::PPS | figure::CPS)
}

/// Measures once.
pub fn measure(cluster: &Cluster, metric: Metric, effort: Effort) -> Result<BTreeMap<&'static str, f64>> {
    let mut figures = BTreeMap::new();
    match metric {
        Metric::Tcp => {
            let measured = pushed(cluster, "bulk", effort)?;
            figures.insert(figure::TCP, measured.per_second() * 8.0 / 1e9);
        }
        Metric::Pps => {
            figures.insert(figure::PPS, pushed(cluster, "packet", effort)?.per_second());
        }
        Metric::Cps => {
            let measured = connections(cluster, SECOND, effort, 0)?.result()?;
            forget_connections(cluster)?;
            figures.insert(figure::CPS, complete(&measured)?.per_second());
        }
        Metric::Rtt => {
            let measured = round_trips(cluster, effort)?;
            let [p50, p99] = measured.percentiles.context("no round trips")?;
            figures.insert(figure::RTT_P50, p50 as f64 / 1e3);
            figures.insert(figure::RTT_P99, p99 as f64 / 1e3);
        }
        Metric::Gateway => {
            Steering::Gateway.set(cluster)?;
            let cost = cost(&[SECOND], || echo(cluster, effort), effort);
            Steering::Off.set(cluster)?;
            figures.insert(figure::GATEWAY, cost?);
        }
        Metric::Outside => {
            let cost = cost(&[FIRST, SECOND], || connections(cluster, SECOND, effort, effort.paced), effort)?;
            forget_connections(cluster)?;
            figures.insert(figure::WHOLE, cost / 1e3);
        }
        Metric::Nodes => {
            Steering::Nodes.set(cluster)?;
            let cost = cost(&[SECOND], || connections(cluster, FIRST, effort, effort.paced), effort);
            Steering::Off.set(cluster)?;
            forget_connections(cluster)?;
            figures.insert(figure::NODES, cost? / 1e3);
        }
    }
    Ok(figures)
}

/// A load that the pod pushes and the outside host counts.
fn pushed(cluster: &Cluster, what: &str, effort: Effort) -> Result<Measured> {
    let (time, to) = (effort.time.to_string(), OUTSIDE.to_string());
    let (first, second) = (FIRST.to_string(), SECOND.to_string());
    let sink =
        Running::start(&cluster.outside, &[&format!("{what}-sink"), "--cpu", &second, "--time", &time])?;
    let _source = Running::start(&cluster.pod, &[&format!("{what}-source"), "--cpu", &first, "--to", &to])?;
    sink.result()
}

/// A client in the pod and the server that it needs.
struct Pair {
    client: Running,
    _server: Running,
}

impl Pair {
    fn start(cluster: &Cluster, server: &[&str], client: &[&str]) -> Result<Self> {
        let server = Running::start(&cluster.outside, server)?;
        Ok(Self { client: Running::start(&cluster.pod, client)?, _server: server })
    }

    fn result(self) -> Result<Measured> {
        self.client.result()
    }
}

fn connections(cluster: &Cluster, server: usize, effort: Effort, rate: u64) -> Result<Pair> {
    let [first, server, time, rate] =
        [FIRST as u64, server as u64, effort.time, rate].map(|number| number.to_string());
    let to = OUTSIDE.to_string();
    Pair::start(
        cluster,
        &["connection-server", "--cpu", &server],
        &["connection-client", "--cpu", &first, "--to", &to, "--time", &time, "--rate", &rate],
    )
}

fn round_trips(cluster: &Cluster, effort: Effort) -> Result<Measured> {
    let (first, second, time, to) =
        (FIRST.to_string(), SECOND.to_string(), (effort.time / 2).to_string(), OUTSIDE.to_string());
    Pair::start(
        cluster,
        &["connection-server", "--cpu", &second],
        &["ping-pong", "--cpu", &first, "--to", &to, "--time", &time],
    )?
    .result()
}

fn echo(cluster: &Cluster, effort: Effort) -> Result<Pair> {
    let (first, time, to, rate) =
        (FIRST.to_string(), effort.time.to_string(), OUTSIDE.to_string(), effort.steady.to_string());
    Pair::start(
        cluster,
        &["echo-server", "--cpu", &first],
        &["echo-client", "--cpu", &first, "--to", &to, "--time", &time, "--rate", &rate],
    )
}

/// Nanoseconds of these CPUs for one unit of a steady load, less what they lose when nothing is sent.
fn cost(cpus: &[usize], load: impl Fn() -> Result<Pair>, effort: Effort) -> Result<f64> {
    const IDLE: u64 = 200;
    let time = (effort.time + IDLE + 400).to_string();
    let soakers: Vec<Running> = cpus
        .iter()
        .map(|cpu| Running::start_idle(&["soak", "--cpu", &cpu.to_string(), "--time", &time]))
        .collect::<Result<_>>()?;
    std::thread::sleep(std::time::Duration::from_millis(IDLE));
    let measured = load()?.result()?;
    let units = match measured.returned {
        0 => complete(&measured)?.count,
        back => {
            let lost = 1.0 - back as f64 / measured.count as f64;
            ensure!(lost < 0.02, "{:.1} % of the steady load was lost", lost * 100.0);
            measured.count + back
        }
    };
    let mut spent = 0.0;
    for soaker in soakers {
        let soaked = soaker.result()?;
        let idle = lost(&soaked, soaked.from, soaked.from + IDLE * 1_000_000)?;
        let busy = lost(&soaked, measured.from, measured.to)?;
        spent += busy as f64 - idle as f64 * (measured.seconds() * 1e3 / IDLE as f64);
    }
    Ok(spent.max(0.0) / units as f64)
}

/// Nanoseconds that the soaker lost between two moments.
fn lost(soaked: &Measured, from: u64, to: u64) -> Result<u64> {
    let at = |moment: u64| soaked.lost.iter().find(|(time, _)| *time >= moment).map(|(_, lost)| *lost);
    match (at(from), at(to)) {
        (Some(before), Some(after)) => Ok(after - before),
        _ => bail!("the soaker ended before the load did"),
    }
}

fn complete(measured: &Measured) -> Result<&Measured> {
    ensure!(
        measured.count > 0 && measured.errors * 100 <= measured.count,
        "{} connections and {} failures",
        measured.count,
        measured.errors
    );
    Ok(measured)
}

/// Connection tracking is one table for all namespaces: what one configuration left would slow down the next.
fn forget_connections(cluster: &Cluster) -> Result<()> {
    for namespace in [&cluster.node, &cluster.gateway] {
        run(namespace.command("conntrack").arg("-F"), None)?;
    }
    Ok(())
}

/// The source that the outside host sees for a connection of the pod.
pub fn seen(cluster: &Cluster) -> Result<String> {
    let (first, to) = (FIRST.to_string(), OUTSIDE.to_string());
    let measured = Pair::start(
        cluster,
        &["who", "--cpu", &first, "--to", "0.0.0.0"],
        &["who", "--cpu", &first, "--to", &to, "--time", "3000"],
    )?
    .result()?;
    measured.seen.context("the outside host saw nobody")
}

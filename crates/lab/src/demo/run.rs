//! The demo's steps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::cluster::{self, ANTREA, OWN, PROD};
use super::report::{self, Datagrams, Failover, Report};
use super::screen::Screen;
use super::sources::{self, Sighting};
use super::{DemoArgs, arp, examples};
use crate::fault::{self, Fault};
use crate::state::{Paths, State};
use crate::topology::{self, Topology};
use crate::traffic::flow::{Flow, Kind};
use crate::traffic::outcome::{Outcome, Stalls};
use crate::traffic::server::Servers;
use crate::traffic::{Client, PORT, Traffic};
use crate::up::{self, Parts};
use crate::{apply, sniff};

/// How long the fault may keep a connection from making progress; then it is lost.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(20);
/// How long everything runs undisturbed, before the fault and after the last connection has gone on.
pub(super) const UNDISTURBED: Duration = Duration::from_secs(3);
/// How long connections may take to open, and to close.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Does all steps and shows what came out of them. The lab is left standing.
///
/// # Errors
/// When a step cannot be done.
pub fn work(paths: &Paths, args: &DemoArgs) -> Result<ExitCode> {
    if let Some(dialect) = args.dialect {
        return examples::work(paths, args, dialect);
    }
    let screen = Screen::new();
    raise_file_limit()?;
    let topology = Topology::parse(topology::DEFAULT)?;
    screen.say("a cluster of 6 nodes in network namespaces, 3 of them gateways; a router; 2 hosts outside");
    let parts = Parts { programs: true, sniffer: true, store: args.store, installed: false };
    let mut state = up::up(paths, topology, parts, &|step| screen.say(&format!("  {step}")))?;
    cluster::make_pods(paths, &mut state)?;
    let servers =
        Servers::start(&cluster::outside(&state).map(|(_, h)| h.netns.clone()).collect::<Vec<_>>(), PORT)?;
    apply::wait(paths, &state)?;
    screen.say("ready; what the outside sees of the pods while there is no policy");
    let before = sources::look(&state, None)?;
    let unseen: Vec<&str> = before.iter().filter(|s| s.seen.is_none()).map(|s| s.pod.as_str()).collect();
    ensure!(unseen.is_empty(), "without any policy no connection from {}", unseen.join(", "));
    let ordinary = sources::ordinary(&before);

    screen.say("Antrea's high-availability example, as it stands, and a policy of our own");
    cluster::apply(paths, &state, "antrea-ha.yaml", ANTREA)?;
    cluster::apply(paths, &state, "own.yaml", OWN)?;
    apply::wait(paths, &state)?;
    let in_force = sources::look(&state, Some(&ordinary))?;
    show_sources(&screen, &in_force);

    let from = cluster::holder(paths, &state, PROD.into())?;
    let arp_before = arp::who_has(&state, "outside-1", PROD)?;
    screen.say(&format!(
        "{PROD} is held by {from}; ARP on the wire is answered by {}",
        arp_before.join(" and ")
    ));
    let traffic = open_traffic(&state, &servers, args, &from, &screen)?;

    std::thread::sleep(UNDISTURBED);
    screen.say(&format!("power off: {from} (processes killed, links cut, no goodbye)"));
    traffic.mark();
    let fault_at = Instant::now();
    fault::apply(paths, &mut state, &from, &Fault::PowerOff)?;
    let stuck = traffic.wait(LOST_AFTER, |f| f.is_fresh() || f.failure().is_some());
    let fresh = traffic.flows.len() - stuck;
    let words = format!(
        "{fresh} of {} go on, {:.1} s after the fault",
        traffic.flows.len(),
        fault_at.elapsed().as_secs_f64()
    );
    screen.say(&words);
    for flow in traffic.flows.iter().filter(|f| !f.is_fresh()) {
        flow.close(Err(format!("nothing fresh within {} s of the fault", LOST_AFTER.as_secs())));
    }
    std::thread::sleep(UNDISTURBED);
    let stalls = |tcp: bool| {
        let own = traffic.flows.iter().filter(|f| (f.kind != Kind::Datagrams) == tcp);
        Stalls::of(own.map(|f| f.stall()).collect())
    };
    let (stall_ms, flow_stall_ms) = (stalls(true), stalls(false));
    let to = cluster::holder(paths, &state, PROD.into()).ok();
    let arp_after = arp::who_has(&state, "outside-1", PROD)?;
    screen.say(&format!("ARP for {PROD} is answered by {}", arp_after.join(" and ")));
    screen.say("closing the connections, each end counting; new ones from every pod");
    let flows = traffic.finish(PATIENCE)?;
    let after = sources::look(&state, Some(&ordinary))?;
    let sniffed = sniff::report(paths, Duration::from_secs(10))?;

    let sent = |f: &&std::sync::Arc<Flow>| f.kind == Kind::Datagrams;
    let datagrams = Datagrams {
        sent: flows.iter().filter(sent).map(|f| f.sent()).sum(),
        answered: flows.iter().filter(sent).map(|f| f.answers()).sum(),
    };
    let mut report = Report {
        machine: report::machine(),
        failover: Failover { address: PROD.to_string(), from, to, arp_before, arp_after },
        connections: Outcome::of(&flows, &[Kind::PushedByClient, Kind::PushedByServer], PROD.into()),
        flows: Outcome::of(&flows, &[Kind::Datagrams], PROD.into()),
        datagrams,
        stall_ms,
        flow_stall_ms,
        wrong_source_packets: sniffed.wrong,
        packets_looked_at: sniffed.seen,
        packets_missed: sniffed.missed,
        sources: report::by_pod(&in_force),
        sightings: [("before the fault".to_owned(), in_force), ("after the fault".to_owned(), after)].into(),
        seconds: screen.seconds(),
        passed: false,
    };
    report.judge();
    report::write(&report, &args.out())?;
    println!("{}", report.table());
    if sniffed.wrong > 0 {
        println!("{}", report::wrong_packets(&sniff::leaks(paths)?, sniffed));
    }
    screen.say(&format!("figures in {}", args.out().display()));
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Opens connections from prod's pods: those on nodes that are no gateways, and on a gateway that keeps its power.
fn open_traffic(
    state: &State,
    servers: &Servers,
    args: &DemoArgs,
    holder: &str,
    screen: &Screen,
) -> Result<Traffic> {
    let is_gateway = |node: &str| state.topology.node(node).is_ok_and(topology::Node::is_gateway);
    let (gateways, plain): (Vec<_>, Vec<_>) =
        cluster::pods(state, "prod").partition(|(_, node)| is_gateway(node));
    let other =
        gateways.into_iter().find(|(_, node)| *node != holder).context("no second gateway has a pod")?;
    let pods = plain.into_iter().chain([other]);
    let clients: Vec<Client> = pods
        .map(|(host, node)| Client { pod: format!("prod on {node}"), netns: host.netns.clone() })
        .collect();
    let addresses: Vec<IpAddr> = cluster::outside(state)
        .filter_map(|(_, h)| h.addresses.iter().copied().find(IpAddr::is_ipv4))
        .collect();
    let total = args.connections + args.flows;
    screen.say(&format!(
        "{} TCP connections and {} UDP flows from {} pods",
        args.connections,
        args.flows,
        clients.len()
    ));
    let traffic = Traffic::start(&clients, servers, &addresses, args.connections, args.flows)?;
    let missing = traffic.wait(PATIENCE, |f| f.has_received(3));
    if let Some(flow) = traffic.flows.iter().find(|f| !f.has_received(3)) {
        let why = flow.failure().unwrap_or_else(|| "no answer".to_owned());
        anyhow::bail!(
            "{missing} of {total} did not open; the first, from {} to {}: {why}",
            flow.pod,
            flow.server
        );
    }
    screen.say("all of them carry data");
    Ok(traffic)
}

/// One line for each group of pods and server.
fn show_sources(screen: &Screen, sightings: &[Sighting]) {
    let mut lines: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    for sighting in sightings {
        let show = |address: Option<IpAddr>| address.map_or("nothing".to_owned(), |a| a.to_string());
        let mut seen = show(sighting.seen);
        if !sighting.is_right() {
            seen += &format!(" (of {} on {}, not {})", sighting.pod, sighting.node, show(sighting.expected));
        }
        let group = sighting.pod.split('/').next().unwrap_or_default();
        lines.entry((group, &sighting.server)).or_default().insert(seen);
    }
    for ((group, server), seen) in lines {
        let seen: Vec<String> = seen.into_iter().collect();
        screen.say(&format!("  {server} sees {group:<8} as {}", seen.join(", ")));
    }
}

/// Two ends of many connections need many descriptors.
pub(super) fn raise_file_limit() -> Result<()> {
    const ENOUGH: u64 = 65_536;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < ENOUGH.min(hard) {
        setrlimit(Resource::RLIMIT_NOFILE, ENOUGH.min(hard), hard).context("more open files")?;
    }
    Ok(())
}

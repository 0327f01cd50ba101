//! The sniffer: it looks at every packet that leaves the cluster and writes down those that must not.

pub mod capture;
pub mod conntrack;
pub mod judge;
pub mod packet;
pub mod view;

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::state::{HostKind, Paths, State};
use capture::{Capture, Direction};
use judge::{Judge, Verdict, Wrong};
use packet::{Flow, Packet};
use view::Facts;

/// Packets of one port that are looked at before the next port has its turn.
const TURN: usize = 256;
/// Flows whose verdict is remembered.
const REMEMBERED: usize = 200_000;
/// Packets of unknown pods that wait for somebody to say who the pod is, and how long.
const UNPROVEN: usize = 10_000;
const INTRODUCTION: Duration = Duration::from_secs(1);
/// How long verdicts are remembered.
const FORGET: Duration = Duration::from_secs(2);
/// Wrong packets that are written down; the rest is only counted.
const WRITTEN: u64 = 100_000;

/// How much the sniffer has seen.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Packets towards the outside that were looked at.
    pub seen: u64,
    /// Packets with a wrong source among them.
    pub wrong: u64,
    /// Packets that went by unseen, because the sniffer was too slow.
    pub missed: u64,
}

/// Asks a lab's sniffer how much it has seen. It answers after it has looked at everything that waited.
///
/// # Errors
/// When no sniffer answers in time.
pub fn report(paths: &Paths, patience: Duration) -> Result<Report> {
    let deadline = Instant::now() + patience;
    let socket = paths.socket("sniffer", "switch");
    let mut stream = loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > deadline => {
                return Err(error)
                    .with_context(|| format!("the sniffer does not answer at {}", socket.display()));
            }
            // It makes its socket when it is ready; nothing announces that.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    stream.set_read_timeout(Some(patience))?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("the sniffer's answer")?;
    serde_json::from_str(&text).context("the sniffer's answer")
}

/// The wrong packets that the sniffer has written down.
///
/// # Errors
/// When the file is broken.
pub fn leaks(paths: &Paths) -> Result<Vec<Value>> {
    let text = fs::read_to_string(paths.leaks()).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).context("leaks.jsonl")).collect()
}

/// Runs the sniffer of a lab, in the switch's network namespace, until it is killed.
///
/// # Errors
/// When it cannot listen or write.
pub fn run(paths: &Paths) -> Result<()> {
    let state = State::read(paths)?;
    let mut captures = Vec::new();
    for (name, host) in &state.hosts {
        let watched: &[(&str, Direction)] = match host.kind {
            HostKind::Node => &[("eth1", Direction::FromHost)],
            HostKind::Router => &[("eth0", Direction::ToHost)],
            HostKind::Outside | HostKind::Pod | HostKind::Control => &[],
        };
        for (link, direction) in watched {
            if let Some(port) = host.ports.get(*link) {
                captures.push(Capture::open(port, format!("{name} {link}"), *direction)?);
            }
        }
    }
    let nodes = state.hosts.iter().filter(|(_, h)| h.kind == HostKind::Node);
    let facts = Facts::follow(paths, &state, nodes.map(|(n, h)| (n.clone(), h.netns.clone())).collect())?;
    let file = File::options().create(true).append(true).open(paths.leaks())?;
    let judge = Judge::new(&state.topology);
    let (right, unproven, report) = (BTreeSet::new(), VecDeque::new(), Report::default());
    let mut sniffer = Sniffer { judge, facts, right, judged_since: Instant::now(), unproven, file, report };
    let socket = paths.socket("sniffer", "switch");
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).with_context(|| socket.display().to_string())?;
    loop {
        wait(&captures, &listener, if sniffer.unproven.is_empty() { None } else { Some(INTRODUCTION) })?;
        sniffer.turn(&mut captures)?;
        sniffer.settle(INTRODUCTION)?;
        listener.set_nonblocking(true)?;
        while let Ok((mut stream, _)) = listener.accept() {
            while sniffer.turn(&mut captures)? {}
            sniffer.settle(Duration::ZERO)?;
            sniffer.report.missed = captures.iter().map(|c| c.missed).sum();
            // Whoever asked may have gone.
            let _ = stream.write_all(&serde_json::to_vec(&sniffer.report)?);
        }
    }
}

fn wait(captures: &[Capture], listener: &UnixListener, patience: Option<Duration>) -> Result<()> {
    let mut waited: Vec<PollFd<'_>> =
        captures.iter().map(|c| PollFd::new(c.descriptor(), PollFlags::POLLIN)).collect();
    waited.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
    let patience = patience.map_or(Ok(PollTimeout::NONE), PollTimeout::try_from)?;
    match poll(&mut waited, patience) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("poll"),
    }
}

/// A packet that was caught.
struct Caught {
    time: SystemTime,
    link: Arc<str>,
    /// The link-layer addresses, destination first.
    ends: [u8; 12],
    packet: Packet,
}

struct Sniffer {
    judge: Judge,
    facts: Facts,
    right: BTreeSet<Flow>,
    judged_since: Instant,
    unproven: VecDeque<Caught>,
    file: File,
    report: Report,
}

impl Sniffer {
    /// Looks at some packets of each port. Returns whether there may be more.
    fn turn(&mut self, captures: &mut [Capture]) -> Result<bool> {
        let mut buffer = capture::buffer();
        let mut more = false;
        for capture in captures {
            let mut left = TURN;
            while left > 0
                && let Some((time, frame)) = capture.next(&mut buffer)?
            {
                left -= 1;
                if let Some(packet) = Packet::parse(frame) {
                    let mut ends = [0; 12];
                    ends.copy_from_slice(&frame[..12]);
                    self.look(Caught { time, link: Arc::clone(&capture.link), ends, packet })?;
                }
            }
            more |= left == 0;
        }
        Ok(more)
    }

    fn look(&mut self, caught: Caught) -> Result<()> {
        self.report.seen += 1;
        // Ports are used again: what opens a connection is judged anew, and every verdict only lasts for a while.
        let opens = caught.packet.tcp_flags.is_some_and(|flags| flags & 0x12 == 0x02);
        if self.judged_since.elapsed() > FORGET {
            self.right.clear();
            self.judged_since = Instant::now();
        }
        if !opens && self.right.contains(&caught.packet.flow) {
            return Ok(());
        }
        let verdict = self.verdict(&caught);
        self.facts.check()?;
        match verdict {
            Verdict::Unproven if self.unproven.len() < UNPROVEN => self.unproven.push_back(caught),
            Verdict::Unproven => {}
            Verdict::Wrong(wrong) => self.write_down(&caught, wrong)?,
            Verdict::Right => {
                if self.right.len() >= REMEMBERED {
                    self.right.clear();
                }
                self.right.insert(caught.packet.flow);
            }
        }
        Ok(())
    }

    fn verdict(&mut self, caught: &Caught) -> Verdict {
        self.facts.refresh(caught.time);
        match self.judge.judge(&caught.packet, &mut self.facts) {
            Verdict::Wrong(_) => {
                self.facts.insist();
                self.judge.judge(&caught.packet, &mut self.facts)
            }
            verdict => verdict,
        }
    }

    /// Judges packets of unknown pods again, once everybody had time to say who they are.
    fn settle(&mut self, age: Duration) -> Result<()> {
        let old = |c: &Caught| c.time.elapsed().is_ok_and(|passed| passed >= age);
        while self.unproven.front().is_some_and(old) {
            if let Some(caught) = self.unproven.pop_front()
                && let Verdict::Wrong(wrong) = self.verdict(&caught)
            {
                self.write_down(&caught, wrong)?;
            }
        }
        Ok(())
    }

    fn write_down(&mut self, caught: &Caught, wrong: Wrong) -> Result<()> {
        self.report.wrong += 1;
        if self.report.wrong > WRITTEN {
            return Ok(());
        }
        let line = json!({
            "time": jiff::Timestamp::try_from(caught.time)?.to_string(),
            "link": *caught.link,
            "why": wrong.as_str(),
            "message": wrong.words(),
            "headers": headers(caught),
        });
        // One write per line: whoever reads never sees half of one.
        self.file.write_all(format!("{line}\n").as_bytes()).context("leaks.jsonl")
    }
}

fn headers(caught: &Caught) -> Value {
    let packet = &caught.packet;
    let mac = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":");
    let protocol = match packet.flow.protocol {
        packet::ICMP => "icmp".to_owned(),
        packet::TCP => "tcp".to_owned(),
        packet::UDP => "udp".to_owned(),
        packet::ICMPV6 => "icmpv6".to_owned(),
        other => other.to_string(),
    };
    let mut value = json!({
        "sourceMac": mac(&caught.ends[6..]),
        "destinationMac": mac(&caught.ends[..6]),
        "source": packet.flow.source,
        "destination": packet.flow.destination,
        "protocol": protocol,
        "length": packet.length,
    });
    match (packet.flow.ports, packet.icmp) {
        (ports, Some((kind, code))) => {
            (value["type"], value["code"], value["id"]) =
                (kind.into(), code.into(), ports.map(|p| p.0).into());
        }
        (Some((from, to)), None) => {
            (value["sourcePort"], value["destinationPort"]) = (from.into(), to.into())
        }
        (None, None) => {}
    }
    if let Some(flags) = packet.tcp_flags {
        const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let set: Vec<&str> = (0..8).filter(|bit| flags & (1 << bit) != 0).map(|bit| NAMES[bit]).collect();
        value["flags"] = set.into();
    }
    value
}

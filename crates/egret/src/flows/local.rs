//! The log of the node that this runs on, and the flows that its kernel has now.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use egret_flows::{Flows, Line, Protocol};
use jiff::{SignedDuration, Timestamp};

use super::answer::{Answer, Asked, Reach};

/// An agent writes down within this what it was told.
const WRITTEN: Duration = Duration::from_millis(150);
/// Who follows looks so often.
const LOOK: Duration = Duration::from_millis(100);
/// Says that it is still there: who has gone is noticed by nothing else.
const HERE: Duration = Duration::from_secs(5);

/// Where a node's agent keeps what is asked for.
pub struct Place {
    /// Its log.
    pub flow_log: PathBuf,
    /// Its pins.
    pub pin_dir: PathBuf,
}

/// Who hears the answer.
pub trait Hear {
    /// The next line of it.
    fn hear(&mut self, answer: Answer) -> Result<()>;
    /// Nothing was said for a while.
    fn nothing(&mut self) -> Result<()> {
        Ok(())
    }
}

impl<F: FnMut(Answer) -> Result<()>> Hear for F {
    fn hear(&mut self, answer: Answer) -> Result<()> {
        self(answer)
    }
}

/// Standard output, a line for each.
#[derive(Default)]
pub struct Lines {}

impl Hear for Lines {
    fn hear(&mut self, answer: Answer) -> Result<()> {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &answer)?;
        writeln!(out).context("standard output")
    }

    fn nothing(&mut self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out).and_then(|()| out.flush()).context("standard output")
    }
}

/// Answers what is asked of this node.
///
/// # Errors
/// When there is no log, or who asked has gone.
pub fn answer(asked: &Asked, place: &Place, hear: &mut impl Hear) -> Result<()> {
    ensure!(
        place.flow_log.is_dir(),
        "{}: there is no log of flows; the agent writes one if it has --flow-log, and a --flow-log-size that is not 0",
        place.flow_log.display()
    );
    if asked.follow { follow(asked, place, hear) } else { all(asked, place, hear) }
}

fn all(asked: &Asked, place: &Place, hear: &mut impl Hear) -> Result<()> {
    let at = || place.flow_log.display().to_string();
    let mut lines = egret_flows::Lines::of(&place.flow_log);
    let mut flows = Flows::new(asked.filter.clone(), asked.since);
    lines.read(|line| flows.line(line)).with_context(at)?;
    let mut open = Vec::new();
    let (wall, running) = (Timestamp::now(), egret_datapath::since_boot());
    let known = egret_datapath::open_flows(&place.pin_dir, |flow| {
        if asked.filter.wants_ends(flow.pod, Some(flow.egress), flow.remote) {
            open.push(flow);
        }
    });
    // What happened until then is written by now, and nothing of it is open.
    std::thread::sleep(WRITTEN);
    lines.read(|line| flows.line(line)).with_context(at)?;
    for flow in open {
        let ago = flow.opened.and_then(|opened| SignedDuration::try_from(running.checked_sub(opened)?).ok());
        let opened = ago.and_then(|ago| wall.checked_sub(ago).ok());
        flows.is_open(Protocol::from(flow.protocol), (flow.pod, flow.egress, flow.remote), opened);
    }
    let reach = Reach {
        from: flows.reaches_back_to(),
        notes: flows
            .notes()
            .iter()
            .copied()
            .filter(|note| asked.since.is_none_or(|since| note.time >= since))
            .collect(),
        broken: lines.broken(),
        kernel: known.as_ref().err().map(ToString::to_string),
    };
    for flow in flows.end(known.is_ok()) {
        hear.hear(Answer::Flow(Box::new(flow)))?;
    }
    hear.hear(Answer::End(reach))
}

fn follow(asked: &Asked, place: &Place, hear: &mut impl Hear) -> Result<()> {
    let at = || place.flow_log.display().to_string();
    let mut lines = egret_flows::Lines::of(&place.flow_log);
    let since = asked.since.unwrap_or(Timestamp::MAX);
    if since == Timestamp::MAX {
        lines.skip().with_context(at)?;
    }
    let mut said = Instant::now();
    let mut gone = None;
    // The first line tells who asks that this is being looked at from here on.
    hear.nothing()?;
    loop {
        let read = lines.read(|line| {
            let wanted = match &line {
                Line::Record(record) => asked.filter.wants(record),
                Line::Note(_) => true,
            };
            let late = since == Timestamp::MAX || line.time() >= since;
            if wanted && late && gone.is_none() {
                said = Instant::now();
                gone = hear.hear(Answer::Event(line)).err();
            }
        });
        read.with_context(at)?;
        if let Some(error) = gone {
            return Err(error);
        }
        if said.elapsed() > HERE {
            hear.nothing()?;
            said = Instant::now();
        }
        std::thread::sleep(LOOK);
    }
}

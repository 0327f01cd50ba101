//! From lines of the log to flows: an opening and an end are one.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::filter::Filter;
use crate::record::{Event, Line, Mark, Note, Protocol, Record};

/// How a flow is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The node has it now.
    Open,
    /// Both ends had closed it, or one reset it.
    Closed,
    /// It was idle for too long.
    Expired,
    /// Its pod, policy or address went.
    Orphaned,
    /// It is not there any more, and its end was not written down.
    Lost,
    /// Packets were dropped before they had a flow.
    Refused,
}

impl State {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Expired => "expired",
            Self::Orphaned => "orphaned",
            Self::Lost => "lost",
            Self::Refused => "refused",
        }
    }
}

/// A flow, or packets that were refused alike.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// The node whose pod it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// How it is.
    pub state: State,
    /// Protocol.
    pub protocol: Protocol,
    /// The pod as `namespace/name`, if that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The pod's end.
    pub from: SocketAddr,
    /// The egress address and port; of what was refused, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<SocketAddr>,
    /// The remote end.
    pub to: SocketAddr,
    /// The policy that decided, as `Kind namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// When it began, or when packets were refused; absent if that was not written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Timestamp>,
    /// When its port was free again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// When its last packet was seen, to the second; of flows that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// Of what was refused: the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of what was refused: how many packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u32>,
}

impl Flow {
    /// It may have had its port at that time. `None`: it cannot be told, its beginning or end is not known.
    pub fn lived_at(&self, time: Timestamp) -> Option<bool> {
        // Beginnings and ends are known to the second in places; who asks means that second.
        let second = |time: Timestamp| time.as_second();
        let begun = self.opened.map(|opened| second(opened) <= second(time));
        let over = match (self.state, self.ended) {
            (State::Open, _) => Some(false),
            (_, Some(ended)) => Some(second(ended) < second(time)),
            _ => None,
        };
        match (begun, over) {
            (Some(false), _) | (_, Some(true)) => Some(false),
            (Some(true), Some(false)) => Some(true),
            _ => None,
        }
    }

    /// Something of it happened at that time or later, or it is open.
    pub fn is_since(&self, time: Timestamp) -> bool {
        self.state == State::Open || self.ended.or(self.last).or(self.opened).is_none_or(|at| at >= time)
    }
}

type Key = (Protocol, SocketAddr, SocketAddr);

/// The flows of one node, as its log has them.
#[derive(Debug, Default)]
pub struct Flows {
    filter: Filter,
    since: Option<Timestamp>,
    open: BTreeMap<Key, Record>,
    over: Vec<Flow>,
    first: Option<Timestamp>,
    notes: Vec<Note>,
    /// What found no room in the kernel, ever, as the log says it last.
    lost: Option<i64>,
}

impl Flows {
    /// Those that are asked for. Of those that ended before `since`, none is kept.
    pub fn new(filter: Filter, since: Option<Timestamp>) -> Self {
        Self { filter, since, ..Self::default() }
    }

    /// The next line of the log.
    pub fn line(&mut self, line: Line) {
        self.first.get_or_insert(line.time());
        match line {
            Line::Note(note) => self.note(note),
            Line::Record(record) if self.filter.wants(&record) || self.is_end_of_wanted(&record) => {
                self.record(*record);
            }
            Line::Record(_) => (),
        }
    }

    /// An end may come without the name of a pod that had gone.
    fn is_end_of_wanted(&self, record: &Record) -> bool {
        key(record).is_some_and(|key| self.open.contains_key(&key))
    }

    fn note(&mut self, note: Note) {
        match note.log {
            Mark::Began => {
                // What was lost while nobody wrote, unless the kernel began to count anew.
                let lost = note.count - self.lost.unwrap_or(note.count);
                if lost > 0 {
                    self.notes.push(Note { log: Mark::Lost, count: lost, ..note });
                }
                self.lost = Some(note.count);
            }
            Mark::Lost => {
                self.lost = self.lost.map(|lost| lost + note.count);
                self.notes.push(note);
            }
            Mark::Unwritten | Mark::ClockSet => self.notes.push(note),
        }
    }

    fn record(&mut self, record: Record) {
        let Some(key) = key(&record) else {
            return self.keep(flow(&record, State::Refused, Some(record.time), None));
        };
        let before = match record.event {
            Event::Opened => self.open.insert(key, record.clone()),
            _ => self.open.remove(&key),
        };
        let state = match record.event {
            Event::Refused => State::Refused,
            Event::Closed => State::Closed,
            Event::Expired => State::Expired,
            Event::Orphaned => State::Orphaned,
            Event::Opened => {
                // The port cannot have been given twice: the end of the one before is not here.
                if let Some(before) = before {
                    self.keep(flow(&before, State::Lost, Some(before.time), None));
                }
                return;
            }
        };
        // The opening is known more exactly, and with the name of the pod as it was.
        let opened = before.as_ref().map(|opening| opening.time).or(record.opened);
        let mut ended = flow(&record, state, opened, Some(record.time));
        if let Some(before) = before {
            (ended.pod, ended.policy) = (before.pod.or(ended.pod), before.policy.or(ended.policy));
        }
        self.keep(ended);
    }

    fn keep(&mut self, flow: Flow) {
        if self.since.is_none_or(|since| flow.is_since(since)) {
            self.over.push(flow);
        }
    }

    /// A flow that the node has now. `opened` is when it began, as far as the node knows.
    pub fn is_open(
        &mut self,
        protocol: Protocol,
        (from, egress, to): (SocketAddr, SocketAddr, SocketAddr),
        opened: Option<Timestamp>,
    ) {
        if let Some(record) = self.open.remove(&(protocol, egress, to)) {
            self.over.push(flow(&record, State::Open, Some(record.time), None));
        } else if self.filter.pod.is_none() && self.filter.wants_ends(from, Some(egress), to) {
            // It is older than the log, or its record found no room.
            let (state, egress) = (State::Open, Some(egress));
            let node = String::new();
            self.over.push(Flow {
                node,
                state,
                protocol,
                pod: None,
                from,
                egress,
                to,
                policy: None,
                opened,
                ended: None,
                last: None,
                reason: None,
                packets: None,
            });
        }
    }

    /// All of them, the oldest first. `known`: every flow that the node has now was told; what is left open is not there
    /// any more.
    pub fn end(mut self, known: bool) -> Vec<Flow> {
        let left = if known { State::Lost } else { State::Open };
        for record in std::mem::take(&mut self.open).into_values() {
            let flow = flow(&record, left, Some(record.time), None);
            self.keep(flow);
        }
        self.over.sort_by_key(|flow| flow.opened.or(flow.ended));
        self.over
    }

    /// The time of the oldest line.
    pub fn reaches_back_to(&self) -> Option<Timestamp> {
        self.first
    }

    /// What is missing, and where the clock was set.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

fn key(record: &Record) -> Option<Key> {
    Some((record.protocol, record.egress?, record.to))
}

fn flow(record: &Record, state: State, opened: Option<Timestamp>, ended: Option<Timestamp>) -> Flow {
    Flow {
        node: String::new(),
        state,
        protocol: record.protocol,
        pod: record.pod.clone(),
        from: record.from,
        egress: record.egress,
        to: record.to,
        policy: record.policy.clone(),
        opened,
        ended,
        last: record.last,
        reason: record.reason.clone(),
        packets: record.packets,
    }
}

#[cfg(test)]
mod tests;

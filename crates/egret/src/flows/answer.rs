//! What one node is asked, and what it answers: one JSON object a line.

use egret_flows::{Filter, Flow, Line, Mark, Note};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::time::to_the_second;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which flows.
    pub filter: Filter,
    /// Of those that ended, only since then.
    pub since: Option<Timestamp>,
    /// What happens from now on, or since then, as it happens.
    pub follow: bool,
}

impl Asked {
    /// As arguments of `egret`, on the node that is asked.
    pub fn words(&self) -> Vec<String> {
        let mut words = ["flows", "--local", "--lines"].map(str::to_owned).to_vec();
        let mut option = |name: &str, value: Option<String>| {
            words.extend(value.map(|value| format!("--{name}={value}")));
        };
        option("pod", self.filter.pod.clone());
        option("address", self.filter.address.map(|end| end.to_string()));
        option("to", self.filter.to.map(|to| to.to_string()));
        // An end of time, too: else the node would take what is usual.
        option(
            "since",
            Some(self.since.unwrap_or(if self.follow { Timestamp::MAX } else { Timestamp::MIN }).to_string()),
        );
        if self.follow {
            words.push("--follow".to_owned());
        }
        words
    }
}

/// A line of an answer.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// A flow.
    Flow(Box<Flow>),
    /// Something happened.
    Event(Line),
    /// There are no more flows.
    End(Reach),
}

/// An event, with the node that it happened on.
#[derive(Serialize)]
pub struct Told<'a> {
    /// The node; empty if it is this one.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub node: &'a str,
    /// The event.
    #[serde(flatten)]
    pub line: &'a Line,
}

/// How far a node's answer can be relied on.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// The oldest line of its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// What is missing, and where the clock was set, since then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// Lines that could not be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub broken: u64,
    /// Why it is not known which flows are open now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Reach {
    /// What a person must know.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for note in &self.notes {
            let at = to_the_second(note.time);
            words.extend(match note.log {
                Mark::Lost => {
                    Some(format!("{} records before {at} are not in the log: they came too fast", note.count))
                }
                Mark::Unwritten => Some(format!(
                    "{} records before {at} are not in the log: the disk did not take them",
                    note.count
                )),
                Mark::ClockSet => Some(format!("the clock was set by {} s at {at}", note.count)),
                Mark::Began => None,
            });
        }
        if self.broken > 0 {
            words.push(format!("{} lines of the log cannot be read", self.broken));
        }
        words.extend(self.kernel.as_ref().map(|why| format!("which flows are open now is not known: {why}")));
        words
    }
}

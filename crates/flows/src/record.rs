//! A line of the log.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A flow began.
    Opened,
    /// It ended: both ends had closed it, or one reset it.
    Closed,
    /// It ended: it was idle for too long.
    Expired,
    /// It ended: its pod, policy or address is gone.
    Orphaned,
    /// Packets were dropped before they had a flow.
    Refused,
}

/// A protocol whose packets can share an address.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(into = "String", from = "String")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP echo of either family; its id is written as a port.
    Icmp,
    /// Another, by its number: only ever refused.
    Other(u8),
}

impl From<u8> for Protocol {
    fn from(number: u8) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            1 | 58 => Self::Icmp,
            other => Self::Other(other),
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp => f.pad("TCP"),
            Self::Udp => f.pad("UDP"),
            Self::Icmp => f.pad("ICMP"),
            Self::Other(number) => f.pad(&number.to_string()),
        }
    }
}

impl From<Protocol> for String {
    fn from(protocol: Protocol) -> Self {
        protocol.to_string()
    }
}

impl From<String> for Protocol {
    fn from(text: String) -> Self {
        match text.as_str() {
            "TCP" => Self::Tcp,
            "UDP" => Self::Udp,
            "ICMP" => Self::Icmp,
            other => Self::Other(other.parse().unwrap_or(0)),
        }
    }
}

/// What happened to one flow, or to packets that got none.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// When, by the node's clock as it was when this was written.
    pub time: Timestamp,
    /// What.
    pub event: Event,
    /// Protocol.
    pub protocol: Protocol,
    /// The pod as `namespace/name`, if the agent knew it.
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
    /// Of a flow that ended: when it began, to the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Timestamp>,
    /// Of a flow that ended: when its last packet was seen, to the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// Of what was refused: the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of what was refused: how many packets alike, since that was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u32>,
}

/// What a reader must know of the log itself.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Mark {
    /// An agent began to write; counted is what had found no room in the kernel by then, ever.
    Began,
    /// So many records are not here: there was no room for them in the kernel.
    Lost,
    /// So many records are not here: the disk did not take them.
    Unwritten,
    /// So many seconds the node's clock was set on, or back.
    ClockSet,
}

/// A line about the log itself.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Note {
    /// When.
    pub time: Timestamp,
    /// What.
    pub log: Mark,
    /// How many; 0 where there is nothing to count.
    #[serde(default)]
    pub count: i64,
}

/// A line of the log.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(untagged)]
pub enum Line {
    /// About a flow.
    Record(Box<Record>),
    /// About the log.
    Note(Note),
}

impl Line {
    /// Reads a line; `None` if it is none, as the last one of a machine that lost its power.
    pub fn parse(text: &str) -> Option<Self> {
        // Most are records, and to try both forms at once costs twice as much.
        let record = || serde_json::from_str(text).ok().map(Self::Record);
        let note = || serde_json::from_str(text).ok().map(Self::Note);
        if text.contains("\"log\":") { note() } else { record() }
    }

    /// When it was written.
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Record(record) => record.time,
            Self::Note(note) => note.time,
        }
    }
}

//! Whether a node and a cluster are fit for Egret, and whether an installation is well.
//!
//! Looking and judging are apart: `look` asks a kernel or an API server and writes down facts, `judge` makes findings of
//! facts and does nothing else. Nothing of the node or of the cluster is changed by looking.

mod ask;
pub mod cluster;
mod definitions;
mod finding;
pub mod installation;
pub mod node;
mod nodes;
mod rights;
mod schema;

pub use ask::{Answer, Permission};
pub use finding::{Finding, Report, Verdict};
pub use rights::{Right, rights};

use serde_json::Value;

/// What comes after an object's name on the way to a part of it, as text; empty if it is not there.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items of a part of an object; none if it is not there.
fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A few of many, for people.
fn some(names: &[String]) -> String {
    const FEW: usize = 5;
    match names.len() {
        0..=FEW => names.join(", "),
        many => format!("{} and {} more", names[..FEW].join(", "), many - FEW),
    }
}

//! The parts of a condition.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::Value;

use super::Verdict;
use crate::world::Written;

/// A condition that is true if its reason says so.
pub(super) fn condition<T>(
    written: &Written<T>,
    kind: &str,
    truthful: bool,
    (reason, message): Verdict,
    now: Timestamp,
) -> Condition {
    let at = since(&written.status, kind, truthful, now).parse().unwrap_or(now);
    Condition {
        last_transition_time: Time(at),
        message,
        observed_generation: written.generation,
        reason: reason.as_str().to_owned(),
        status: truth(truthful),
        type_: kind.to_owned(),
    }
}

/// When a condition last changed its truth: as the object says, if it says the same truth.
pub(super) fn since(status: &Value, kind: &str, truthful: bool, now: Timestamp) -> String {
    let conditions =
        status.get("conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |c: &Value, field: &str| c.get(field).and_then(Value::as_str).map(str::to_owned);
    conditions
        .iter()
        .find(|c| text(c, "type").as_deref() == Some(kind) && text(c, "status") == Some(truth(truthful)))
        .and_then(|c| text(c, "lastTransitionTime"))
        .filter(|t| t.parse::<Timestamp>().is_ok())
        .unwrap_or_else(|| now.to_string())
}

pub(super) fn truth(value: bool) -> String {
    if value { "True".to_owned() } else { "False".to_owned() }
}

pub(super) fn value<T: serde::Serialize>(status: &T) -> Value {
    serde_json::to_value(status).unwrap_or(Value::Null)
}

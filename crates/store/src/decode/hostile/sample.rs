//! A kind's good manifest, and all that is made of it by changing one thing.

use egret_api::Kind;
use serde_json::{Value, json};

use super::wrong::{Holds, wrong, wrong_metadata};

/// A good manifest and its fields.
pub struct Sample {
    pub kind: Kind,
    pub good: Value,
    pub fields: Vec<(&'static str, Holds)>,
    /// Good manifests in which one thing is changed that a table of fields does not reach: where, and into what.
    pub also: Vec<(&'static str, Value)>,
}

/// The annotation that says what happens while no gateway lives.
pub const WHEN: &str = "/metadata/annotations/egret.dev~1when-unavailable";

/// A manifest of this spec.
pub fn object(version: &str, kind: &str, spec: Value) -> Value {
    json!({
        "apiVersion": version, "kind": kind, "spec": spec,
        "metadata": {
            "name": "hostile", "namespace": "hostile", "creationTimestamp": "2026-02-02T00:00:00Z",
            "annotations": {"egret.dev/when-unavailable": "Drop"},
        },
    })
}

/// A good manifest with one thing changed.
fn changed(good: &Value, at: &str, into: &Value) -> Value {
    let mut value = good.clone();
    match value.pointer_mut(at) {
        Some(place) => *place = into.clone(),
        None => {
            let (parent, name) = at.rsplit_once('/').unwrap();
            value.pointer_mut(parent).unwrap()[name.replace("~1", "/")] = into.clone();
        }
    }
    value
}

/// Everything that is wrong with objects of a kind: where, and the object.
pub fn hostile(sample: &Sample) -> Vec<(String, Value)> {
    let good =
        |at: &str| sample.good.pointer(at).unwrap_or_else(|| panic!("{at}: {:#}", sample.good)).clone();
    let fields = sample.fields.iter().flat_map(|(at, holds)| {
        wrong(*holds, &good(at)).into_iter().map(|value| (*at, value)).collect::<Vec<_>>()
    });
    let all = fields.chain(sample.also.iter().cloned()).chain(wrong_metadata(sample.kind));
    all.map(|(at, into)| (at.to_owned(), changed(&sample.good, at, &into))).collect()
}

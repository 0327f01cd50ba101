//! What a server did not keep of what was written: its definition is of another version than this program.

use egret_api::Kind;
use serde_json::Value;

use crate::Problem;

/// The first field, below `path`, of what was meant that is not there.
fn lacking(meant: &Value, kept: &Value, path: &str) -> Option<String> {
    match (meant, kept) {
        (Value::Object(meant), Value::Object(kept)) => meant.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match kept.get(name) {
                Some(kept) => lacking(value, kept, &path),
                None => Some(path).filter(|_| !value.is_null()),
            }
        }),
        (Value::Array(meant), Value::Array(kept)) => meant
            .iter()
            .zip(kept)
            .enumerate()
            .find_map(|(at, (meant, kept))| lacking(meant, kept, &format!("{path}[{at}]"))),
        _ => None,
    }
}

/// Somewhere in it is a field of the name in which this path ends.
pub(crate) fn has(kept: &Value, path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path);
    match kept {
        Value::Object(fields) => fields.iter().any(|(of, value)| of == name || has(value, name)),
        Value::Array(items) => items.iter().any(|item| has(item, name)),
        _ => false,
    }
}

/// What a server says of a field that its definition does not have, when it is to be applied.
pub(crate) const UNDECLARED: &str = ": field not declared in schema";

/// Takes out of a record what a server refuses to take because its definition does not have it. Returns the first of
/// these fields, if there are any.
pub(crate) fn take_out(record: &mut Value, refusal: &str) -> Option<String> {
    let mut parts: Vec<&str> = refusal.split(UNDECLARED).collect();
    parts.pop();
    let path = |part: &&str| part.split_whitespace().next_back()?.strip_prefix('.').map(str::to_owned);
    let paths: Vec<String> = parts.iter().filter_map(path).collect();
    let taken: Vec<String> =
        paths.into_iter().filter(|path| remove(record, &path.split('.').collect::<Vec<_>>())).collect();
    taken.into_iter().next()
}

/// Whether there was such a field.
fn remove(value: &mut Value, path: &[&str]) -> bool {
    let [first, rest @ ..] = path else { return false };
    let name = first.split('[').next().unwrap_or(first);
    let Some(fields) = value.as_object_mut() else { return false };
    if rest.is_empty() {
        return fields.remove(name).is_some();
    }
    match fields.get_mut(name) {
        // Whichever item it names, the others have no such field either.
        Some(Value::Array(items)) => {
            items.iter_mut().filter_map(|item| remove(item, rest).then_some(())).count() > 0
        }
        Some(value) => remove(value, rest),
        None => false,
    }
}

/// What people should know of the definition of a kind, if a record of it was not kept whole.
pub(crate) fn problem(kind: Kind, meant: &Value, kept: &Value) -> Option<Problem> {
    lacking(meant, kept, "spec").map(|field| unkept(kind, field))
}

/// What people should know of a definition that lacks a field.
pub(crate) fn unkept(kind: Kind, field: String) -> Problem {
    Problem {
        file: std::path::PathBuf::new(),
        document: 0,
        object: Some(kind.as_str().to_owned()),
        message: format!("the API server does not keep {field}: the definition of the kind is of another version"),
        field: Some(field),
        cure: "Install the definitions of this version: `egret crds | kubectl apply --server-side -f -`; until then \
               the field has its default value for everybody."
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_server_does_not_know_is_taken_out_and_the_rest_stays() {
        let mut record = json!({"spec": {"a": 1, "timeouts": {"udp": 1}, "leases": [{"b": 1, "new": 2}, {"b": 2, "new": 3}]}});
        let refusal = "cannot apply it: ApiError: failed to create typed patch object (/192-0-2-9; egret.dev/v1alpha1): \
                       errors:\n  .spec.timeouts: field not declared in schema\n  .spec.leases[0].new: field not declared in schema";
        assert_eq!(take_out(&mut record, refusal).as_deref(), Some("spec.timeouts"));
        assert_eq!(record, json!({"spec": {"a": 1, "leases": [{"b": 1}, {"b": 2}]}}));
        assert_eq!(take_out(&mut record, refusal), None, "it is no use to try again");
        assert_eq!(take_out(&mut record, "field not declared in schema"), None);
    }

    #[test]
    fn a_field_that_was_not_kept_is_found_and_what_is_more_is_no_fault() {
        let meant = json!({"a": 1, "list": [{"b": 2}, {"b": 3, "c": {"d": 4}}], "none": null});
        let kept = json!({"a": 1, "list": [{"b": 2, "more": 1}, {"b": 3, "c": {"d": 4}}], "other": {}});
        assert_eq!(lacking(&meant, &kept, "spec"), None);
        let pruned = json!({"a": 1, "list": [{"b": 2}, {"b": 3, "c": {}}]});
        assert_eq!(lacking(&meant, &pruned, "spec").as_deref(), Some("spec.list[1].c.d"));
        assert!(has(&kept, "spec.list[1].c.d") && !has(&pruned, "spec.list[1].c.d"));
    }
}

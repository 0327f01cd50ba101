//! What a definition knows of its kind: the fields of each version that is served.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{items, text};

/// Each field of each served version, as `v1alpha1: spec.ranges.cidr`. What has no field of its own is told by its
/// version alone.
pub fn fields(definition: &Value) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for version in items(definition, "/spec/versions").iter().filter(|version| version["served"] == true) {
        let name = text(version, "/name");
        fields.insert(format!("{name}:"));
        walk(&version["schema"]["openAPIV3Schema"], &format!("{name}: "), "", &mut fields);
    }
    fields
}

fn walk(schema: &Value, prefix: &str, path: &str, fields: &mut BTreeSet<String>) {
    for inner in [&schema["items"], &schema["additionalProperties"]] {
        walk_if(inner, prefix, path, fields);
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        fields.insert(format!("{prefix}{path}"));
        walk_if(inner, prefix, &path, fields);
    }
}

fn walk_if(schema: &Value, prefix: &str, path: &str, fields: &mut BTreeSet<String>) {
    if schema.is_object() {
        walk(schema, prefix, path, fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_of_lists_and_of_each_served_version_are_known() {
        let cidr = json!({"type": "object", "properties": {"cidr": {"type": "string"}}});
        let spec = json!({"properties": {"ranges": {"type": "array", "items": cidr}}});
        let schema = json!({"openAPIV3Schema": {"properties": {"spec": spec}}});
        let version = |name: &str, served: bool| json!({"name": name, "served": served, "schema": schema});
        let definition = json!({"spec": {"versions": [version("v1", true), version("v0", false)]}});
        let expected = ["v1:", "v1: spec", "v1: spec.ranges", "v1: spec.ranges.cidr"];
        assert_eq!(fields(&definition).into_iter().collect::<Vec<_>>(), expected);
    }
}

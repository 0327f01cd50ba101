//! What an installation grants, verb by verb.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{items, text};

/// One verb that somebody may use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The service account that has it.
    pub account: String,
    /// The namespace that it is restricted to; empty: none.
    pub namespace: String,
    /// The API group; empty for the core.
    pub group: String,
    /// The resource, without its subresource.
    pub resource: String,
    /// The subresource, if it is one.
    pub subresource: String,
    /// The only object, if it is restricted to one.
    pub name: String,
    /// The verb.
    pub verb: String,
}

impl std::fmt::Display for Right {
    /// As people write it: `patch egressnodes.egret.dev`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        for (mark, part) in [('.', &self.group), ('/', &self.subresource)] {
            if !part.is_empty() {
                write!(f, "{mark}{part}")?;
            }
        }
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if !self.namespace.is_empty() {
            write!(f, " in {}", self.namespace)?;
        }
        Ok(())
    }
}

/// Every right that the roles of an installation grant. A role has the name of its service account.
pub fn rights(installation: &[Value]) -> BTreeSet<Right> {
    let words = |rule: &Value, field: &str| -> Vec<String> {
        items(rule, field).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut rights = BTreeSet::new();
    for role in installation {
        for rule in items(role, "/rules") {
            let mut names = words(rule, "/resourceNames");
            if names.is_empty() {
                names.push(String::new());
            }
            for group in words(rule, "/apiGroups") {
                for resource in words(rule, "/resources") {
                    let (resource, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
                    for verb in words(rule, "/verbs") {
                        for name in &names {
                            rights.insert(Right {
                                account: text(role, "/metadata/name").to_owned(),
                                namespace: text(role, "/metadata/namespace").to_owned(),
                                group: group.clone(),
                                resource: resource.to_owned(),
                                subresource: subresource.to_owned(),
                                name: name.clone(),
                                verb: verb.clone(),
                            });
                        }
                    }
                }
            }
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_are_taken_apart_to_single_verbs() {
        let metadata = json!({"name": "egret-controller", "namespace": "egret-system"});
        let rule = |resources: Value, names: Value| json!({"apiGroups": ["coordination.k8s.io"], "resources": resources, "verbs": ["get", "patch"], "resourceNames": names});
        let rules =
            [rule(json!(["leases"]), json!(["egret-controller"])), rule(json!(["leases/status"]), json!([]))];
        let role = json!({"kind": "Role", "metadata": metadata, "rules": rules});
        let told: Vec<String> = rights(&[role]).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "get leases.coordination.k8s.io egret-controller in egret-system",
                "patch leases.coordination.k8s.io egret-controller in egret-system",
                "get leases.coordination.k8s.io/status in egret-system",
                "patch leases.coordination.k8s.io/status in egret-system",
            ]
        );
    }
}

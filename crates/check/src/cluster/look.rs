//! Asks the API server.

use std::collections::BTreeSet;

use futures::future::join_all;
use kube::Client;
use serde_json::Value;

use super::{Facts, OTHERS, Other};
use crate::ask::{DAEMON_SETS, DEFINITIONS, NODES, Resource, Who, list, permissions, words};
use crate::{Right, rights, text};

/// Looks at a cluster for an installation of these objects, with these definitions.
pub async fn look(client: &Client, installation: &[Value], expected: Vec<Value>) -> Facts {
    let needed: BTreeSet<Right> = rights(installation).into_iter().chain(making(installation)).collect();
    let others = OTHERS.iter().filter(|other| !other.policies.0.is_empty());
    let count = async |other: &'static Other| {
        let (group, version, plural) = other.policies;
        let found = list(client, Resource(group, version, plural), None).await;
        (other, found.map(|objects| objects.len()))
    };
    Facts {
        version: client.apiserver_version().await.map(|info| info.git_version).map_err(words),
        expected,
        definitions: list(client, DEFINITIONS, None).await,
        permissions: permissions(client, Who::Myself, needed).await,
        nodes: list(client, NODES, None).await,
        daemon_sets: list(client, DAEMON_SETS, None).await,
        others: join_all(others.map(count)).await,
    }
}

/// Who installs makes these objects. What he grants he must hold himself (RBAC lets nobody grant more).
fn making(installation: &[Value]) -> impl Iterator<Item = Right> {
    installation.iter().map(|object| {
        let (group, _) = text(object, "/apiVersion").split_once('/').unwrap_or_default();
        let kind = text(object, "/kind").to_lowercase();
        let resource = match kind.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None => format!("{kind}s"),
        };
        Right {
            account: String::new(),
            namespace: text(object, "/metadata/namespace").to_owned(),
            group: group.to_owned(),
            resource,
            subresource: String::new(),
            name: String::new(),
            verb: "create".to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_object_of_an_installation_has_to_be_made() {
        let object = |version: &str, kind: &str, namespace: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"namespace": namespace}});
        let objects = [
            object("v1", "ServiceAccount", "egret-system"),
            object("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", ""),
        ];
        let told: Vec<String> = making(&objects).map(|right| right.to_string()).collect();
        let policies = "create validatingadmissionpolicies.admissionregistration.k8s.io";
        assert_eq!(told, ["create serviceaccounts in egret-system", policies]);
    }
}

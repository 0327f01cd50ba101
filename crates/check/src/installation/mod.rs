//! A cluster with Egret in it: is everything there, of one version, and in force?

mod judge;
mod look;

use serde_json::Value;

use crate::ask::{Answer, Permission};

pub use judge::{judge, judge_objects};
pub use look::{Installation, look};

impl Facts {
    /// What objects of a store tell: the rest was not asked.
    pub fn of_objects(namespace: &str, own_version: &str, parts: Parts) -> Self {
        let unasked = || "it was not asked".to_owned();
        Self {
            namespace: namespace.to_owned(),
            own_version: own_version.to_owned(),
            version: Err(unasked()),
            expected: Vec::new(),
            definitions: Err(unasked()),
            permissions: Vec::new(),
            expected_policies: Vec::new(),
            policies: Err(unasked()),
            nodes: Ok(parts.nodes),
            workloads: Err(unasked()),
            leases: Err(unasked()),
            pods: Ok(Vec::new()),
            records: Ok(parts.records),
            addresses: Ok(parts.addresses),
            objects: Ok(parts.objects),
        }
    }
}

/// Objects of a store.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The nodes.
    pub nodes: Vec<Value>,
    /// EgressNodes.
    pub records: Vec<Value>,
    /// EgressAddresses.
    pub addresses: Vec<Value>,
    /// People's objects with a status, each with its kind.
    pub objects: Vec<(String, Value)>,
}

/// What an API server says of an installation.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The namespace of Egret's own pods.
    pub namespace: String,
    /// The version of the program that asks.
    pub own_version: String,
    /// The API server's version, as `v1.33.1`.
    pub version: Answer<String>,
    /// Definitions that this version brings.
    pub expected: Vec<Value>,
    /// Definitions that the cluster has, of whatever.
    pub definitions: Answer<Vec<Value>>,
    /// What the service accounts must be allowed, and whether they are.
    pub permissions: Vec<Permission>,
    /// The ValidatingAdmissionPolicies and bindings that this version brings.
    pub expected_policies: Vec<Value>,
    /// Those that the cluster has.
    pub policies: Answer<Vec<Value>>,
    /// The nodes.
    pub nodes: Answer<Vec<Value>>,
    /// Workloads of Egret's namespace: Deployments and DaemonSets.
    pub workloads: Answer<Vec<Value>>,
    /// The Leases of Egret's namespace.
    pub leases: Answer<Vec<Value>>,
    /// The pods of Egret's namespace.
    pub pods: Answer<Vec<Value>>,
    /// EgressNodes: what each agent says.
    pub records: Answer<Vec<Value>>,
    /// EgressAddresses: what the controller decided.
    pub addresses: Answer<Vec<Value>>,
    /// People's objects with a status, each with its kind.
    pub objects: Answer<Vec<(String, Value)>>,
}

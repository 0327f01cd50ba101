//! The resource of `egress.loxilb.io`: Egress.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pods of this namespace leave by one address.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "egress.loxilb.io",
    version = "v1",
    kind = "Egress",
    derive = "PartialEq",
    derive = "Default",
    plural = "egresses",
    namespaced,
    status = "EgressStatus",
    printcolumn = r#"{"name":"VIP","type":"string","jsonPath":".status.vip"}"#,
    printcolumn = r#"{"name":"Node","type":"string","jsonPath":".status.node"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct EgressSpec {
    /// Addresses of pods, or networks of them in CIDR form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The address that the pods leave by.
    #[serde(default)]
    pub vip: String,
    /// Pods by label.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
}

/// What the controller says about an Egress. The dialect itself says nothing.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct EgressStatus {
    /// The node that holds the address.
    #[serde(default)]
    pub node: String,
    /// The address in use.
    #[serde(default)]
    pub vip: String,
    /// Addresses of pods that leave by it now, the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Conditions: `Ready`.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

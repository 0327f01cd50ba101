//! The resources of `crd.antrea.io`: Egress and ExternalIPPool, in v1alpha2 and v1beta1 (identical for the
//! fields Egret reads, so both are read into one type).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pool::Usage;

/// The group of the dialect.
pub const GROUP: &str = "crd.antrea.io";
/// The versions that are read.
pub const VERSIONS: [&str; 2] = ["v1alpha2", "v1beta1"];

/// Pods leave by one address.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "crd.antrea.io",
    version = "v1beta1",
    kind = "Egress",
    derive = "PartialEq",
    plural = "egresses",
    shortname = "eg",
    status = "EgressStatus",
    printcolumn = r#"{"name":"EgressIP","type":"string","jsonPath":".status.egressIP"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Node","type":"string","jsonPath":".status.egressNode"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct EgressSpec {
    /// Which pods.
    pub applied_to: AppliedTo,
    /// The address; allocated from the pool when absent.
    #[serde(default, rename = "egressIP", skip_serializing_if = "Option::is_none")]
    pub egress_ip: Option<String>,
    /// The pool the address comes from.
    #[serde(default, rename = "externalIPPool", skip_serializing_if = "Option::is_none")]
    pub external_ip_pool: Option<String>,
    /// Reserved by the dialect.
    #[serde(default, rename = "egressIPs", skip_serializing_if = "Vec::is_empty")]
    pub egress_ips: Vec<String>,
    /// Reserved by the dialect.
    #[serde(default, rename = "externalIPPools", skip_serializing_if = "Vec::is_empty")]
    pub external_ip_pools: Vec<String>,
    /// How much the selected pods may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
}

/// A rate and what may exceed it for a moment, as Kubernetes quantities of bits.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
pub struct Bandwidth {
    /// Bits in a second.
    pub rate: String,
    /// Bits at once.
    pub burst: String,
}

/// Pods by label. Both selectors absent select nothing.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedTo {
    /// Pods, of every namespace if `namespaceSelector` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

/// Status of an Egress.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressStatus {
    /// The node that holds the address.
    #[serde(default)]
    pub egress_node: String,
    /// The address in use.
    #[serde(default, rename = "egressIP")]
    pub egress_ip: String,
    /// Conditions: `IPAllocated`, `IPAssigned`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<EgressCondition>,
}

/// A condition in the dialect's form.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressCondition {
    /// `IPAllocated` or `IPAssigned`.
    pub r#type: String,
    /// `True` or `False`.
    pub status: String,
    /// Reason in the dialect's words.
    #[serde(default)]
    pub reason: String,
    /// Message for people.
    #[serde(default)]
    pub message: String,
    /// When the status last changed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}

/// Addresses that Egresses are given, and the nodes that may hold them.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "crd.antrea.io",
    version = "v1beta1",
    kind = "ExternalIPPool",
    derive = "PartialEq",
    plural = "externalippools",
    shortname = "eip",
    status = "ExternalIpPoolStatus",
    printcolumn = r#"{"name":"Total","type":"integer","jsonPath":".status.usage.total"}"#,
    printcolumn = r#"{"name":"Used","type":"integer","jsonPath":".status.usage.used"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ExternalIpPoolSpec {
    /// Ranges: `cidr`, or `start` and `end`.
    pub ip_ranges: Vec<IpRange>,
    /// Nodes; empty selects all.
    pub node_selector: LabelSelector,
    /// Facts about the subnet of the ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet_info: Option<SubnetInfo>,
}

/// One range.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpRange {
    /// A network: its first address is never given out, and of IPv4 networks the last neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// First address, included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Last address, included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

/// The subnet that a pool's addresses belong to.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubnetInfo {
    /// The subnet's router.
    pub gateway: String,
    /// Prefix length, 1 to 127.
    pub prefix_length: i32,
    /// VLAN, 0 to 4094.
    #[serde(default)]
    pub vlan: i32,
}

/// Status of a pool.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct ExternalIpPoolStatus {
    /// Addresses in the pool and in use.
    #[serde(default)]
    pub usage: Usage,
    /// `Ready` as false, while something is wrong with the pool; the dialect itself has no conditions here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<EgressCondition>,
}

//! The resources of `network.deckhouse.io`: EgressGateway and EgressGatewayPolicy.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::PolicyStatus;

/// One source address, and the nodes of which one uses it.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "network.deckhouse.io",
    version = "v1alpha1",
    kind = "EgressGateway",
    derive = "PartialEq",
    plural = "egressgateways",
    status = "EgressGatewayStatus",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.sourceIP.mode"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct EgressGatewaySpec {
    /// Labels that a node must have, each with this value. Empty selects every node.
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    /// Where the source address comes from.
    #[serde(default, rename = "sourceIP", skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<SourceIp>,
}

/// Where the source address comes from.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
pub struct SourceIp {
    /// Which of the two blocks says so.
    pub mode: Mode,
    /// An address that moves between the nodes.
    #[serde(default, rename = "virtualIPAddress", skip_serializing_if = "Option::is_none")]
    pub virtual_ip: Option<VirtualIp>,
    /// The node's own address.
    #[serde(
        default,
        rename = "primaryIPFromEgressGatewayNodeInterface",
        skip_serializing_if = "Option::is_none"
    )]
    pub primary_ip: Option<PrimaryIp>,
}

/// Which block of [`SourceIp`] counts.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Mode {
    /// `virtualIPAddress`.
    VirtualIPAddress,
    /// `primaryIPFromEgressGatewayNodeInterface`.
    PrimaryIPFromEgressGatewayNodeInterface,
}

/// An address that moves between the nodes.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
pub struct VirtualIp {
    /// The address.
    pub ip: String,
    /// Interfaces on which it is announced. Empty: all.
    #[serde(default)]
    pub interfaces: Vec<String>,
}

/// The first IPv4 address of an interface of the node.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrimaryIp {
    /// The interface.
    pub interface_name: String,
}

/// Status of a gateway.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressGatewayStatus {
    /// Generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Nodes that could be the active one.
    #[serde(default)]
    pub ready_nodes: i64,
    /// The node that has the address, or empty.
    #[serde(default)]
    pub active_node_name: String,
    /// Conditions: `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<GatewayCondition>,
}

/// A condition in the dialect's form.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayCondition {
    /// `Ready`.
    pub r#type: String,
    /// `True` or `False`.
    pub status: String,
    /// Reason in the dialect's words.
    pub reason: String,
    /// Message for people.
    pub message: String,
    /// When the status last changed, RFC 3339.
    pub last_transition_time: String,
    /// The same: what has not changed is not written again.
    #[serde(default)]
    pub last_heartbeat_time: String,
}

/// Pods, where to, and by which gateway.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "network.deckhouse.io",
    version = "v1alpha1",
    kind = "EgressGatewayPolicy",
    derive = "PartialEq",
    plural = "egressgatewaypolicies",
    status = "PolicyStatus"
)]
#[serde(rename_all = "camelCase")]
pub struct EgressGatewayPolicySpec {
    /// Name of the EgressGateway.
    pub egress_gateway_name: String,
    /// Where to.
    #[serde(default, rename = "destinationCIDRs")]
    pub destination_cidrs: Vec<String>,
    /// Where not to.
    #[serde(default, rename = "excludedCIDRs", skip_serializing_if = "Vec::is_empty")]
    pub excluded_cidrs: Vec<String>,
    /// Pods that one of these selects.
    #[serde(default)]
    pub selectors: Vec<GatewaySelector>,
}

/// Pods by label.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySelector {
    /// Labels of the pod. `io.kubernetes.pod.namespace` stands for the name of its namespace.
    pub pod_selector: LabelSelector,
}

//! The record of one egress address: who uses it, who may serve it, and whose its ports are.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pool::PortSettings;
use crate::timeouts::Timeouts;

/// One egress address. Written by the controller only; its name is the address with `-` for `.` and `:`,
/// all eight groups of an IPv6 address written.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "egret.dev",
    version = "v1alpha1",
    kind = "EgressAddress",
    derive = "PartialEq",
    plural = "egressaddresses",
    shortname = "eaddr",
    category = "egret",
    doc = "The record of one egress address: who uses it, who may serve it, and whose its ports are. Written by the controller; for people to read.",
    printcolumn = r#"{"name":"Address","type":"string","jsonPath":".spec.address"}"#,
    printcolumn = r#"{"name":"Pool","type":"string","jsonPath":".spec.pool"}"#,
    printcolumn = r#"{"name":"Candidates","type":"string","jsonPath":".spec.candidates"}"#,
    printcolumn = r#"{"name":"Revision","type":"integer","jsonPath":".spec.revision","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct EgressAddressSpec {
    /// The address.
    pub address: String,
    /// The pool it comes from, as `Kind/name`: `EgressPool/prod` or `ExternalIPPool/external-ip-pool`; `Node/node-4` of
    /// that node's own address.
    pub pool: String,
    /// It is the own address of its only candidate, on one of the node's interfaces: it does not move, and the node's
    /// kernel answers for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub node_address: bool,
    /// The interface named by the pool, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The policies that use the address, in the order of precedence.
    pub claims: Vec<Claim>,
    /// Nodes that may serve the address: selected by the pool, and with a wire that reaches it. Sorted.
    pub candidates: Vec<String>,
    /// Candidates that come before the others, in this order: nodes with a ready pod of the Service that is reached at
    /// the address, by its `externalTrafficPolicy: Local`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferred: Vec<String>,
    /// Ports in one block; a power of two.
    pub block_size: u16,
    /// Towards one remote end, one pod may use one in so many of its node's ports; a power of two.
    #[serde(default = "PortSettings::default_pod_share")]
    pub pod_share: u8,
    /// How long a connection may be silent, as the pool says.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Blocks leased to source nodes, sorted by first port. Ports that no lease names belong to nobody.
    pub leases: Vec<Lease>,
    /// Raised with each change of `leases`; gateways report the revision that they have programmed.
    pub revision: u64,
}

/// An object that uses an address.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Kind of the object, for example `EgressPolicy` or `Egress`.
    pub kind: String,
    /// Namespace, empty for a cluster-wide object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

/// A block of ports that one source node may use.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The source node.
    pub node: String,
    /// First port of the block, a multiple of the block size.
    pub first_port: u16,
    /// Revision of the record with which the lease began. The node may use the block once every living gateway
    /// has programmed this revision.
    pub revision: u64,
    /// Set when the node no longer needs the block: it takes no new flows from it. The block is free for others
    /// once the node reports no flow in it and the quarantine has passed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_before_there_were_timeouts_has_the_usual_ones() {
        let old = serde_json::json!({
            "address": "192.0.2.11", "pool": "EgressPool/pool", "claims": [], "candidates": ["node-4"],
            "blockSize": 1024, "leases": [], "revision": 3,
        });
        let record: EgressAddressSpec = serde_json::from_value(old).unwrap();
        assert_eq!((record.timeouts, record.pod_share), (Timeouts::default(), 2));
    }
}

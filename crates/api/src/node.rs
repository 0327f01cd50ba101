//! The record of one node: what its agent sees and what it has applied.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One node. Written by that node's agent only; its name is the node's.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "egret.dev",
    version = "v1alpha1",
    kind = "EgressNode",
    derive = "PartialEq",
    plural = "egressnodes",
    shortname = "enode",
    category = "egret",
    doc = "The record of one node: what its agent sees and what it has in force. Written by that agent; for people to read.",
    printcolumn = r#"{"name":"Underlay","type":"string","jsonPath":".spec.underlay"}"#,
    printcolumn = r#"{"name":"Ready","type":"boolean","jsonPath":".spec.ready"}"#,
    printcolumn = r#"{"name":"Holds","type":"string","jsonPath":".spec.holds"}"#,
    printcolumn = r#"{"name":"Waiting","type":"string","jsonPath":".spec.waiting[0]"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct EgressNodeSpec {
    /// The node's address on the network between nodes: the outer address of its overlay.
    #[serde(default)]
    pub underlay: String,
    /// The link-layer address of the underlay interface, as `aa:bb:cc:dd:ee:ff`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlay_mac: Option<String>,
    /// Interfaces that can carry egress addresses.
    #[serde(default)]
    pub wires: Vec<Wire>,
    /// For each egress address that this node can serve: the revision of its record that is programmed.
    #[serde(default)]
    pub programmed: BTreeMap<String, u64>,
    /// For each egress address that pods of this node use: how its ports are used.
    #[serde(default)]
    pub ports: BTreeMap<String, PortUse>,
    /// Egress addresses that this node holds (answers ARP and NDP for) now.
    #[serde(default)]
    pub holds: Vec<String>,
    /// For each egress address that this node uses or serves: the node it believes to be the holder.
    #[serde(default)]
    pub holders: BTreeMap<String, String>,
    /// Gateways on the same link that packets without tunnel reach, and whose packets without tunnel reach this
    /// node, sorted.
    #[serde(default)]
    pub links: Vec<String>,
    /// The programs are attached and the first plan is in force.
    #[serde(default)]
    pub ready: bool,
    /// The boot of the node in which this was written, as the kernel names it: what an earlier boot reported is not
    /// in force any more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub boot_id: String,
    /// Digest of the people's objects that the plan in force was made from.
    #[serde(default)]
    pub observed_objects: String,
    /// Digest of the EgressAddress records that the plan in force was made from.
    #[serde(default)]
    pub observed_addresses: String,
    /// Why something of the plan waits; empty when the whole plan is in force.
    #[serde(default)]
    pub waiting: Vec<String>,
}

/// An interface towards the outside.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wire {
    /// Name of the interface.
    pub interface: String,
    /// Its addresses with prefix length, sorted.
    pub addresses: Vec<String>,
    /// The first address of each family, without prefix length, where it is not the first of `addresses`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary: Vec<String>,
    /// It has a carrier.
    pub carrier: bool,
}

/// How a node uses the ports of one egress address.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortUse {
    /// Blocks the node would like to hold. The controller leases up to the pool's maximum.
    pub wanted_blocks: u16,
    /// Flows in the node's leased blocks.
    pub flows: u64,
    /// First ports of the blocks in which the node still has flows, sorted.
    #[serde(default)]
    pub busy_blocks: Vec<u16>,
}

//! A pool: a set of egress addresses, the nodes they may leave by, and who may use them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::timeouts::Timeouts;

/// What the pool has, and who may use it. Either `ranges` or `nodeAddress` is written.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[kube(
    group = "egret.dev",
    version = "v1alpha1",
    kind = "EgressPool",
    derive = "PartialEq",
    plural = "egresspools",
    shortname = "epool",
    category = "egret",
    doc = "A set of egress addresses, the nodes and the interface they leave by, and who may use them. Written by people.",
    status = "EgressPoolStatus",
    printcolumn = r#"{"name":"Total","type":"integer","jsonPath":".status.usage.total"}"#,
    printcolumn = r#"{"name":"Used","type":"integer","jsonPath":".status.usage.used"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].reason"}"#,
    printcolumn = r#"{"name":"Interface","type":"string","jsonPath":".spec.interface","priority":1}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].message","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.ranges) != has(self.nodeAddress)")
        .message("a pool has addresses of one kind: write either ranges, or nodeAddress"),
    validation = Rule::new("!has(self.nodeAddress) || has(self.interface)")
        .message("nodeAddress is the address of an interface: write its name in interface")
)]
pub struct EgressPoolSpec {
    /// The addresses of the pool, in the order in which they are given out. They are put on no interface: take addresses
    /// that nothing else uses.
    #[schemars(extend("example" = [{"cidr": "10.10.0.64/28"}]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    pub ranges: Vec<AddressRange>,
    /// Instead of `ranges`: pods leave by the gateway's own address, the first one of `interface`. It stays with its
    /// node, so its connections end with the node.
    #[schemars(extend("example" = {"family": "IPv4"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_address: Option<NodeAddress>,
    /// Nodes that may be gateways of this pool, by label. Empty selects every node; of these, nodes serve an address that
    /// have an interface in its subnet.
    #[schemars(extend("example" = {"matchLabels": {"role": "egress"}}))]
    #[serde(default)]
    pub node_selector: LabelSelector,
    /// The interface towards the outside on the gateways. Absent: the interface whose subnet has the address.
    #[schemars(extend("example" = "eth1"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub interface: Option<String>,
    /// Namespaces whose policies may use this pool. Absent: none, only cluster-wide policies may.
    #[schemars(extend("example" = {"names": ["batch"]}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceGrant>,
    /// How the ports of an address are cut into blocks and leased.
    #[serde(default)]
    pub ports: PortSettings,
    /// How long a connection by an address of the pool may be silent before it ends and its port is free, in seconds.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// Which of the gateway's own addresses.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeAddress {
    /// The family of the address.
    #[serde(default)]
    pub family: Family,
}

/// A family of addresses.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Family {
    /// IPv4.
    #[default]
    IPv4,
    /// IPv6.
    IPv6,
}

/// One range of a pool: either `cidr`, or `start` and `end`, both included.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.cidr) ? !has(self.start) && !has(self.end) : has(self.start) && has(self.end)")
        .message("a range is one of two forms: write either cidr, or start and end"),
    validation = Rule::new(
        "!has(self.start) || !has(self.end) || !isIP(self.start) || !isIP(self.end) || \
         ip(self.start).family() == ip(self.end).family()"
    ).message("IPv4 and IPv6 meet in one range: write start and end of one family")
)]
pub struct AddressRange {
    /// A network; every address of it is given out, the first and the last too.
    #[schemars(extend("example" = "10.10.0.64/28"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 43))]
    #[x_kube(validation = Rule::new("isCIDR(self)").message("is no network: write a network like 192.0.2.8/29"))]
    pub cidr: Option<String>,
    /// First address of the range. Needs `end`.
    #[schemars(extend("example" = "10.10.0.11"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39))]
    #[x_kube(validation = Rule::new("isIP(self)").message("is no address: write an address like 192.0.2.8"))]
    pub start: Option<String>,
    /// Last address of the range, which belongs to it. Of the family of `start`.
    #[schemars(extend("example" = "10.10.0.20"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39))]
    #[x_kube(validation = Rule::new("isIP(self)").message("is no address: write an address like 192.0.2.15"))]
    pub end: Option<String>,
}

/// Which namespaces may use a pool.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceGrant {
    /// Namespaces by name; `*` grants every namespace.
    #[schemars(extend("example" = ["batch", "billing"]))]
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub names: Vec<String>,
    /// Namespaces by label, besides those in `names`. Whoever may label a namespace may then grant it.
    #[schemars(extend("example" = {"matchLabels": {"egress": "partners"}}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How the ports of an address are leased to source nodes.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.maxBlocks >= self.initialBlocks")
        .message("a node cannot begin with more blocks than it may have: write a maxBlocks that is not below initialBlocks")
)]
pub struct PortSettings {
    /// Ports in one block: a power of two. An address has 63 blocks of 1024.
    #[serde(default = "PortSettings::default_block_size")]
    #[schemars(range(min = 64, max = 8192))]
    #[x_kube(
        validation = Rule::new("self in [64, 128, 256, 512, 1024, 2048, 4096, 8192]")
            .message("blocks cannot be aligned: write a power of two from 64 to 8192")
    )]
    pub block_size: u16,
    /// Blocks of an address that a node gets with its first pod that leaves by it.
    #[serde(default = "PortSettings::default_initial_blocks")]
    #[schemars(range(min = 1, max = 32))]
    pub initial_blocks: u16,
    /// Most blocks of one address that one node may have; it asks for more as its pods open connections.
    #[serde(default = "PortSettings::default_max_blocks")]
    #[schemars(range(min = 1, max = 64))]
    pub max_blocks: u16,
    /// Towards one remote end (address and port), one pod may use one in so many of the ports that its node has of an
    /// address. With 1 it may use them all, and leave its neighbours none.
    #[serde(default = "PortSettings::default_pod_share")]
    #[schemars(extend("enum" = [1, 2, 4, 8]))]
    pub pod_share: u8,
}

impl PortSettings {
    fn default_block_size() -> u16 {
        1024
    }
    fn default_initial_blocks() -> u16 {
        2
    }
    fn default_max_blocks() -> u16 {
        32
    }
    pub(crate) fn default_pod_share() -> u8 {
        2
    }
}

impl PortSettings {
    /// For an address that is a node's own, where nothing says otherwise: it has fewer ports to give away.
    pub fn of_node_address() -> Self {
        Self { block_size: 256, initial_blocks: 1, ..Self::default() }
    }
}

impl Default for PortSettings {
    fn default() -> Self {
        Self {
            block_size: Self::default_block_size(),
            initial_blocks: Self::default_initial_blocks(),
            max_blocks: Self::default_max_blocks(),
            pod_share: Self::default_pod_share(),
        }
    }
}

/// What the controller says about a pool.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressPoolStatus {
    /// How many addresses the pool has, and how many are in use.
    #[serde(default)]
    pub usage: Usage,
    /// One condition, `Ready`: the pool is in force. Whether its addresses are held is told by the policies. Its reason is
    /// of the closed list in docs/reasons.md, its message names what to do.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Counts of addresses.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Usage {
    /// Addresses that the pool has.
    pub total: i64,
    /// Addresses that are in use by policies.
    pub used: i64,
}

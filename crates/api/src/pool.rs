//! A pool: a set of egress addresses, the nodes they may leave by, and who may use them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::timeouts::Timeouts;

/// A set of egress addresses and the nodes and interface they leave by.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[kube(
    group = "egret.dev",
    version = "v1alpha1",
    kind = "EgressPool",
    derive = "PartialEq",
    plural = "egresspools",
    shortname = "epool",
    category = "egret",
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
    /// The addresses of the pool, in the order in which they are given out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    pub ranges: Vec<AddressRange>,
    /// Instead of ranges: pods leave by the gateway's own address, the first one of `interface`. It stays with its
    /// node, so its connections end with the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_address: Option<NodeAddress>,
    /// Nodes that may be gateways of this pool. Empty selects every node; only nodes with a wire that reaches
    /// the address serve it.
    #[serde(default)]
    pub node_selector: LabelSelector,
    /// The interface towards the outside on the gateways. Absent: the interface whose subnet holds the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub interface: Option<String>,
    /// Namespaces whose policies may use this pool. Absent: none but cluster-wide policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceGrant>,
    /// How the ports of an address are cut into blocks and leased.
    #[serde(default)]
    pub ports: PortSettings,
    /// How long a connection by an address of the pool may be silent.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// Which of the gateway's own addresses.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeAddress {
    /// Its family.
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
    /// A network in CIDR form; every address of it can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 43))]
    #[x_kube(validation = Rule::new("isCIDR(self)").message("is no network: write a network like 192.0.2.8/29"))]
    pub cidr: Option<String>,
    /// First address of the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39))]
    #[x_kube(validation = Rule::new("isIP(self)").message("is no address: write an address like 192.0.2.8"))]
    pub start: Option<String>,
    /// Last address of the range.
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
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub names: Vec<String>,
    /// Namespaces by label. Whoever may label a namespace may then grant it.
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
    /// Ports in one block: a power of two from 64 to 8192.
    #[serde(default = "PortSettings::default_block_size")]
    #[schemars(range(min = 64, max = 8192))]
    #[x_kube(
        validation = Rule::new("self in [64, 128, 256, 512, 1024, 2048, 4096, 8192]")
            .message("blocks cannot be aligned: write a power of two from 64 to 8192")
    )]
    pub block_size: u16,
    /// Blocks that a node gets with its first selected pod, 1 to 32.
    #[serde(default = "PortSettings::default_initial_blocks")]
    #[schemars(range(min = 1, max = 32))]
    pub initial_blocks: u16,
    /// Most blocks of one address that one node may hold, 1 to 64.
    #[serde(default = "PortSettings::default_max_blocks")]
    #[schemars(range(min = 1, max = 64))]
    pub max_blocks: u16,
    /// Towards one remote end, one pod may use one in so many of the ports that its node has of an address: 1, 2, 4
    /// or 8. With 1 it may use them all, and leave its neighbours none.
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
    /// Addresses in the pool and in use.
    #[serde(default)]
    pub usage: Usage,
    /// Conditions: `Ready`.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Counts of addresses.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Usage {
    /// Addresses that can be given out.
    pub total: i64,
    /// Addresses given out.
    pub used: i64,
}

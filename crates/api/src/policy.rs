//! A policy: pods, where to, and by which pool.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which pods, where to, and by which pool.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[kube(
    group = "egret.dev",
    version = "v1alpha1",
    kind = "EgressPolicy",
    derive = "PartialEq",
    plural = "egresspolicies",
    shortname = "epol",
    category = "egret",
    namespaced,
    doc = "Pods of the policy's namespace leave by an address of a pool. Written by people; the first policy that matches a packet decides: EgressPolicy before ClusterEgressPolicy before other systems' kinds, the oldest first.",
    status = "PolicyStatus",
    printcolumn = r#"{"name":"Pool","type":"string","jsonPath":".spec.pool"}"#,
    printcolumn = r#"{"name":"Egress-Address","type":"string","jsonPath":".status.address"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].reason"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].message","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressPolicySpec {
    /// Pods of the policy's namespace, by label. Empty selects all of them; pods of the host's network are never selected.
    #[schemars(extend("example" = {"matchLabels": {"app": "web"}}))]
    pub pod_selector: LabelSelector,
    /// Where to. Empty: everything outside the cluster. What no entry matches is left to the next policy, or goes the
    /// ordinary way. Nodes, pods and Services are never outside.
    #[schemars(extend("example" = [{"cidr": "198.51.100.0/24", "ports": [{"port": 443}]}]))]
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub destinations: Vec<Destination>,
    /// Name of the EgressPool.
    #[schemars(extend("example" = "partners"))]
    #[schemars(length(min = 1, max = 253))]
    pub pool: String,
    /// A certain address of the pool; policies of one namespace may share it. Absent: the first free one. The policy is
    /// about destinations of the address's family only.
    #[schemars(extend("example" = "10.10.0.70"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39))]
    #[x_kube(validation = Rule::new("isIP(self)").message("is no address: write an address like 192.0.2.8"))]
    pub address: Option<String>,
    /// What happens to packets that the policy is about while it has no address, or no gateway lives.
    #[serde(default)]
    pub when_unavailable: WhenUnavailable,
}

/// Which pods, where to, and by which pool.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[kube(
    group = "egret.dev",
    version = "v1alpha1",
    kind = "ClusterEgressPolicy",
    derive = "PartialEq",
    plural = "clusteregresspolicies",
    shortname = "cepol",
    category = "egret",
    doc = "Pods of any namespace leave by an address of a pool. Written by people.",
    status = "PolicyStatus",
    printcolumn = r#"{"name":"Pool","type":"string","jsonPath":".spec.pool"}"#,
    printcolumn = r#"{"name":"Egress-Address","type":"string","jsonPath":".status.address"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].reason"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].message","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterEgressPolicySpec {
    /// Namespaces by label. Empty selects every namespace. A namespace has its name as the label
    /// `kubernetes.io/metadata.name`.
    #[schemars(extend("example" = {"matchLabels": {"team": "billing"}}))]
    pub namespace_selector: LabelSelector,
    /// Pods of those namespaces, by label. Empty selects all of them; pods of the host's network are never selected.
    #[schemars(extend("example" = {"matchLabels": {"app": "web"}}))]
    #[serde(default)]
    pub pod_selector: LabelSelector,
    /// Where to. Empty: everything outside the cluster. What no entry matches is left to the next policy, or goes the
    /// ordinary way. Nodes, pods and Services are never outside.
    #[schemars(extend("example" = [{"cidr": "198.51.100.0/24", "ports": [{"port": 443}]}]))]
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub destinations: Vec<Destination>,
    /// Name of the EgressPool.
    #[schemars(extend("example" = "partners"))]
    #[schemars(length(min = 1, max = 253))]
    pub pool: String,
    /// A certain address of the pool; policies of one namespace may share it. Absent: the first free one. The policy is
    /// about destinations of the address's family only.
    #[schemars(extend("example" = "10.10.0.70"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39))]
    #[x_kube(validation = Rule::new("isIP(self)").message("is no address: write an address like 192.0.2.8"))]
    pub address: Option<String>,
    /// What happens to packets that the policy is about while it has no address, or no gateway lives.
    #[serde(default)]
    pub when_unavailable: WhenUnavailable,
}

/// A set of destinations: a network, less some networks, on some ports.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(
        "!isCIDR(self.cidr) || !has(self.except) || \
         self.except.all(e, isCIDR(e) && cidr(self.cidr).containsCIDR(e))"
    ).message("except takes networks out of cidr: write networks inside cidr")
)]
pub struct Destination {
    /// The network. `0.0.0.0/0` is all of IPv4 outside the cluster, `::/0` all of IPv6.
    #[schemars(extend("example" = "198.51.100.0/24"))]
    #[schemars(length(max = 43))]
    #[x_kube(validation = Rule::new("isCIDR(self)").message("is no network: write a network like 192.0.2.8/29"))]
    pub cidr: String,
    /// Networks inside `cidr` that the entry is not about.
    #[schemars(extend("example" = ["198.51.100.128/25"]))]
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 43)))]
    pub except: Vec<String>,
    /// Only these ports. Empty: every port, and ICMP echo.
    #[schemars(extend("example" = [{"port": 443}, {"protocol": "UDP", "port": 5060, "endPort": 5080}]))]
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub ports: Vec<Port>,
}

/// A port or a range of ports of one protocol.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.endPort) || self.endPort >= self.port")
        .message("the range ends before it begins: write an endPort that is not below port")
)]
pub struct Port {
    /// Protocol of the ports.
    #[serde(default)]
    pub protocol: Protocol,
    /// The port, or the first of a range.
    #[schemars(extend("example" = 443))]
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The last port of the range, which belongs to it. Absent: only `port`.
    #[schemars(extend("example" = 450))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_port: Option<u16>,
}

/// A protocol with ports.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub enum Protocol {
    /// TCP
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP
    #[serde(rename = "UDP")]
    Udp,
}

/// What happens to selected packets while no gateway can carry them.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub enum WhenUnavailable {
    /// They are dropped and counted.
    #[default]
    Drop,
    /// They leave the ordinary way, with the source that they would have without the policy.
    Bypass,
}

/// What the controller says about a policy.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// The egress address of the selected pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `Ready`: a gateway holds the address. `Undisputed` is there, and False, when another policy comes first for some
    /// packets. Reasons are of the closed list in docs/reasons.md, messages name what to do.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

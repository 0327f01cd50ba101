//! Egret's resource types, the foreign types it understands, and their schemas; no I/O.
//!
//! Two kinds are written by people ([`EgressPool`], [`EgressPolicy`] with its cluster-wide twin
//! [`ClusterEgressPolicy`]); three are records with one writer each ([`EgressAddress`] and [`EgressDialect`] by the
//! controller, [`EgressNode`] by that node's agent). [`antrea`], [`deckhouse`] and [`loxilb`] hold other systems' kinds; kube-vip
//! has none, it annotates Services.

pub mod address;
pub mod antrea;
pub mod condition;
pub mod crds;
pub mod deckhouse;
pub mod dialect;
pub mod loxilb;
pub mod node;
pub mod object;
pub mod policy;
pub mod pool;
pub mod service;
pub mod timeouts;

pub use address::{Claim, EgressAddress, EgressAddressSpec, Lease};
pub use condition::Reason;
pub use crds::crds;
pub use dialect::{Dialect, EgressDialect, EgressDialectSpec, Mode, ModeError, ModeOf, Modes};
pub use node::{EgressNode, EgressNodeSpec, PortUse, Wire};
pub use object::{Kind, Object, ObjectKey};
pub use policy::{
    ClusterEgressPolicy, ClusterEgressPolicySpec, Destination, EgressPolicy, EgressPolicySpec, PolicyStatus,
    Port, Protocol, WhenUnavailable,
};
pub use pool::{
    AddressRange, EgressPool, EgressPoolSpec, EgressPoolStatus, Family, NamespaceGrant, NodeAddress,
    PortSettings, Usage,
};
pub use timeouts::Timeouts;

/// The group of Egret's own resources.
pub const GROUP: &str = "egret.dev";

/// A condition's type, qualified as those are that Egret writes beside others' own, on a Service: `egret.dev/...`.
pub fn is_own_condition(kind: &str) -> bool {
    kind.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'))
}
/// The version of Egret's own resources.
pub const VERSION: &str = "v1alpha1";

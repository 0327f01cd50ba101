//! What people ask for, whatever dialect they ask in: the planner knows no other form.

use std::collections::BTreeSet;
use std::net::IpAddr;

use egret_api::{Claim, Family, Kind, Object, ObjectKey, PortSettings, Timeouts, WhenUnavailable};
use ipnet::IpNet;
use jiff::Timestamp;

use crate::dialect;
use crate::fault::Fault;
use crate::native;
use crate::range::Range;
use crate::select::{Labels, Selector};
use crate::tables::PortMatch;

/// Pods leave by an address of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// Whose turn it is when several policies match.
    pub rank: Rank,
    /// Which pods: those of any of these scopes.
    pub pods: Vec<PodScope>,
    /// Where to, in the order written. A policy for everything outside lists both families' whole network.
    pub traffic: Vec<Traffic>,
    /// The pool; `None` where the dialect names an address only: then it is the pool that has the address.
    pub pool: Option<ObjectKey>,
    /// A certain address.
    pub address: Option<IpAddr>,
    /// What happens while no gateway can carry the packets.
    pub when_unavailable: WhenUnavailable,
    /// Ports of the address by which others reach the object's pods, in host byte order. They are nobody's to lease.
    pub frontends: BTreeSet<u16>,
    /// Which nodes should hold the address, for the sake of those who reach the object's pods by it.
    pub beside: Beside,
    /// What of the object is not in force, although the rest is.
    pub remarks: Vec<Fault>,
}

/// Nodes that should hold an address, if they can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beside {
    /// Whichever.
    #[default]
    Nobody,
    /// Those that run a ready pod of the policy.
    ReadyPod,
    /// Those that run a pod of the policy.
    AnyPod,
}

/// The order of precedence: smaller decides first. Namespaced policies, then cluster-wide ones, then dialects;
/// within one kind the oldest, then namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    class: u8,
    created: Option<Timestamp>,
    /// The policy.
    pub key: ObjectKey,
}

/// Pods of some namespaces.
#[derive(Clone, Debug, PartialEq)]
pub struct PodScope {
    /// Namespaces.
    pub namespaces: Namespaces,
    /// Pods of those namespaces.
    pub pods: PodChoice,
}

/// A choice among the pods of a namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum PodChoice {
    /// By label.
    Labelled(Selector),
    /// Those with an address in one of these networks.
    Addressed(Vec<IpNet>),
    /// By label, as what they are in other networks than the cluster's: these, by namespace and name of the definition.
    Attached(Selector, BTreeSet<String>),
}

/// A choice of namespaces.
#[derive(Clone, Debug, PartialEq)]
pub enum Namespaces {
    /// The policy's own.
    One(String),
    /// By label.
    Matching(Selector),
}

/// Destinations: a network, less some networks, on some ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The network.
    pub net: IpNet,
    /// Networks that do not belong to it.
    pub except: Vec<IpNet>,
    /// Which packets; never empty.
    pub ports: Vec<PortMatch>,
}

/// A pool of any dialect.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// The object.
    pub key: ObjectKey,
    /// When it was made; absent counts as oldest.
    pub created: Option<Timestamp>,
    /// Addresses in the order in which they are given out.
    pub ranges: Vec<Range>,
    /// It gives no address out: its policies leave by their gateway's own, the first of `interface` in this family.
    pub node_address: Option<Family>,
    /// The one address of the pool, where all its policies share it and it is held even while none uses it.
    pub shared: Option<IpAddr>,
    /// Nodes that may be gateways.
    pub nodes: Selector,
    /// Of these only nodes that are Ready and not cordoned.
    pub suitable_nodes: bool,
    /// The interface towards the outside, if the pool names one.
    pub interface: Option<String>,
    /// Namespaces that may use it; cluster-wide policies may always.
    pub grant: Grant,
    /// How ports are leased and shared.
    pub ports: PortSettings,
    /// How long connections may be silent.
    pub timeouts: Timeouts,
}

/// Namespaces that may use a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grant {
    /// By name; `*` is every namespace.
    pub names: Vec<String>,
    /// By label.
    pub selector: Option<Selector>,
}

impl Grant {
    /// The namespace may use the pool.
    pub fn allows(&self, namespace: &str, labels: &Labels) -> bool {
        self.names.iter().any(|n| n == "*" || n == namespace)
            || self.selector.as_ref().is_some_and(|s| s.matches(labels))
    }
}

impl Pool {
    /// The address is one of the pool's.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|r| r.contains(address))
    }

    /// The address that a policy of this pool asks for, if it matters to it.
    pub fn asked(&self, intent: &Intent) -> Option<IpAddr> {
        intent.address.or(self.shared)
    }

    /// The pool as records name it, `Kind/name`.
    pub fn reference(&self) -> String {
        reference(&self.key)
    }
}

/// A pool's key as records name it, `Kind/name`.
pub fn reference(pool: &ObjectKey) -> String {
    format!("{}/{}", pool.kind.as_str(), pool.name)
}

impl Rank {
    /// The rank of a policy.
    pub fn of(object: &Object) -> Rank {
        let key = object.key();
        let class = match key.kind {
            Kind::EgressPolicy => 0,
            Kind::ClusterEgressPolicy => 1,
            _ => 2,
        };
        let created = object.metadata().creation_timestamp.as_ref().map(|t| t.0);
        Rank { class, created, key }
    }

    /// The policy as records name it.
    pub fn claim(&self) -> Claim {
        let ObjectKey { kind, namespace, name } = self.key.clone();
        Claim { kind: kind.as_str().to_owned(), namespace, name }
    }
}

impl std::fmt::Display for Rank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.key.fmt(f)
    }
}

impl Intent {
    /// Reads a policy of any dialect. `None` if the object is no policy, as most Services are none.
    pub fn read(object: &Object) -> Option<Result<Intent, Vec<Fault>>> {
        match object {
            Object::EgressPolicy(o) => Some(native::policy(Rank::of(object), &o.spec)),
            Object::ClusterEgressPolicy(o) => Some(native::cluster_policy(Rank::of(object), &o.spec)),
            Object::Egress(o) => Some(dialect::antrea::egress(Rank::of(object), o)),
            Object::EgressGatewayPolicy(o) => Some(dialect::deckhouse::policy(Rank::of(object), o)),
            Object::LoxilbEgress(o) => Some(dialect::loxilb::egress(Rank::of(object), o)),
            Object::Service(o) => dialect::kube_vip::service(Rank::of(object), o),
            _ => None,
        }
    }
}

impl Pool {
    /// Reads a pool of any dialect. `None` if the object is no pool.
    pub fn read(object: &Object) -> Option<Result<Pool, Vec<Fault>>> {
        match object {
            Object::EgressPool(o) => Some(native::pool(object, &o.spec)),
            Object::ExternalIPPool(o) => Some(dialect::antrea::pool(object, &o.spec)),
            Object::EgressGateway(o) => Some(dialect::deckhouse::gateway(object, &o.spec)),
            _ => None,
        }
    }
}

/// What is wrong with an object, as an API server with our rules would say it on admission. Empty: nothing.
pub fn check(object: &Object) -> Vec<Fault> {
    let policy = Intent::read(object).and_then(Result::err);
    let pool = Pool::read(object).and_then(Result::err);
    policy.or(pool).unwrap_or_default()
}

//! Why a policy has no address, in words that name the field and the cure.

use std::net::IpAddr;

use egret_api::{Kind, ObjectKey, Reason};

use crate::dialect::kube_vip;
use crate::fault::Fault;
use crate::intent::{Intent, Pool, Rank};
use crate::range::host;

pub(super) fn pool_field(key: &ObjectKey) -> &'static str {
    match key.kind {
        Kind::ExternalIPPool => "spec.externalIPPool",
        Kind::EgressGateway => "spec.egressGatewayName",
        _ => "spec.pool",
    }
}

pub(super) fn address_field(rank: &Rank) -> &'static str {
    match rank.key.kind {
        Kind::Egress => "spec.egressIP",
        Kind::LoxilbEgress => "spec.vip",
        Kind::Service => kube_vip::ADDRESS_FIELD,
        _ => "spec.address",
    }
}

/// An object that names an address and no pool asks an administrator for one.
pub(super) fn unpooled(intent: &Intent, address: IpAddr, reason: Reason, message: String) -> Fault {
    let namespace = &intent.rank.key.namespace;
    let cure = format!(
        "let an administrator write an EgressPool with `ranges: [{{cidr: {}}}]` and `namespaces: {{names: [{namespace}]}}`",
        host(address)
    );
    Fault::new(reason, address_field(&intent.rank), message, cure)
}

pub(super) fn not_granted(intent: &Intent, pool: &Pool) -> Fault {
    let namespace = &intent.rank.key.namespace;
    let message =
        format!("{} {} does not grant namespace {namespace}", pool.key.kind.as_str(), pool.key.name);
    match (pool.key.kind, intent.address) {
        (Kind::EgressPool, _) => {
            let field = if intent.pool.is_some() { "spec.pool" } else { address_field(&intent.rank) };
            let cure = format!("add {namespace} to spec.namespaces.names of the pool");
            Fault::new(Reason::NamespaceNotGranted, field, message, cure)
        }
        (_, Some(address)) => unpooled(intent, address, Reason::NamespaceNotGranted, message),
        (_, None) => Fault::new(Reason::NamespaceNotGranted, "spec.pool", message, "name an EgressPool"),
    }
}

pub(super) fn without_node(intent: &Intent, pool: &Pool) -> Fault {
    let name = format!("{} {}", pool.key.kind.as_str(), pool.key.name);
    let interface = pool.interface.as_deref().unwrap_or_default();
    match intent.address {
        Some(address) => Fault::new(
            Reason::AddressNotInPool,
            address_field(&intent.rank),
            format!("{address} is the own address of no node of {name}"),
            format!("name the first address of {interface} on one of its nodes, or leave the field out"),
        ),
        None => Fault::new(
            Reason::NoCandidate,
            pool_field(&pool.key),
            format!("no suitable node that {name} selects reports an address on {interface}"),
            format!("select a node with an address on {interface}, or correct the interface's name"),
        ),
    }
}

pub(super) fn still_given(intent: &Intent, address: IpAddr) -> Fault {
    Fault::new(
        Reason::AddressTaken,
        address_field(&intent.rank),
        format!("{address} is a node's own now, and another policy still has it from a pool"),
        "take it out of the pool's ranges",
    )
}

pub(super) fn exhausted(pool: &Pool) -> Fault {
    let (kind, name) = (pool.key.kind.as_str(), &pool.key.name);
    let ranges = match pool.key.kind {
        Kind::ExternalIPPool => "spec.ipRanges",
        _ => "spec.ranges",
    };
    Fault::new(
        Reason::PoolExhausted,
        pool_field(&pool.key),
        format!("every address of {kind} {name} is in use"),
        format!("add a range to {ranges} of {kind} {name}, or remove a policy that uses it"),
    )
}

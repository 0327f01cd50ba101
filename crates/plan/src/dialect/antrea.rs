//! `crd.antrea.io`: Egress and ExternalIPPool.

use egret_api::antrea::{EgressSpec, ExternalIpPoolSpec, IpRange};
use egret_api::{Kind, Object, ObjectKey, PortSettings, Reason, Timeouts, WhenUnavailable};

use crate::fault::Fault;
use crate::intent::{Grant, Intent, Namespaces, PodScope, Pool, Rank};
use crate::native::{Faults, everywhere, span};
use crate::range::{Range, read_address, read_net};
use crate::select::Selector;

/// Reads an Egress. It is for everything outside the cluster.
pub(crate) fn egress(rank: Rank, spec: &EgressSpec) -> Result<Intent, Vec<Fault>> {
    let mut faults = Faults(Vec::new());
    for (field, used) in
        [("egressIPs", !spec.egress_ips.is_empty()), ("externalIPPools", !spec.external_ip_pools.is_empty())]
    {
        if used {
            let (field, message) = (format!("spec.{field}"), format!("spec.{field} is not supported yet"));
            let cure = "write spec.egressIP and spec.externalIPPool";
            faults.0.push(Fault::new(Reason::NotSupportedByDialect, field, message, cure));
        }
    }
    let address = spec.egress_ip.as_deref().and_then(|ip| faults.take(read_address(ip, "spec.egressIP")));
    let pool = spec.external_ip_pool.clone().filter(|name| !name.is_empty()).map(|name| ObjectKey {
        kind: Kind::ExternalIPPool,
        namespace: String::new(),
        name,
    });
    if faults.0.is_empty() && address.is_none() && pool.is_none() {
        let message = "neither egressIP nor externalIPPool is given";
        faults.0.push(Fault::invalid("spec", message, "name an ExternalIPPool in spec.externalIPPool"));
    }
    let scope = &spec.applied_to;
    let mut read = |selector: &Option<_>, field: &str| {
        selector.as_ref().and_then(|s| faults.take(Selector::read(s, &format!("spec.appliedTo.{field}"))))
    };
    let pods = read(&scope.pod_selector, "podSelector");
    let namespaces = read(&scope.namespace_selector, "namespaceSelector");
    let selects = pods.is_some() || namespaces.is_some();
    let pods = selects.then(|| PodScope {
        namespaces: Namespaces::Matching(namespaces.unwrap_or_default()),
        pods: pods.unwrap_or_default(),
    });
    let when_unavailable = WhenUnavailable::Drop;
    faults.or(Some(Intent { rank, pods, traffic: everywhere(), pool, address, when_unavailable }))
}

/// Reads an ExternalIPPool.
pub(crate) fn pool(object: &Object, spec: &ExternalIpPoolSpec) -> Result<Pool, Vec<Fault>> {
    let mut faults = Faults(Vec::new());
    faults.at_most(&spec.ip_ranges, 1024, "spec.ipRanges");
    let mut ranges = Vec::new();
    for (i, r) in spec.ip_ranges.iter().take(1024).enumerate() {
        ranges.extend(faults.take(range(r, &format!("spec.ipRanges[{i}]"))).flatten());
    }
    let nodes = faults.take(Selector::read(&spec.node_selector, "spec.nodeSelector"));
    faults.or(nodes.map(|nodes| Pool {
        key: object.key(),
        created: object.metadata().creation_timestamp.as_ref().map(|t| t.0),
        ranges,
        nodes,
        interface: None,
        grant: Grant::default(),
        ports: PortSettings::default(),
        timeouts: Timeouts::default(),
    }))
}

fn range(r: &IpRange, field: &str) -> Result<Option<Range>, Fault> {
    let text = |field: &Option<String>| field.clone().filter(|t| !t.is_empty());
    match (text(&r.cidr), text(&r.start), text(&r.end)) {
        (Some(cidr), None, None) => Ok(Range::of_net_inner(read_net(&cidr, &format!("{field}.cidr"))?)),
        (None, Some(start), Some(end)) => span(&start, &end, field).map(Some),
        _ => Err(Fault::invalid(
            field,
            "a range is either cidr, or start and end",
            "write one of the two forms",
        )),
    }
}

//! `crd.antrea.io`: Egress and ExternalIPPool.

use std::collections::BTreeSet;

use egret_api::antrea::{Egress, ExternalIpPoolSpec, IpRange};
use egret_api::{Kind, Object, ObjectKey, PortSettings, Reason, Timeouts};

use super::{not_served, when_unavailable};
use crate::fault::Fault;
use crate::intent::{Beside, Grant, Intent, Namespaces, PodChoice, PodScope, Pool, Rank};
use crate::native::{Faults, everywhere, span};
use crate::range::{Range, read_address, read_net};
use crate::select::Selector;

/// Reads an Egress. It is for everything outside the cluster.
pub(crate) fn egress(rank: Rank, egress: &Egress) -> Result<Intent, Vec<Fault>> {
    let spec = &egress.spec;
    let (mut faults, mut remarks) = (Faults(Vec::new()), Vec::new());
    let address = faults.take(one(&spec.egress_ip, &spec.egress_ips, ["egressIP", "egressIPs"])).flatten();
    let pools = ["externalIPPool", "externalIPPools"];
    let pool = faults.take(one(&spec.external_ip_pool, &spec.external_ip_pools, pools)).flatten();
    let address = address.and_then(|(ip, field)| faults.take(read_address(ip, &format!("spec.{field}"))));
    let pool = pool.map(|(name, _)| ObjectKey {
        kind: Kind::ExternalIPPool,
        namespace: String::new(),
        name: name.to_owned(),
    });
    if faults.0.is_empty() && address.is_none() && pool.is_none() {
        let message = "neither egressIP nor externalIPPool is given";
        faults.0.push(Fault::invalid("spec", message, "name an ExternalIPPool in spec.externalIPPool"));
    }
    if spec.bandwidth.is_some() {
        let message = "is not enforced: the pods may send as much as they like";
        remarks.push(not_served(
            "spec.bandwidth",
            message,
            "remove it, or shape the pods' traffic elsewhere",
        ));
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
        pods: PodChoice::Labelled(pods.unwrap_or_default()),
    });
    let pods = pods.into_iter().collect();
    let when_unavailable = when_unavailable(&egress.metadata, &mut faults);
    faults.or(Some(Intent {
        rank,
        pods,
        traffic: everywhere(),
        pool,
        address,
        when_unavailable,
        frontends: BTreeSet::new(),
        beside: Beside::Nobody,
        remarks,
    }))
}

/// What is given once, or as a list of one, with the field that gives it. The dialect has lists in its schema, and
/// refuses them.
fn one<'a>(
    single: &'a Option<String>,
    list: &'a [String],
    [field, fields]: [&'static str; 2],
) -> Result<Option<(&'a str, &'static str)>, Fault> {
    let single = single.as_deref().filter(|text| !text.is_empty());
    match (single, list) {
        (None, []) => Ok(None),
        (None, [one]) if one.is_empty() => Ok(None),
        (None, [one]) => Ok(Some((one, fields))),
        (Some(one), []) => Ok(Some((one, field))),
        (Some(_), _) => {
            let message = format!("spec.{field} and spec.{fields} are both given");
            Err(Fault::invalid(format!("spec.{fields}"), message, "keep one of the two"))
        }
        (None, _) => {
            let message = format!("spec.{fields} with several entries is not supported yet");
            let cure = format!("write one entry, or spec.{field}, and an Egress for each address");
            Err(Fault::new(Reason::NotSupportedByDialect, format!("spec.{fields}"), message, cure))
        }
    }
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
        node_address: None,
        shared: None,
        nodes,
        suitable_nodes: false,
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

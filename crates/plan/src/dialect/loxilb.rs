//! `egress.loxilb.io`: Egress.

use std::collections::BTreeSet;

use egret_api::loxilb::Egress;
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{annotated, annotation, read_net_or_address, when_unavailable};
use crate::fault::Fault;
use crate::intent::{Beside, Intent, Namespaces, PodChoice, PodScope, Rank};
use crate::native::{Faults, everywhere};
use crate::range::read_address;
use crate::select::Selector;

/// Most addresses of one object.
const MANY: usize = 4096;
/// Networks, as `namespace/name` of their definitions, in which the selector means its pods.
const MULTUS: &str = "loxilb.io/multus-nets";

/// Reads an Egress: pods of its own namespace, to everything outside the cluster.
pub(crate) fn egress(rank: Rank, egress: &Egress) -> Result<Intent, Vec<Fault>> {
    let spec = &egress.spec;
    let (mut faults, mut remarks) = (Faults(Vec::new()), Faults(Vec::new()));
    let address = match spec.vip.trim() {
        "" => {
            faults.0.push(Fault::invalid(
                "spec.vip",
                "is missing",
                "write the address that the pods leave by",
            ));
            None
        }
        vip => faults.take(read_address(vip, "spec.vip")),
    };
    faults.at_most(&spec.addresses, MANY, "spec.addresses");
    let read = |(i, text): (usize, &String)| {
        remarks.take(read_net_or_address(text.trim(), &format!("spec.addresses[{i}]")))
    };
    let addresses: Vec<IpNet> = spec.addresses.iter().take(MANY).enumerate().filter_map(read).collect();
    let mut choices = Vec::new();
    if !addresses.is_empty() {
        choices.push(PodChoice::Addressed(addresses));
    }
    if !spec.selector.is_empty() {
        let labels = LabelSelector { match_labels: Some(spec.selector.clone()), match_expressions: None };
        let nets = annotation(&egress.metadata, MULTUS);
        let networks = networks(&rank.key.namespace, nets, &mut remarks);
        choices.extend(faults.take(Selector::read(&labels, "spec.selector")).map(
            |selector| match networks {
                None => PodChoice::Labelled(selector),
                Some(networks) => PodChoice::Attached(selector, networks),
            },
        ));
    }
    if spec.addresses.is_empty() && spec.selector.is_empty() {
        let message = "neither addresses nor a selector is given: no pod is selected";
        faults.0.push(Fault::invalid("spec", message, "write spec.addresses or spec.selector"));
    }
    if annotation(&egress.metadata, MULTUS).is_some() && spec.selector.is_empty() {
        let message = "says in which networks a selector means its pods, and there is no selector";
        let fault =
            Fault::invalid(annotated(MULTUS), message, "write spec.selector, or remove the annotation");
        remarks.0.push(fault);
    }
    let own = Namespaces::One(rank.key.namespace.clone());
    let pods = choices.into_iter().map(|pods| PodScope { namespaces: own.clone(), pods }).collect();
    let when_unavailable = when_unavailable(&egress.metadata, &mut faults);
    faults.or(Some(Intent {
        rank,
        pods,
        traffic: everywhere(),
        pool: None,
        address,
        when_unavailable,
        frontends: BTreeSet::new(),
        beside: Beside::Nobody,
        remarks: remarks.0,
    }))
}

/// The networks that the annotation names; one without a namespace is in the object's own.
fn networks(namespace: &str, text: Option<&str>, remarks: &mut Faults) -> Option<BTreeSet<String>> {
    let names: Vec<&str> = text?.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    remarks.at_most(&names, MANY, &annotated(MULTUS));
    let full = |name: &str| match name.split('/').collect::<Vec<_>>().as_slice() {
        [name] => Ok(format!("{namespace}/{name}")),
        [ns, definition] if !ns.is_empty() && !definition.is_empty() => Ok(name.to_owned()),
        _ => Err(Fault::invalid(
            annotated(MULTUS),
            format!("`{name}` is no network"),
            "write NAMESPACE/NAME of a NetworkAttachmentDefinition",
        )),
    };
    Some(names.into_iter().take(MANY).filter_map(|name| remarks.take(full(name))).collect())
}

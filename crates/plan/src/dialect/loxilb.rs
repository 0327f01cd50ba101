//! `egress.loxilb.io`: Egress.

use std::collections::BTreeSet;

use egret_api::loxilb::Egress;
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{annotated, annotation, not_served, read_net_or_address, when_unavailable};
use crate::fault::Fault;
use crate::intent::{Intent, Namespaces, PodChoice, PodScope, Rank};
use crate::native::{Faults, everywhere};
use crate::range::read_address;
use crate::select::Selector;

/// Most addresses of one object.
const MANY: usize = 4096;
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
        choices.extend(faults.take(Selector::read(&labels, "spec.selector")).map(PodChoice::Labelled));
    }
    if spec.addresses.is_empty() && spec.selector.is_empty() {
        let message = "neither addresses nor a selector is given: no pod is selected";
        faults.0.push(Fault::invalid("spec", message, "write spec.addresses or spec.selector"));
    }
    if annotation(&egress.metadata, MULTUS).is_some() {
        let message =
            "secondary interfaces are not served yet: only addresses in a pod's status.podIPs count";
        remarks.0.push(not_served(annotated(MULTUS), message, "remove the annotation"));
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
        remarks: remarks.0,
    }))
}

//! `network.deckhouse.io`: EgressGateway is a pool of one address, EgressGatewayPolicy a policy.

use std::collections::BTreeSet;
use std::net::IpAddr;

use egret_api::deckhouse::{EgressGatewayPolicy, EgressGatewaySpec, Mode, SourceIp, VirtualIp};
use egret_api::{Family, Kind, Object, ObjectKey, PortSettings, Timeouts};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::{traffic, when_unavailable};
use crate::fault::Fault;
use crate::intent::{Beside, Grant, Intent, Namespaces, PodChoice, PodScope, Pool, Rank};
use crate::native::Faults;
use crate::range::{Range, read_address, read_net};
use crate::select::Selector;
use crate::tables::PortMatch;
use crate::world::NAME_LABEL;

/// Most networks, or selectors, of one policy.
const MANY: usize = 1024;
/// Labels that are not the pod's own.
const NAMESPACE: &str = "io.kubernetes.pod.namespace";
const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";

/// Reads an EgressGateway. Its policies share its one address.
pub(crate) fn gateway(object: &Object, spec: &EgressGatewaySpec) -> Result<Pool, Vec<Fault>> {
    let mut faults = Faults(Vec::new());
    let source = faults.take(source(spec.source_ip.as_ref()));
    let labels = LabelSelector { match_labels: Some(spec.node_selector.clone()), match_expressions: None };
    let nodes = faults.take(Selector::read(&labels, "spec.nodeSelector"));
    faults.or(source.zip(nodes).map(|(source, nodes)| {
        let pool = Pool {
            key: object.key(),
            created: object.metadata().creation_timestamp.as_ref().map(|t| t.0),
            ranges: Vec::new(),
            node_address: None,
            shared: None,
            nodes,
            suitable_nodes: true,
            interface: None,
            grant: Grant::default(),
            ports: PortSettings::default(),
            timeouts: Timeouts::default(),
        };
        match source {
            Source::Virtual(address, interface) => Pool {
                ranges: vec![Range { first: address, last: address }],
                shared: Some(address),
                interface,
                ..pool
            },
            Source::Primary(interface) => Pool {
                node_address: Some(Family::IPv4),
                interface: Some(interface),
                ports: PortSettings::of_node_address(),
                ..pool
            },
        }
    }))
}

/// Where a gateway's address comes from.
enum Source {
    /// The address, and the one interface that may carry it.
    Virtual(IpAddr, Option<String>),
    /// The interface whose address it is.
    Primary(String),
}

/// Of several interfaces the one whose subnet has the address carries it.
fn only_interface(address: &VirtualIp) -> Option<String> {
    let names: BTreeSet<&String> = address.interfaces.iter().filter(|name| !name.is_empty()).collect();
    names.first().filter(|_| names.len() == 1).map(|name| (*name).clone())
}

fn source(source: Option<&SourceIp>) -> Result<Source, Fault> {
    let Some(source) = source else {
        let cure = "write mode: VirtualIPAddress and virtualIPAddress.ip";
        return Err(Fault::invalid("spec.sourceIP", "is missing: there is no address to leave by", cure));
    };
    match (source.mode, &source.virtual_ip, &source.primary_ip) {
        (Mode::VirtualIPAddress, Some(address), None) => {
            let ip = read_address(&address.ip, "spec.sourceIP.virtualIPAddress.ip")?;
            Ok(Source::Virtual(ip, only_interface(address)))
        }
        (Mode::VirtualIPAddress, None, _) => Err(Fault::invalid(
            "spec.sourceIP.virtualIPAddress",
            "is missing although the mode is VirtualIPAddress",
            "write virtualIPAddress.ip",
        )),
        (Mode::PrimaryIPFromEgressGatewayNodeInterface, None, Some(own)) => match own.interface_name.trim() {
            "" => Err(Fault::invalid(
                "spec.sourceIP.primaryIPFromEgressGatewayNodeInterface.interfaceName",
                "is empty",
                "name the interface whose address the pods leave by",
            )),
            name => Ok(Source::Primary(name.to_owned())),
        },
        (Mode::PrimaryIPFromEgressGatewayNodeInterface, _, None) => Err(Fault::invalid(
            "spec.sourceIP.primaryIPFromEgressGatewayNodeInterface",
            "is missing although the mode is PrimaryIPFromEgressGatewayNodeInterface",
            "write interfaceName there, or use mode VirtualIPAddress",
        )),
        (_, Some(_), Some(_)) => {
            let message = "both virtualIPAddress and primaryIPFromEgressGatewayNodeInterface are given";
            Err(Fault::invalid("spec.sourceIP", message, "keep the one that the mode names"))
        }
    }
}

/// Reads an EgressGatewayPolicy.
pub(crate) fn policy(rank: Rank, policy: &EgressGatewayPolicy) -> Result<Intent, Vec<Fault>> {
    let spec = &policy.spec;
    let mut faults = Faults(Vec::new());
    let name = spec.egress_gateway_name.clone();
    if name.is_empty() {
        faults.0.push(Fault::invalid("spec.egressGatewayName", "is empty", "name an EgressGateway"));
    }
    let nets = networks(&mut faults, &spec.destination_cidrs, "spec.destinationCIDRs");
    if spec.destination_cidrs.is_empty() {
        let message = "no destination is given";
        faults.0.push(Fault::invalid("spec.destinationCIDRs", message, "list networks, 0.0.0.0/0 for all"));
    }
    let except = networks(&mut faults, &spec.excluded_cidrs, "spec.excludedCIDRs");
    if spec.selectors.is_empty() {
        faults.0.push(Fault::invalid("spec.selectors", "no pods are selected", "list a podSelector"));
    }
    faults.at_most(&spec.selectors, MANY, "spec.selectors");
    let selectors = spec.selectors.iter().take(MANY).enumerate();
    let pods = selectors.filter_map(|(i, selector)| {
        faults.take(scope(&selector.pod_selector, &format!("spec.selectors[{i}].podSelector")))
    });
    let pods = pods.collect();
    let when_unavailable = when_unavailable(&policy.metadata, &mut faults);
    let except: Vec<IpNet> = except.into_iter().collect();
    let pool = ObjectKey { kind: Kind::EgressGateway, namespace: String::new(), name };
    faults.or(Some(Intent {
        rank,
        pods,
        traffic: traffic(nets.into_iter().collect(), &except, &[PortMatch::Any]),
        pool: Some(pool),
        address: None,
        when_unavailable,
        frontends: BTreeSet::new(),
        beside: Beside::Nobody,
        remarks: Vec::new(),
    }))
}

fn networks(faults: &mut Faults, texts: &[String], field: &str) -> BTreeSet<IpNet> {
    faults.at_most(texts, MANY, field);
    let texts = texts.iter().take(MANY).enumerate();
    texts.filter_map(|(i, text)| faults.take(read_net(text, &format!("{field}[{i}]")))).collect()
}

/// A selector of pods, less the labels that stand for their namespace.
fn scope(selector: &LabelSelector, field: &str) -> Result<PodScope, Fault> {
    let of_namespace = |key: &str| match key {
        NAMESPACE => Some(NAME_LABEL.to_owned()),
        key => key.strip_prefix(NAMESPACE_LABELS).map(str::to_owned),
    };
    let (mut namespaces, mut pods) = (LabelSelector::default(), LabelSelector::default());
    for (key, value) in selector.match_labels.iter().flatten() {
        let (side, key) = match of_namespace(key) {
            Some(key) => (&mut namespaces, key),
            None => (&mut pods, key.clone()),
        };
        side.match_labels.get_or_insert_default().insert(key, value.clone());
    }
    for requirement in selector.match_expressions.iter().flatten() {
        let (side, key) = match of_namespace(&requirement.key) {
            Some(key) => (&mut namespaces, key),
            None => (&mut pods, requirement.key.clone()),
        };
        let requirement = LabelSelectorRequirement { key, ..requirement.clone() };
        side.match_expressions.get_or_insert_default().push(requirement);
    }
    Ok(PodScope {
        namespaces: Namespaces::Matching(Selector::read(&namespaces, field)?),
        pods: PodChoice::Labelled(Selector::read(&pods, field)?),
    })
}

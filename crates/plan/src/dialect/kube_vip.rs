//! kube-vip: a Service of type LoadBalancer whose annotations say that its pods leave by its address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::is_own_condition;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Value, json};

use super::{annotated, annotation, not_served, traffic, when_unavailable};
use crate::fault::Fault;
use crate::intent::{Beside, Intent, Namespaces, PodChoice, PodScope, Rank, Traffic};
use crate::native::{Faults, everywhere};
use crate::range::{read_address, read_net};
use crate::select::Selector;
use crate::tables::PortMatch;

/// The type of our condition on a Service, which has others, too.
pub(crate) const CONDITION: &str = "egret.dev/EgressReady";
/// Where a person may ask for an address.
pub(crate) const ADDRESS_FIELD: &str = "metadata.annotations[kube-vip.io/loadbalancerIPs]";

const CLASS: &str = "kube-vip.io/kube-vip-class";
const ADDRESSES: &str = "kube-vip.io/loadbalancerIPs";
const PORTS: &str = "kube-vip.io/egress-destination-ports";
const ALLOWED: &str = "kube-vip.io/egress-allowed-networks";
const DENIED: &str = "kube-vip.io/egress-denied-networks";
const INTERFACE: &str = "kube-vip.io/serviceInterface";
/// Most entries of a list in an annotation.
const MANY: usize = 256;

/// Reads a Service; `None` if kube-vip would not let its pods leave by it.
pub(crate) fn service(rank: Rank, service: &Service) -> Option<Result<Intent, Vec<Fault>>> {
    let (metadata, spec) = (&service.metadata, service.spec.as_ref()?);
    let says = |name: &str| annotation(metadata, &format!("kube-vip.io/{name}")) == Some("true");
    let ours = spec.load_balancer_class.as_deref().is_none_or(|class| class == CLASS);
    if spec.type_.as_deref() != Some("LoadBalancer") || !ours || !says("egress") || says("ignore") {
        return None;
    }
    let (mut faults, mut remarks) = (Faults(Vec::new()), Faults(Vec::new()));
    let labels = LabelSelector { match_labels: spec.selector.clone(), match_expressions: None };
    let pods = faults.take(Selector::read(&labels, "spec.selector")).map(|pods| PodScope {
        namespaces: Namespaces::One(rank.key.namespace.clone()),
        pods: PodChoice::Labelled(pods),
    });
    if spec.selector.as_ref().is_none_or(|selector| selector.is_empty()) {
        let message = "the Service has no selector: nobody knows which pods are behind it";
        faults.0.push(Fault::invalid("spec.selector", message, "select the pods by label"));
    }
    if annotation(metadata, INTERFACE).is_some_and(|name| name != "auto") {
        let message = "the interface is the pool's to choose";
        let cure =
            "remove the annotation, and write spec.interface of the EgressPool if its subnet does not tell";
        remarks.0.push(not_served(annotated(INTERFACE), message, cure));
    }
    let address = address(service, says("egress-ipv6"), &mut remarks);
    let traffic = where_to(service, &mut faults, &mut remarks);
    let when_unavailable = when_unavailable(metadata, &mut faults);
    let pods = pods.into_iter().collect();
    let remarks = remarks.0;
    let frontends = frontends(spec);
    Some(faults.or(Some(Intent {
        rank,
        pods,
        traffic,
        pool: None,
        address,
        when_unavailable,
        frontends,
        beside: beside(spec),
        remarks,
    })))
}

/// The ports by which the Service is reached at its address.
fn frontends(spec: &ServiceSpec) -> BTreeSet<u16> {
    spec.ports.iter().flatten().filter_map(|port| u16::try_from(port.port).ok()).collect()
}

/// kube-proxy of a node answers for a Service with `externalTrafficPolicy: Local` only if one of its pods runs there.
fn beside(spec: &ServiceSpec) -> Beside {
    match (spec.external_traffic_policy.as_deref(), spec.publish_not_ready_addresses) {
        (Some("Local"), Some(true)) => Beside::AnyPod,
        (Some("Local"), _) => Beside::ReadyPod,
        _ => Beside::Nobody,
    }
}

/// The address by which the Service's pods leave, as kube-vip finds it: what the annotation asks for; else what
/// the spec asks for, if it is not given yet; else what was given.
fn address(service: &Service, v6: bool, remarks: &mut Faults) -> Option<IpAddr> {
    let asked: Vec<IpAddr> = list(annotation(&service.metadata, ADDRESSES))
        .filter_map(|text| remarks.take(read_address(text, ADDRESS_FIELD)))
        .collect();
    let given = service.status.as_ref().and_then(|s| s.load_balancer.as_ref()?.ingress.as_ref());
    let given: Vec<IpAddr> = (given.into_iter().flatten())
        .filter_map(|ingress| read_address(ingress.ip.as_deref()?, "status").ok())
        .collect();
    let spec = service.spec.as_ref().and_then(|s| s.load_balancer_ip.as_deref()).filter(|ip| !ip.is_empty());
    let spec = spec.and_then(|ip| remarks.take(read_address(ip, "spec.loadBalancerIP")));
    let addresses = match (asked.is_empty(), spec) {
        (false, _) => asked,
        (true, Some(spec)) if !given.contains(&spec) => vec![spec],
        (true, _) => given,
    };
    // Unspecified asks for DHCP.
    let mut usable = addresses.into_iter().filter(|a| !a.is_unspecified());
    match v6 {
        true => usable.find(IpAddr::is_ipv6),
        false => {
            let usable: Vec<IpAddr> = usable.collect();
            usable.iter().find(|a| a.is_ipv4()).or(usable.first()).copied()
        }
    }
}

fn where_to(service: &Service, faults: &mut Faults, remarks: &mut Faults) -> Vec<Traffic> {
    let text = |name: &str| annotation(&service.metadata, name);
    for name in [PORTS, ALLOWED] {
        remarks.at_most(&list(text(name)).collect::<Vec<_>>(), MANY, &annotated(name));
    }
    faults.at_most(&list(text(DENIED)).collect::<Vec<_>>(), MANY, &annotated(DENIED));
    let ports = match text(PORTS) {
        None => vec![PortMatch::Any],
        ports => list(ports).take(MANY).filter_map(|text| remarks.take(port(text))).collect(),
    };
    let nets = match text(ALLOWED) {
        None => everywhere().into_iter().map(|t| t.net).collect(),
        nets => {
            let read = |text| remarks.take(read_net(text, &annotated(ALLOWED)));
            list(nets).take(MANY).filter_map(read).collect()
        }
    };
    // A network that should be spared and cannot be read makes the whole object void: what is left would be too much.
    let read = |text| faults.take(read_net(text, &annotated(DENIED)));
    let except: Vec<_> = list(text(DENIED)).filter_map(read).collect();
    traffic(nets, &except, &ports)
}

/// `udp:5060`; a port without protocol is TCP's.
fn port(text: &str) -> Result<PortMatch, Fault> {
    let (protocol, port) = text.split_once(':').unwrap_or(("tcp", text));
    let number = port.trim().parse::<u16>().ok().filter(|port| *port > 0);
    match (protocol.trim().to_ascii_lowercase().as_str(), number) {
        ("tcp", Some(port)) => Ok(PortMatch::Tcp(port, port)),
        ("udp", Some(port)) => Ok(PortMatch::Udp(port, port)),
        ("sctp", Some(_)) => Err(not_served(
            annotated(PORTS),
            &format!("`{text}`: SCTP cannot share an address"),
            "remove the entry",
        )),
        _ => Err(Fault::invalid(
            annotated(PORTS),
            format!("`{text}` is no protocol and port"),
            "write it as udp:5060 or tcp:8080",
        )),
    }
}

/// The entries of a list with commas.
fn list(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|entry| !entry.is_empty())
}

/// What we told of a Service: those of its conditions that are ours, and with them what annotations tell.
pub(crate) fn told(service: &Service) -> Value {
    let conditions = service.status.iter().filter_map(|s| s.conditions.as_ref()).flatten();
    let ours: Vec<_> = conditions.filter(|c| is_own_condition(&c.type_)).collect();
    let annotations: BTreeMap<&String, &String> = (service.metadata.annotations.iter().flatten())
        .filter(|(name, _)| egret_api::service::TOLD.contains(&name.as_str()))
        .collect();
    match (ours.is_empty(), annotations.is_empty()) {
        (true, _) => Value::Null,
        (false, true) => json!({"conditions": ours}),
        (false, false) => json!({"conditions": ours, "annotations": annotations}),
    }
}

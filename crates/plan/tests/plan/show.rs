//! Plans and statuses as text for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use egret_api::{Kind, Object};
use egret_plan::tables::{Captured, Path, PortMatch, PortRule, RuleSetId, Timers};
use egret_plan::{Change, NodePlan};
use serde_json::Value;

use crate::sim::Cluster;

/// Records of addresses: who uses them, who may serve them, whose their ports are.
pub fn addresses(cluster: &Cluster) -> String {
    let mut text = String::new();
    for record in cluster.world.records().values() {
        let spec = &record.spec;
        let claims: Vec<String> = (spec.claims.iter())
            .map(|c| match c.namespace.as_str() {
                "" => format!("{} {}", c.kind, c.name),
                namespace => format!("{} {namespace}/{}", c.kind, c.name),
            })
            .collect();
        let list = |items: &[String]| if items.is_empty() { "nobody".to_owned() } else { items.join(", ") };
        let _ = writeln!(text, "{} of {}, revision {}", spec.address, spec.pool, spec.revision);
        let _ = writeln!(text, "  used by     {}", list(&claims));
        let _ = writeln!(text, "  candidates  {}", list(&spec.candidates));
        if !spec.preferred.is_empty() {
            let _ = writeln!(text, "  preferred   {}", list(&spec.preferred));
        }
        let _ = write!(text, "{}", unusual(spec.pod_share, spec.timeouts.into()));
        for lease in &spec.leases {
            let last = lease.first_port + (spec.block_size - 1);
            let released = match &lease.released {
                Some(time) => format!(", released {}", time.0.strftime("%H:%M:%S")),
                None => String::new(),
            };
            let _ = writeln!(text, "  ports       {}-{last} {}{released}", lease.first_port, lease.node);
        }
    }
    text
}

/// What an address has that others mostly have not, a line each.
fn unusual(pod_share: u8, timers: Timers) -> String {
    let mut text = String::new();
    if pod_share != 2 {
        let _ = writeln!(text, "  share       one port in {pod_share} for a pod");
    }
    if timers != Timers::default() {
        let Timers { tcp_established, tcp_transitory, tcp_closed, udp, icmp } = timers;
        let tcp = format!("{tcp_established} {tcp_transitory} {tcp_closed}");
        let _ = writeln!(text, "  timeouts    tcp {tcp}, udp {udp}, icmp {icmp}");
    }
    text
}

/// What each policy and pool is told.
pub fn statuses(cluster: &Cluster) -> String {
    let mut text = String::new();
    for (key, object) in &cluster.objects {
        let value = object.encode().unwrap();
        let status = &value["status"];
        let word = |field: &str| status[field].as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        let head = match key.kind {
            Kind::EgressPool | Kind::ExternalIPPool => {
                format!("{} of {} addresses in use", status["usage"]["used"], status["usage"]["total"])
            }
            Kind::Egress => match (word("egressIP"), word("egressNode")) {
                (Some(ip), Some(node)) => format!("{ip} on {node}"),
                _ => "no address on any node".to_owned(),
            },
            Kind::EgressPolicy | Kind::ClusterEgressPolicy | Kind::EgressGatewayPolicy => {
                word("address").unwrap_or("no address".to_owned())
            }
            Kind::LoxilbEgress => match (word("vip"), word("node")) {
                (Some(vip), Some(node)) => format!("{vip} on {node}"),
                (vip, _) => vip.unwrap_or("no address".to_owned()),
            },
            Kind::EgressGateway => {
                let active = word("activeNodeName").unwrap_or("none".to_owned());
                format!("{} nodes ready, active: {active}", status["readyNodes"])
            }
            Kind::Service if status["conditions"].is_array() => {
                let given = status["loadBalancer"]["ingress"][0]["ip"].as_str();
                format!("given {}", given.unwrap_or("no address"))
            }
            _ => continue,
        };
        let _ = writeln!(text, "{key}: {head}");
        for name in egret_api::service::TOLD {
            if let Some(told) = value["metadata"]["annotations"][name].as_str() {
                let _ = writeln!(text, "  {name} {told}");
            }
        }
        if let Some(pods) = status["addresses"].as_array() {
            let pods: Vec<&str> = pods.iter().filter_map(Value::as_str).collect();
            let _ = writeln!(text, "  pods {}", pods.join(", "));
        }
        for c in status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let word = |field: &str| c[field].as_str().unwrap_or_default();
            let since: jiff::Timestamp = word("lastTransitionTime").parse().unwrap();
            let since = since.strftime("%H:%M:%S");
            let _ = writeln!(text, "  {}={} {} since {since}", word("type"), word("status"), word("reason"));
            let _ = writeln!(text, "    {}", word("message"));
        }
    }
    text
}

/// Other systems' objects in Egret's own kinds, and what these do not say.
pub fn import(cluster: &Cluster) -> String {
    let objects: Vec<Object> = cluster.objects.values().cloned().collect();
    let import = egret_plan::import(&objects);
    let mut text = String::new();
    for object in &import.objects {
        let _ = write!(text, "---\n{}", serde_saphyr::to_string(&object.encode().unwrap()).unwrap());
    }
    for (object, note) in &import.notes {
        let _ = writeln!(text, "# {object}: {note}");
    }
    text
}

/// Rule sets by letter, in the order in which they are met.
#[derive(Default)]
struct Letters(BTreeMap<RuleSetId, char>);

impl Letters {
    fn of(&mut self, id: RuleSetId) -> char {
        let next = char::from(b'A' + u8::try_from(self.0.len() % 26).unwrap());
        *self.0.entry(id).or_insert(next)
    }
}

/// The plan of a node.
pub fn plan(cluster: &Cluster, node: &str, plan: &NodePlan) -> String {
    let (mut text, tables, mut letters) = (String::new(), &plan.tables, Letters::default());
    let names: BTreeMap<IpAddr, String> = (cluster.world.pods_on(node))
        .flat_map(|((ns, name), pod)| pod.addresses.iter().map(move |a| (*a, format!("{ns}/{name}"))))
        .collect();
    for (address, pod) in &tables.pods {
        let rules =
            if pod.rules == 0 { "free".to_owned() } else { format!("rules {}", letters.of(pod.rules)) };
        let _ = writeln!(text, "pod     {:<22} {:<22} {rules}", names[address], address.to_string());
    }
    let mut sets: Vec<_> =
        tables.rules.iter().map(|((id, net), rules)| (letters.of(*id), net, rules)).collect();
    sets.sort();
    for (letter, net, rules) in sets {
        let rules: Vec<String> = rules.iter().map(rule).collect();
        let _ = writeln!(text, "rules {letter} {:<22} {}", net.to_string(), rules.join(", "));
    }
    for (address, entry) in &tables.egress {
        let path = match entry.path {
            Path::None => "no gateway: dropped".to_owned(),
            Path::Wire(_) => "out of this node's own wire".to_owned(),
            Path::Overlay(gateway) => format!("overlay to {gateway}"),
            Path::Link(gateway, _) => format!("link to {gateway}"),
        };
        let range = |first: &u16| format!("{first}-{}", first + (entry.block_size - 1));
        let blocks: Vec<String> = entry.blocks.iter().map(range).collect();
        let ports = if blocks.is_empty() { "no ports: dropped".to_owned() } else { blocks.join(" ") };
        let _ = writeln!(text, "egress  {address}: {path}; ports {ports}");
        let _ = write!(text, "{}", unusual(entry.pod_share, entry.timers));
    }
    for (address, entry) in &tables.served {
        let role = if entry.holder { "holder: answers for it" } else { "stands by" };
        let _ = writeln!(text, "serves  {address}: {role}");
    }
    let mut leases: BTreeMap<(IpAddr, IpAddr), Vec<String>> = BTreeMap::new();
    for ((address, first), source) in &tables.leases {
        leases.entry((*address, *source)).or_default().push(first.to_string());
    }
    for ((address, source), firsts) in leases {
        let _ = writeln!(text, "leases  {address}: blocks {} to {source}", firsts.join(" "));
    }
    for (id, captured) in &tables.guard.captured {
        for each in captured {
            let _ = writeln!(text, "guard {} drops {}", letters.of(*id), range(each));
        }
    }
    for (name, address) in &plan.probes {
        let _ = writeln!(text, "probes  {name} at {address}");
    }
    for waits in plan.waits() {
        let _ = writeln!(text, "waits   {waits}");
    }
    text
}

fn rule(rule: &PortRule) -> String {
    let way = match rule.egress {
        None => "ordinary".to_owned(),
        Some(a) if a.is_unspecified() => "drop".to_owned(),
        Some(a) => format!("by {a}"),
    };
    format!("{} {way}", ports(rule.ports))
}

fn ports(ports: PortMatch) -> String {
    let span =
        |first: u16, last: u16| if first == last { first.to_string() } else { format!("{first}-{last}") };
    match ports {
        PortMatch::Any => "any".to_owned(),
        PortMatch::Tcp(first, last) => format!("tcp {}", span(first, last)),
        PortMatch::Udp(first, last) => format!("udp {}", span(first, last)),
    }
}

fn range(captured: &Captured) -> String {
    format!("{}-{} {}", captured.first, captured.last, ports(captured.ports))
}

/// The changes of a node's last turn, in order.
pub fn changes(changes: &[Change]) -> String {
    let mut letters = Letters::default();
    let line = |change: &Change| match change {
        Change::SetPod(a, p) if p.rules == 0 => format!("set pod {a} free"),
        Change::SetPod(a, p) => format!("set pod {a} rules {}", letters.of(p.rules)),
        Change::SetRule(id, net, rules) => {
            let list: Vec<String> = rules.iter().map(rule).collect();
            format!("set rules {} {net} {}", letters.of(*id), list.join(", "))
        }
        Change::RemoveRule(id, net) => format!("remove rules {} {net}", letters.of(*id)),
        Change::SetEgress(a, e) => format!("set egress {a} {:?} blocks {:?}", e.path, e.blocks),
        Change::SetGuard(_) => "set guard".to_owned(),
        Change::Settings(settings) => {
            let hops = settings.hops.v4.map(|a| a.to_string()).into_iter();
            let hops: Vec<String> = hops.chain(settings.hops.v6.map(|a| a.to_string())).collect();
            format!("set settings hop {}", hops.join(" "))
        }
        other => format!("{other:?}"),
    };
    changes.iter().map(line).map(|l| l + "\n").collect()
}

//! Other systems' objects as Egret's own: what they mean to the planner, written down in its own kinds.

use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_api::{
    AddressRange, ClusterEgressPolicy, ClusterEgressPolicySpec, Destination, EgressPolicy, EgressPolicySpec,
    EgressPool, EgressPoolSpec, Kind, NamespaceGrant, NodeAddress, Object, ObjectKey, Port, PortSettings,
    Protocol, Timeouts,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::facts::record_name;
use crate::fault::Fault;
use crate::intent::{Beside, Intent, Namespaces, PodChoice, PodScope, Pool, Traffic};
use crate::native::everywhere;
use crate::range::{Range, host};
use crate::tables::PortMatch;

/// Objects in Egret's own kinds, and what they do not say of the ones they stand for.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// Pools first, then policies, in the order of the objects they stand for.
    pub objects: Vec<Object>,
    /// What could not be carried over, and what a person should look at: one sentence each, with the object it is about.
    pub notes: Vec<(ObjectKey, String)>,
}

/// Writes objects of other systems in Egret's own kinds. Egret's own, and those of no interest to it, are left out.
pub fn import(objects: &[Object]) -> Import {
    let mut import = Import::default();
    let mut pools: BTreeMap<ObjectKey, Pool> = BTreeMap::new();
    for object in objects {
        match Pool::read(object) {
            Some(Ok(pool)) => {
                if pool.key.kind != Kind::EgressPool {
                    import.pool(&pool);
                }
                pools.insert(pool.key.clone(), pool);
            }
            Some(Err(faults)) => import.faults(object, &faults),
            None => {}
        }
    }
    for object in objects {
        let own = matches!(object.kind(), Kind::EgressPolicy | Kind::ClusterEgressPolicy);
        match Intent::read(object).filter(|_| !own) {
            Some(Ok(intent)) => import.policy(object, &intent, &pools),
            Some(Err(faults)) => import.faults(object, &faults),
            None => {}
        }
    }
    import
}

/// The system that an object comes from.
fn system(kind: Kind) -> &'static str {
    match kind {
        Kind::Egress | Kind::ExternalIPPool => "antrea",
        Kind::EgressGateway | Kind::EgressGatewayPolicy => "deckhouse",
        Kind::LoxilbEgress => "loxilb",
        Kind::Service => "kube-vip",
        _ => "egret",
    }
}

/// The name of what stands for an object.
fn name_of(key: &ObjectKey) -> String {
    match key.kind {
        Kind::EgressPool => key.name.clone(),
        kind => format!("{}-{}", system(kind), key.name),
    }
}

impl Import {
    fn note(&mut self, key: &ObjectKey, text: impl Into<String>) {
        self.notes.push((key.clone(), text.into()));
    }

    fn faults(&mut self, object: &Object, faults: &[Fault]) {
        for fault in faults {
            self.note(&object.key(), format!("left out: {fault}"));
        }
    }

    fn pool(&mut self, pool: &Pool) {
        let range = |range: &Range| AddressRange {
            cidr: None,
            start: Some(range.first.to_string()),
            end: Some(range.last.to_string()),
        };
        if pool.ranges.is_empty() && pool.node_address.is_none() {
            return self.note(&pool.key, "left out: it has no address to give out");
        }
        if pool.suitable_nodes {
            let text =
                "an EgressPool goes on using nodes that are cordoned or not Ready, as long as they answer";
            self.note(&pool.key, text);
        }
        let spec = EgressPoolSpec {
            ranges: pool.ranges.iter().map(range).collect(),
            node_address: pool.node_address.map(|family| NodeAddress { family }),
            node_selector: pool.nodes.to_label_selector(),
            interface: pool.interface.clone(),
            namespaces: None,
            ports: pool.ports.clone(),
            timeouts: pool.timeouts,
        };
        self.objects.push(Object::EgressPool(Box::new(EgressPool::new(&name_of(&pool.key), spec))));
    }

    fn policy(&mut self, object: &Object, intent: &Intent, pools: &BTreeMap<ObjectKey, Pool>) {
        let key = &intent.rank.key;
        for remark in &intent.remarks {
            self.note(key, format!("not carried over: {remark}"));
        }
        self.reached_from_outside(intent);
        let pool = intent.pool.as_ref().and_then(|pool| pools.get(pool));
        let given = given(object);
        let address = intent.address.or(pool.and_then(|pool| pool.shared)).or(given);
        let Some(pool) = self.pool_of(intent, pools) else { return };
        if intent.pods.is_empty() || intent.traffic.iter().all(spared) {
            return self.note(key, "left out: it selects no pods, or none of their packets");
        }
        let destinations: Vec<Destination> = match intent.traffic == everywhere() {
            true => Vec::new(),
            false => intent.traffic.iter().filter(|t| !spared(t)).map(destination).collect(),
        };
        let address = address.map(|a| a.to_string());
        let name = name_of(key);
        let when_unavailable = intent.when_unavailable;
        for (n, scope) in intent.pods.iter().enumerate() {
            let name = if intent.pods.len() == 1 { name.clone() } else { format!("{name}-{}", n + 1) };
            let PodScope { namespaces, pods: PodChoice::Labelled(pods) } = scope else {
                let text = "not carried over: pods by address, or in another network; select them by label";
                self.note(key, text);
                continue;
            };
            let pod_selector = pods.to_label_selector();
            let (destinations, pool, address) = (destinations.clone(), pool.clone(), address.clone());
            let policy = match namespaces {
                Namespaces::One(namespace) => {
                    let spec =
                        EgressPolicySpec { pod_selector, destinations, pool, address, when_unavailable };
                    let mut policy = EgressPolicy::new(&name, spec);
                    policy.metadata.namespace = Some(namespace.clone());
                    Object::EgressPolicy(Box::new(policy))
                }
                Namespaces::Matching(namespaces) => {
                    let namespace_selector = namespaces.to_label_selector();
                    let spec = ClusterEgressPolicySpec {
                        namespace_selector,
                        pod_selector,
                        destinations,
                        pool,
                        address,
                        when_unavailable,
                    };
                    Object::ClusterEgressPolicy(Box::new(ClusterEgressPolicy::new(&name, spec)))
                }
            };
            self.objects.push(policy);
        }
    }

    /// What Egret does for a Service at the address by which its pods leave, and for nothing else.
    fn reached_from_outside(&mut self, intent: &Intent) {
        if !intent.frontends.is_empty() {
            let ports: Vec<String> = intent.frontends.iter().map(u16::to_string).collect();
            let text = format!(
                "not carried over: that port {} of the address is the Service's; an EgressPolicy leases it like others: \
                 keep the Service as it is, or let its pods leave by another address",
                ports.join(", ")
            );
            self.note(&intent.rank.key, text);
        }
        if intent.beside != Beside::Nobody {
            let text = "not carried over: spec.externalTrafficPolicy: an EgressPolicy chooses no gateway by where pods \
                        run; let the pool select nodes that run one, or write Cluster";
            self.note(&intent.rank.key, text);
        }
    }

    /// The name of the pool that a policy's address comes from.
    fn pool_of(&mut self, intent: &Intent, pools: &BTreeMap<ObjectKey, Pool>) -> Option<String> {
        let key = &intent.rank.key;
        if let Some(pool) = &intent.pool {
            if !pools.contains_key(pool) {
                self.note(key, format!("{pool} is not among these objects: import it, too"));
            }
            return Some(name_of(pool));
        }
        let Some(address) = intent.address else {
            self.note(key, "left out: it has no address yet");
            return None;
        };
        if let Some(pool) = pools.values().find(|pool| pool.contains(address)) {
            return Some(name_of(&pool.key));
        }
        if key.kind == Kind::Egress {
            let text = "is a node's own: write an EgressPool with nodeAddress and the name of the interface";
            self.note(key, format!("left out: {address} {text}"));
            return None;
        }
        let text = format!(
            "the pool that is printed for {address} grants namespace {}: look whether it should",
            key.namespace
        );
        self.note(key, text);
        let name = format!("{}-{}", system(key.kind), record_name(address));
        let spec = EgressPoolSpec {
            ranges: vec![AddressRange { cidr: Some(host(address).to_string()), start: None, end: None }],
            node_address: None,
            node_selector: LabelSelector::default(),
            interface: None,
            namespaces: Some(NamespaceGrant { names: vec![key.namespace.clone()], selector: None }),
            ports: PortSettings::default(),
            timeouts: Timeouts::default(),
        };
        let pool = Object::EgressPool(Box::new(EgressPool::new(&name, spec)));
        if !self.objects.iter().any(|object| object.key() == pool.key()) {
            self.objects.push(pool);
        }
        Some(name)
    }
}

/// The address that an object's own status says it has: to keep it, it has to be asked for.
fn given(object: &Object) -> Option<IpAddr> {
    match object {
        Object::Egress(o) => o.status.as_ref()?.egress_ip.parse().ok(),
        _ => None,
    }
}

/// Nothing of the network is left.
fn spared(traffic: &Traffic) -> bool {
    traffic.except.iter().any(|except| except.contains(&traffic.net))
}

fn destination(traffic: &Traffic) -> Destination {
    let except = traffic.except.iter().filter(|except| traffic.net.contains(*except));
    Destination {
        cidr: traffic.net.to_string(),
        except: except.map(ToString::to_string).collect(),
        // None at all means every port.
        ports: traffic.ports.iter().map_while(port).collect(),
    }
}

fn port(ports: &PortMatch) -> Option<Port> {
    let (protocol, port, last) = match *ports {
        PortMatch::Any => return None,
        PortMatch::Tcp(port, last) => (Protocol::Tcp, port, last),
        PortMatch::Udp(port, last) => (Protocol::Udp, port, last),
    };
    Some(Port { protocol, port, end_port: (last != port).then_some(last) })
}

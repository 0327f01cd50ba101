//! Whose a flow is: names for the addresses that the kernel knows.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use egret_plan::tables::{LinkIndex, Tables};
use egret_plan::{Deciders, Packet, World};

/// Pods that have gone and are still known by name: their flows end a little later.
const GONE: usize = 1024;

/// A pod as the kernel knows it: another may get its address later, but not the same link.
type Place = (IpAddr, LinkIndex);

/// This node's pods.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<Place, Named>);

#[derive(Debug)]
struct Named {
    pod: Arc<str>,
    deciders: Arc<Deciders>,
}

impl Names {
    /// Those of the pods that are in these tables.
    pub(crate) fn of(world: &World, node: &str, tables: &Tables) -> Self {
        let mut names = BTreeMap::new();
        for ((namespace, name), facts) in world.pods_on(node) {
            let named = Arc::<str>::from(format!("{namespace}/{name}"));
            let deciders = Arc::new(Deciders::of(world, facts));
            for address in &facts.addresses {
                let Some(entry) = tables.pods.get(address) else { continue };
                let (pod, deciders) = (named.clone(), deciders.clone());
                // Of two that have one address, the first is served.
                names.entry((*address, entry.link)).or_insert(Named { pod, deciders });
            }
        }
        Self(names)
    }
}

/// The names that were true at one time or another.
#[derive(Debug, Default)]
pub(crate) struct Register {
    now: Arc<Names>,
    gone: BTreeMap<Place, Arc<str>>,
    order: VecDeque<Place>,
}

impl Register {
    /// These are true now.
    pub(crate) fn update(&mut self, now: Arc<Names>) {
        let before = std::mem::replace(&mut self.now, now);
        for (place, named) in before.0.iter().filter(|(place, _)| !self.now.0.contains_key(place)) {
            if self.gone.insert(*place, named.pod.clone()).is_none() {
                self.order.push_back(*place);
            }
        }
        while self.order.len() > GONE {
            self.order.pop_front().map(|place| self.gone.remove(&place));
        }
    }

    /// The pod at this place, or that was there last.
    pub(crate) fn pod(&self, place: Place) -> Option<&Arc<str>> {
        self.now.0.get(&place).map(|named| &named.pod).or_else(|| self.gone.get(&place))
    }

    /// The policy that decides about a packet of the pod at this place, as `Kind namespace/name`.
    pub(crate) fn policy(&self, place: Place, packet: Packet) -> Option<String> {
        Some(self.now.0.get(&place)?.deciders.decider(packet)?.rank.to_string())
    }
}

#[cfg(test)]
mod tests {
    use egret_api::Kind;
    use egret_plan::tables::PodEntry;
    use serde_json::json;

    use super::*;

    fn names(pods: &[(&str, &str, LinkIndex)]) -> Arc<Names> {
        let mut tables = Tables::default();
        let policy = json!({"metadata": {"name": "web", "namespace": "prod"},
            "spec": {"podSelector": {}, "pool": "prod", "address": "192.0.2.11",
                     "destinations": [{"cidr": "198.51.100.0/24"}]}});
        let mut objects = vec![
            Kind::Namespace.decode(json!({"metadata": {"name": "prod"}})).unwrap(),
            Kind::EgressPolicy.decode(policy).unwrap(),
        ];
        for (name, address, link) in pods {
            let pod = json!({"metadata": {"name": name, "namespace": "prod"},
                "spec": {"nodeName": "a", "containers": []}, "status": {"podIPs": [{"ip": address}]}});
            objects.push(Kind::Pod.decode(pod).unwrap());
            let entry = PodEntry { link: *link, mac: [0; 6], host_mac: [0; 6], rules: 1, shared: false };
            tables.pods.insert(address.parse().unwrap(), entry);
        }
        Arc::new(Names::of(&World::from_objects(objects), "a", &tables))
    }

    #[test]
    fn a_pod_that_went_is_known_beside_the_one_that_got_its_address() {
        let address: IpAddr = "10.244.1.10".parse().unwrap();
        let mut register = Register::default();
        let pod = |register: &Register, link| register.pod((address, link)).map(|pod| pod.to_string());
        register.update(names(&[("first", "10.244.1.10", 7)]));
        assert_eq!((pod(&register, 7).as_deref(), pod(&register, 8)), (Some("prod/first"), None));
        let packet = |remote: &str| Packet { address: remote.parse().unwrap(), protocol: 6, port: 443 };
        let policy = register.policy((address, 7), packet("198.51.100.9"));
        assert_eq!(policy.as_deref(), Some("EgressPolicy prod/web"));
        assert_eq!(register.policy((address, 7), packet("203.0.113.9")), None);
        register.update(names(&[("second", "10.244.1.10", 8)]));
        assert_eq!(pod(&register, 7).as_deref(), Some("prod/first"));
        assert_eq!(pod(&register, 8).as_deref(), Some("prod/second"));
        for link in 100..100 + GONE as LinkIndex + 1 {
            register.update(names(&[("many", "10.244.1.10", link)]));
        }
        assert_eq!(pod(&register, 7), None, "not for ever");
        assert!(register.gone.len() <= GONE);
    }
}

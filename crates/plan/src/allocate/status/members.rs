//! Statuses that name pods: LoxiLB's Egress, and kube-vip's annotations on a Service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::loxilb::EgressStatus;
use egret_api::{ObjectKey, service};
use serde_json::{Value, json};

use super::condition::value;
use super::{Standing, Teller};
use crate::dialect::kube_vip;
use crate::intent::Intent;
use crate::world::Written;

/// Most addresses of pods that a status lists.
const MANY: usize = 128;

impl Teller<'_, '_> {
    pub(super) fn loxilb(&self, key: &ObjectKey, written: &Written<Intent>, standing: &Standing) -> Value {
        let addresses = standing.address.map(|vip| self.members(key, vip)).unwrap_or_default();
        value(&EgressStatus {
            node: standing.holder.unwrap_or_default().to_owned(),
            vip: standing.address.map(|a| a.to_string()).unwrap_or_default(),
            addresses: addresses.iter().take(MANY).map(ToString::to_string).collect(),
            conditions: self.conditions(written, standing, "Ready"),
        })
    }

    /// Conditions, and the annotations in which kube-vip tells of a Service: never without a value, never of a node
    /// or pod that is gone.
    pub(super) fn service(&self, key: &ObjectKey, written: &Written<Intent>, standing: &Standing) -> Value {
        let mut annotations: BTreeMap<&str, String> = BTreeMap::new();
        if let (Some(_), Some(node)) = (standing.address, standing.holder) {
            annotations.insert(service::VIP_HOST, node.to_owned());
        }
        if let Some(vip) = standing.address {
            let name = match vip {
                IpAddr::V4(_) => service::ACTIVE_ENDPOINT,
                IpAddr::V6(_) => service::ACTIVE_ENDPOINT_V6,
            };
            // There it is the one pod that leaves by the address; here it is one of them, for as long as it is.
            let members = self.members(key, vip);
            let told = written.status["annotations"][name].as_str().and_then(|text| text.parse().ok());
            let one = told.filter(|pod| members.contains(pod)).or(members.first().copied());
            annotations.extend(one.map(|pod| (name, pod.to_string())));
        }
        let conditions = self.conditions(written, standing, kube_vip::CONDITION);
        match annotations.is_empty() {
            true => json!({"conditions": conditions}),
            false => json!({"conditions": conditions, "annotations": annotations}),
        }
    }

    /// Addresses, of the family of the egress address, of the pods that a policy selects.
    fn members(&self, key: &ObjectKey, like: IpAddr) -> BTreeSet<IpAddr> {
        let nodes = self.world.users_of(key);
        let pods = nodes.flat_map(|node| self.world.pods_on(node)).map(|(_, pod)| pod);
        let selected = pods.filter(|pod| pod.policies.iter().any(|intent| intent.rank.key == *key));
        selected.flat_map(|pod| &pod.addresses).copied().filter(|a| a.is_ipv4() == like.is_ipv4()).collect()
    }
}

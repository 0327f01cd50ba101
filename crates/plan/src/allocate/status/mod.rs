//! What each object is told, in the words of its own kind.

mod antrea;
mod condition;
mod deckhouse;
mod members;

use std::collections::BTreeSet;
use std::net::IpAddr;

use egret_api::{EgressAddressSpec, EgressPoolStatus, Kind, ObjectKey, PolicyStatus, Reason, Usage};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::Value;

use self::condition::{condition, value};
use super::Decision;
use super::decider::Decider;
use super::preferred::is_refused;
use super::record;
use crate::disputes::Families;
use crate::facts::record_name;
use crate::fault::Fault;
use crate::intent::{Intent, Pool, Rank};
use crate::world::{World, Written};
use crate::{node, rules};

/// What is known when a status is written.
pub(crate) struct Teller<'w, 'd> {
    pub world: &'w World,
    pub now: Timestamp,
    pub decision: &'d Decision,
    pub decider: &'d Decider,
}

/// Reason and message of a condition.
type Verdict = (Reason, String);

/// A status as it must be.
pub(crate) struct Told {
    pub status: Value,
    /// The store has it so.
    pub written: bool,
}

/// What there is to tell of a policy.
struct Standing<'a> {
    address: Option<IpAddr>,
    holder: Option<&'a str>,
    verdict: Verdict,
    /// What is not as the object wants it although it is in force, each with the type of its condition.
    remarks: Vec<(&'static str, Verdict)>,
}

impl Teller<'_, '_> {
    /// The status of a policy or pool. `None` if there is no such object.
    pub fn of(&self, key: &ObjectKey) -> Option<Told> {
        let told = |status: Value, before: &Value| Told { written: status == *before, status };
        if let Some(written) = self.world.pools().get(key) {
            return Some(told(self.pool(key, written), &written.status));
        }
        let written = self.world.policies().get(key)?;
        let standing = self.policy(key, written);
        let status = match key.kind {
            Kind::Egress => self.egress(written, &standing),
            Kind::Service => self.service(key, written, &standing),
            Kind::LoxilbEgress => self.loxilb(key, written, &standing),
            _ => value(&PolicyStatus {
                address: standing.address.map(|a| a.to_string()),
                conditions: self.conditions(written, &standing, "Ready"),
            }),
        };
        Some(told(status, &written.status))
    }

    /// The conditions of a policy; `ready` is the type of the first.
    fn conditions(&self, written: &Written<Intent>, standing: &Standing, ready: &str) -> Vec<Condition> {
        let good = standing.verdict.0 == Reason::Ready;
        let first = condition(written, ready, good, standing.verdict.clone(), self.now);
        let remarks = standing.remarks.iter().map(|(kind, verdict)| {
            let kind = match ready {
                "Ready" => (*kind).to_owned(),
                qualified => qualified.replace("Ready", kind),
            };
            condition(written, &kind, false, verdict.clone(), self.now)
        });
        std::iter::once(first).chain(remarks).collect()
    }

    fn policy(&self, key: &ObjectKey, written: &Written<Intent>) -> Standing<'_> {
        let (address, holder, verdict) = self.served(key, written);
        let mut remarks = Vec::new();
        if let Ok(intent) = &written.meaning {
            let record = address.and_then(|a| self.decision.addresses.get(&record_name(a)));
            let unreached = record.and_then(|record| self.unreached(intent, record));
            let partly: Vec<Fault> = intent.remarks.iter().cloned().chain(unreached).collect();
            if !partly.is_empty() {
                remarks.push(("FullyApplied", faulty(&partly)));
            }
        }
        if let Some(told) = self.outranked(key) {
            remarks.push(("Undisputed", (Reason::Outranked, told)));
        }
        Standing { address, holder, verdict, remarks }
    }

    /// What is wrong where nobody reaches a Service at its address, because of which nodes run its pods.
    fn unreached(&self, intent: &Intent, record: &EgressAddressSpec) -> Option<Fault> {
        if !is_refused(self.world, intent, &record.preferred) || record.candidates.is_empty() {
            return None;
        }
        let where_held = match record.preferred.is_empty() {
            true => "none of the nodes that may hold ADDRESS runs a ready pod of the Service",
            false => "ADDRESS is held where another Service's pods are",
        };
        let message = format!(
            "is Local, and {}: pods leave by it, but kube-proxy there lets nobody in",
            where_held.replace("ADDRESS", &record.address)
        );
        let cure = format!(
            "run a pod on {}, let {} select nodes that run one, or write Cluster",
            one_of(&record.candidates),
            record.pool
        );
        Some(Fault::new(Reason::NoLocalPod, "spec.externalTrafficPolicy", message, cure))
    }

    /// Which policies come before this one and decide otherwise, if some do.
    fn outranked(&self, key: &ObjectKey) -> Option<String> {
        let address = |key: &ObjectKey| self.decider.claims.address(key);
        let mine = self.families(key);
        let meets = |(rank, meet): &(&Rank, Families)| {
            let theirs = self.families(&rank.key);
            let same = address(key).is_some() && address(key) == address(&rank.key);
            !same && (meet.v4 && mine.v4 && theirs.v4 || meet.v6 && mine.v6 && theirs.v6)
        };
        let first: Vec<String> =
            self.world.rivals(key).filter(meets).map(|(rank, _)| rank.to_string()).collect();
        let more = match first.len() {
            0 => return None,
            count @ ..=3 => format!("{} decide{}", first.join(", "), if count == 1 { "s" } else { "" }),
            count => format!("{} and {} more decide", first[..3].join(", "), count - 3),
        };
        Some(format!(
            "for some of its pods, where both match, {more} first; `egret explain pod NAMESPACE/NAME` tells of each; \
             select other pods, or other destinations, in one of the two"
        ))
    }

    /// The families that a policy captures.
    fn families(&self, key: &ObjectKey) -> Families {
        let intent = self.world.policies().get(key).and_then(|p| p.meaning.as_ref().ok());
        let verdict = self.decider.claims.address(key).map_or(rules::Verdict::Drop, rules::Verdict::Egress);
        let (v4, v6) = intent.map_or((false, false), |i| node::families(self.world, i, verdict));
        Families { v4, v6 }
    }

    /// A policy's address, the holder, and the reason and message of its first condition.
    fn served(&self, key: &ObjectKey, written: &Written<Intent>) -> (Option<IpAddr>, Option<&str>, Verdict) {
        let intent = match &written.meaning {
            Err(faults) => return (None, None, faulty(faults)),
            Ok(intent) => intent,
        };
        let undecided = (Reason::Allocated, "not decided yet".to_owned());
        match self.decider.claims.outcomes.get(key) {
            Some(Err(fault)) => (None, None, (fault.reason, fault.to_string())),
            None => (None, None, undecided),
            Some(Ok(first)) => {
                let lives = |a: &IpAddr| self.decider.standings.get(a).is_some_and(|s| !s.dead);
                let address = self.decider.claims.addresses(key).find(lives).unwrap_or(*first);
                let record = self.decision.addresses.get(&record_name(address));
                match record.zip(self.decider.standings.get(&address)) {
                    None => (Some(address), None, undecided),
                    Some((record, standing)) => {
                        let verdict = serving(intent, address, record, standing);
                        (Some(address), standing.holder.as_deref(), verdict)
                    }
                }
            }
        }
    }

    fn pool(&self, key: &ObjectKey, written: &Written<Pool>) -> Value {
        let claims = &self.decider.claims;
        let usable = claims.usable.get(key).map(Vec::as_slice).unwrap_or_default();
        let in_use = claims.in_use.get(key);
        let own = claims.own.of(key);
        let in_reserve = claims.own.in_reserve(key).iter();
        let used = in_use.map_or(0, BTreeSet::len)
            + in_reserve.filter(|own| claims.by_address.contains_key(&own.address)).count();
        // Addresses that an older pool has now, but that are kept.
        let kept = in_use.into_iter().flatten().filter(|a| !usable.iter().any(|r| r.contains(**a))).count();
        let total = usable.iter().map(|r| r.count()).sum::<u128>() + (kept + own.len()) as u128;
        let usage = Usage {
            total: i64::try_from(total).unwrap_or(i64::MAX),
            used: i64::try_from(used).unwrap_or(i64::MAX),
        };
        let verdict = match (&written.meaning, claims.overlaps.get(key).and_then(|o| o.first())) {
            (Err(faults), _) => faulty(faults),
            (Ok(_), Some((range, by))) => {
                let message = format!(
                    "{range} belongs to the older {by}, which keeps it; the rest of this pool is in force; remove the \
                     range from one of the two"
                );
                (Reason::PoolOverlap, message)
            }
            (Ok(pool), None) if pool.node_address.is_some() && own.is_empty() => {
                let interface = pool.interface.as_deref().unwrap_or_default();
                let message = format!(
                    "no node that its nodeSelector selects reports an address on {interface}; select a node that has \
                     one, or correct spec.interface"
                );
                (Reason::NoCandidate, message)
            }
            (Ok(_), None) => (Reason::Ready, format!("{used} of {total} addresses in use")),
        };
        match key.kind {
            Kind::ExternalIPPool => self.external_pool(written, usage, verdict),
            Kind::EgressGateway => self.gateway(written, verdict),
            _ => {
                let good = verdict.0 == Reason::Ready;
                let conditions = vec![condition(written, "Ready", good, verdict, self.now)];
                value(&EgressPoolStatus { usage, conditions })
            }
        }
    }
}

/// Reason and message of a policy that has an address.
fn serving(
    intent: &Intent,
    address: IpAddr,
    record: &EgressAddressSpec,
    standing: &record::Standing,
) -> Verdict {
    let pool = &record.pool;
    if rules::overflows(&intent.traffic) {
        let message = "spec.destinations: more than 16 port rules meet at one network, and what does not fit is \
                       dropped; join port ranges, or split the policy";
        return (Reason::TooManyPortRules, message.to_owned());
    }
    if record.candidates.is_empty() {
        let message = format!(
            "{pool}: no node that its nodeSelector selects reports a wire that reaches {address}; select a node \
             whose interface is in the address's subnet, or name the interface in the pool"
        );
        return (Reason::NoCandidate, message);
    }
    if let Some(node) = &standing.starved {
        let message = format!(
            "every port block of {address} is leased, and node {node} has none; use a smaller blockSize or \
             maxBlocks in {pool}, or spread the pods over more policies"
        );
        return (Reason::BlocksExhausted, message);
    }
    match &standing.holder {
        Some(holder) => (Reason::Ready, format!("pods leave by {address}, held by node {holder}")),
        None if standing.dead && record.node_address => {
            let message = format!(
                "{pool}, whose own address {address} is, does not answer, and no other node is suitable: bring it back, \
                 or let the pool select more nodes"
            );
            (Reason::NoGateway, message)
        }
        None if standing.dead => {
            let message = format!(
                "no gateway of {address} is alive: {}; bring one back, or let {pool} select more nodes",
                record.candidates.join(", ")
            );
            (Reason::NoGateway, message)
        }
        None => (Reason::Allocated, format!("{address} is allocated; no gateway holds it yet")),
    }
}

/// Names, of which one is to be chosen; the first of many.
fn one_of(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        [.., _, _, _, _] => format!("{} or one of {} others", names[..2].join(", "), names.len() - 2),
        _ => names.join(" or "),
    }
}

fn faulty(faults: &[Fault]) -> (Reason, String) {
    let reason = faults.first().map_or(Reason::InvalidField, |f| f.reason);
    (reason, faults.iter().take(8).map(ToString::to_string).collect::<Vec<_>>().join(". "))
}

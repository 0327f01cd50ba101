//! What each object is told, in the words of its own kind.

use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_api::antrea::{EgressCondition, EgressStatus, ExternalIpPoolStatus};
use egret_api::{EgressPoolStatus, Kind, ObjectKey, PolicyStatus, Reason, Usage};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::Value;

use super::Decision;
use super::claims::Claims;
use crate::elect;
use crate::facts::{Record, record_name};
use crate::fault::Fault;
use crate::intent::{Intent, Pool};
use crate::world::{World, Written};

/// What is known of a policy when its status is written.
struct Standing<'a> {
    world: &'a World,
    now: Timestamp,
    decision: &'a Decision,
    claims: &'a Claims,
    starved: &'a BTreeMap<IpAddr, Vec<String>>,
}

/// Writes every status.
pub(crate) fn write(
    world: &World,
    claims: &Claims,
    starved: &BTreeMap<IpAddr, Vec<String>>,
    now: Timestamp,
    decision: &mut Decision,
) {
    let standing = Standing { world, now, decision, claims, starved };
    let mut statuses = BTreeMap::new();
    for (key, written) in world.policies() {
        let (address, holder, verdict) = standing.policy(written);
        let status = match key.kind {
            Kind::Egress => standing.egress(written, address, holder, verdict),
            _ => {
                let conditions = vec![condition(written, verdict, now)];
                value(&PolicyStatus { address: address.map(|a| a.to_string()), conditions })
            }
        };
        statuses.insert(key.clone(), status);
    }
    let mut used: BTreeMap<&ObjectKey, i64> = BTreeMap::new();
    for each in claims.by_address.values() {
        *used.entry(&each.pool).or_default() += 1;
    }
    for (key, written) in world.pools() {
        statuses.insert(key.clone(), standing.pool(key, written, used.get(key).copied().unwrap_or(0)));
    }
    decision.statuses = statuses;
}

impl Standing<'_> {
    /// A policy's address, the holder, and the reason and message of its condition.
    fn policy(&self, written: &Written<Intent>) -> (Option<IpAddr>, Option<String>, (Reason, String)) {
        let intent = match &written.meaning {
            Err(faults) => return (None, None, faulty(faults)),
            Ok(intent) => intent,
        };
        let address = match self.claims.outcomes.get(&intent.rank) {
            Some(Ok(address)) => *address,
            Some(Err(fault)) => return (None, None, (fault.reason, fault.to_string())),
            None => return (None, None, (Reason::Allocated, "not decided yet".to_owned())),
        };
        let Some(spec) = self.decision.addresses.get(&record_name(address)) else {
            return (Some(address), None, (Reason::Allocated, "not decided yet".to_owned()));
        };
        let ranking = elect::ranking(address, &spec.candidates);
        let record = Record { spec: spec.clone(), address, ranking };
        let holder = super::reported_holder(self.world, &record).map(str::to_owned);
        let verdict = self.serving(intent, &record, holder.as_deref());
        (Some(address), holder, verdict)
    }

    fn serving(&self, intent: &Intent, record: &Record, holder: Option<&str>) -> (Reason, String) {
        let (address, pool) = (record.address, &record.spec.pool);
        if crate::rules::overflows(&intent.traffic) {
            let message = "spec.destinations: more than 16 port rules meet at one network, and what does not fit is \
                           dropped; join port ranges, or split the policy";
            return (Reason::TooManyPortRules, message.to_owned());
        }
        if record.spec.candidates.is_empty() {
            let message = format!(
                "{pool}: no node that its nodeSelector selects reports a wire that reaches {address}; select a node \
                 whose interface is in the address's subnet, or name the interface in the pool"
            );
            return (Reason::NoCandidate, message);
        }
        if let Some(node) = self.starved.get(&address).and_then(|nodes| nodes.first()) {
            let message = format!(
                "every port block of {address} is leased, and node {node} has none; use a smaller blockSize or \
                 maxBlocks in {pool}, or spread the pods over more policies"
            );
            return (Reason::BlocksExhausted, message);
        }
        match holder {
            Some(holder) => (Reason::Ready, format!("pods leave by {address}, held by node {holder}")),
            None if self.all_dead(record) => {
                let message = format!(
                    "no gateway of {address} is alive: {}; bring one back, or let {pool} select more nodes",
                    record.spec.candidates.join(", ")
                );
                (Reason::NoGateway, message)
            }
            None => (Reason::Allocated, format!("{address} is allocated; no gateway holds it yet")),
        }
    }

    /// No candidate says that it can carry packets, or a node that uses the address finds none alive.
    fn all_dead(&self, record: &Record) -> bool {
        let text = record.address.to_string();
        let interface = record.spec.interface.as_deref();
        let able = |candidate: &String| {
            self.world
                .reports()
                .get(candidate)
                .is_some_and(|r| r.spec.ready && r.wire(interface, record.address).is_some_and(|w| w.carrier))
        };
        let alone = |report: &crate::facts::Report| {
            report.spec.ready
                && report.spec.ports.contains_key(&text)
                && !report.spec.holders.contains_key(&text)
        };
        !record.spec.candidates.iter().any(able) || self.world.reports().values().any(alone)
    }

    fn egress(
        &self,
        written: &Written<Intent>,
        address: Option<IpAddr>,
        holder: Option<String>,
        (reason, message): (Reason, String),
    ) -> Value {
        let pooled = written.meaning.as_ref().map_or(true, |intent| intent.pool.is_some());
        let mut conditions = vec![match address {
            Some(_) => ("IPAllocated", true, "Allocated", "EgressIP is successfully allocated".to_owned()),
            None if pooled => {
                let message = format!("Cannot allocate EgressIP from ExternalIPPool: {message}");
                ("IPAllocated", false, "AllocationError", message)
            }
            None => ("IPAllocated", false, reason.as_str(), message.clone()),
        }];
        match (address, &holder) {
            (Some(_), Some(_)) => {
                let message = "EgressIP is successfully assigned to EgressNode".to_owned();
                conditions.push(("IPAssigned", true, "Assigned", message));
            }
            (Some(_), None) => {
                let message = format!("Failed to assign the IP to EgressNode: no Node available ({message})");
                conditions.push(("IPAssigned", false, "AssignmentError", message));
            }
            (None, _) => {}
        }
        let stamped = conditions.into_iter().map(|(kind, status, reason, message)| EgressCondition {
            r#type: kind.to_owned(),
            status: truth(status),
            reason: reason.to_owned(),
            message,
            last_transition_time: Some(since(&written.status, kind, status, self.now)),
        });
        value(&EgressStatus {
            egress_ip: address.filter(|_| holder.is_some()).map(|a| a.to_string()).unwrap_or_default(),
            egress_node: holder.unwrap_or_default(),
            conditions: stamped.collect(),
        })
    }

    fn pool(&self, key: &ObjectKey, written: &Written<Pool>, used: i64) -> Value {
        let usable = self.claims.usable.get(key).map(Vec::as_slice).unwrap_or_default();
        let total = usable.iter().map(|r| r.count()).sum::<u128>();
        let usage = Usage { total: i64::try_from(total).unwrap_or(i64::MAX), used };
        let verdict = match (&written.meaning, self.claims.overlaps.get(key).and_then(|o| o.first())) {
            (Err(faults), _) => faulty(faults),
            (Ok(_), Some((range, by))) => {
                let message = format!(
                    "{range} belongs to the older {by}, which keeps it; the rest of this pool is in force; remove the \
                     range from one of the two"
                );
                (Reason::PoolOverlap, message)
            }
            (Ok(_), None) => (Reason::Ready, format!("{used} of {total} addresses in use")),
        };
        match key.kind {
            Kind::ExternalIPPool => {
                let conditions = match verdict {
                    (Reason::Ready, _) => Vec::new(),
                    (reason, message) => vec![EgressCondition {
                        r#type: "Ready".to_owned(),
                        status: truth(false),
                        reason: reason.as_str().to_owned(),
                        message,
                        last_transition_time: Some(since(&written.status, "Ready", false, self.now)),
                    }],
                };
                value(&ExternalIpPoolStatus { usage, conditions })
            }
            _ => value(&EgressPoolStatus { usage, conditions: vec![condition(written, verdict, self.now)] }),
        }
    }
}

fn faulty(faults: &[Fault]) -> (Reason, String) {
    let reason = faults.first().map_or(Reason::InvalidField, |f| f.reason);
    (reason, faults.iter().take(8).map(ToString::to_string).collect::<Vec<_>>().join(". "))
}

fn condition<T>(written: &Written<T>, (reason, message): (Reason, String), now: Timestamp) -> Condition {
    let ready = reason == Reason::Ready;
    let at = since(&written.status, "Ready", ready, now).parse().unwrap_or(now);
    Condition {
        last_transition_time: Time(at),
        message,
        observed_generation: written.generation,
        reason: reason.as_str().to_owned(),
        status: truth(ready),
        type_: "Ready".to_owned(),
    }
}

/// When a condition last changed its truth: as the object says, if it says the same truth.
fn since(status: &Value, kind: &str, truthful: bool, now: Timestamp) -> String {
    let conditions =
        status.get("conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |c: &Value, field: &str| c.get(field).and_then(Value::as_str).map(str::to_owned);
    conditions
        .iter()
        .find(|c| text(c, "type").as_deref() == Some(kind) && text(c, "status") == Some(truth(truthful)))
        .and_then(|c| text(c, "lastTransitionTime"))
        .filter(|t| t.parse::<Timestamp>().is_ok())
        .unwrap_or_else(|| now.to_string())
}

fn truth(value: bool) -> String {
    if value { "True".to_owned() } else { "False".to_owned() }
}

fn value<T: serde::Serialize>(status: &T) -> Value {
    serde_json::to_value(status).unwrap_or(Value::Null)
}

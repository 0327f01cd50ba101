//! What each object is told, in the words of its own kind.

use std::collections::BTreeSet;
use std::net::IpAddr;

use egret_api::antrea::{EgressCondition, EgressStatus, ExternalIpPoolStatus};
use egret_api::{EgressAddressSpec, EgressPoolStatus, Kind, ObjectKey, PolicyStatus, Reason, Usage};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::Value;

use super::Decision;
use super::decider::Decider;
use super::record::Standing;
use crate::facts::record_name;
use crate::fault::Fault;
use crate::intent::{Intent, Pool};
use crate::rules;
use crate::world::{World, Written};

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

impl Teller<'_, '_> {
    /// The status of a policy or pool. `None` if there is no such object.
    pub fn of(&self, key: &ObjectKey) -> Option<Told> {
        let told = |status: Value, before: &Value| Told { written: status == *before, status };
        if let Some(written) = self.world.pools().get(key) {
            return Some(told(self.pool(key, written), &written.status));
        }
        let written = self.world.policies().get(key)?;
        let (address, holder, verdict) = self.policy(key, written);
        let status = match key.kind {
            Kind::Egress => self.egress(written, address, holder, verdict),
            _ => {
                let conditions = vec![condition(written, verdict, self.now)];
                value(&PolicyStatus { address: address.map(|a| a.to_string()), conditions })
            }
        };
        Some(told(status, &written.status))
    }

    /// A policy's address, the holder, and the reason and message of its condition.
    fn policy(&self, key: &ObjectKey, written: &Written<Intent>) -> (Option<IpAddr>, Option<&str>, Verdict) {
        let intent = match &written.meaning {
            Err(faults) => return (None, None, faulty(faults)),
            Ok(intent) => intent,
        };
        let undecided = (Reason::Allocated, "not decided yet".to_owned());
        match self.decider.claims.outcomes.get(key) {
            Some(Err(fault)) => (None, None, (fault.reason, fault.to_string())),
            None => (None, None, undecided),
            Some(Ok(address)) => {
                let record = self.decision.addresses.get(&record_name(*address));
                match record.zip(self.decider.standings.get(address)) {
                    None => (Some(*address), None, undecided),
                    Some((record, standing)) => {
                        let verdict = serving(intent, *address, record, standing);
                        (Some(*address), standing.holder.as_deref(), verdict)
                    }
                }
            }
        }
    }

    fn egress(
        &self,
        written: &Written<Intent>,
        address: Option<IpAddr>,
        holder: Option<&str>,
        (reason, message): Verdict,
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
        match (address, holder) {
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
            egress_node: holder.unwrap_or_default().to_owned(),
            conditions: stamped.collect(),
        })
    }

    fn pool(&self, key: &ObjectKey, written: &Written<Pool>) -> Value {
        let claims = &self.decider.claims;
        let usable = claims.usable.get(key).map(Vec::as_slice).unwrap_or_default();
        let in_use = claims.in_use.get(key);
        let used = in_use.map_or(0, BTreeSet::len);
        // Addresses that an older pool has now, but that are kept.
        let kept = in_use.into_iter().flatten().filter(|a| !usable.iter().any(|r| r.contains(**a))).count();
        let total = usable.iter().map(|r| r.count()).sum::<u128>() + kept as u128;
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

/// Reason and message of a policy that has an address.
fn serving(intent: &Intent, address: IpAddr, record: &EgressAddressSpec, standing: &Standing) -> Verdict {
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

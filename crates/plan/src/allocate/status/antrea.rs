//! Statuses in Antrea's words.

use egret_api::antrea::{EgressCondition, EgressStatus, ExternalIpPoolStatus};
use egret_api::{Reason, Usage};
use serde_json::Value;

use super::condition::{since, truth, value};
use super::{Standing, Teller, Verdict};
use crate::intent::{Intent, Pool};
use crate::world::Written;

impl Teller<'_, '_> {
    pub(super) fn egress(&self, written: &Written<Intent>, standing: &Standing) -> Value {
        let Standing { address, holder, verdict: (reason, message), remarks } = standing;
        let pooled = written.meaning.as_ref().map_or(true, |intent| intent.pool.is_some());
        let mut conditions = match (pooled, address, holder) {
            (true, Some(_), _) => {
                vec![("IPAllocated", true, "Allocated", "EgressIP is successfully allocated".to_owned())]
            }
            (true, None, _) => {
                let message = format!("Cannot allocate EgressIP from ExternalIPPool: {message}");
                vec![("IPAllocated", false, "AllocationError", message)]
            }
            // Nothing is allocated: as theirs, it has no conditions while all is well.
            (false, _, Some(_)) => Vec::new(),
            (false, _, None) => vec![("Ready", false, reason.as_str(), message.clone())],
        };
        match (address, holder) {
            _ if !pooled => {}
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
        for (kind, (reason, message)) in remarks {
            conditions.push((kind, false, reason.as_str(), message.clone()));
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

    pub(super) fn external_pool(&self, written: &Written<Pool>, usage: Usage, verdict: Verdict) -> Value {
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
}

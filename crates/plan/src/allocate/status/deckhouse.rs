//! Statuses in Deckhouse's words.

use egret_api::Reason;
use egret_api::deckhouse::{EgressGatewayStatus, GatewayCondition};
use serde_json::Value;

use super::condition::{since, truth, value};
use super::{Teller, Verdict};
use crate::allocate::own::OwnAddress;
use crate::facts::record_name;
use crate::intent::Pool;
use crate::world::Written;

impl Teller<'_, '_> {
    pub(super) fn gateway(&self, written: &Written<Pool>, verdict: Verdict) -> Value {
        let pool = written.meaning.as_ref().ok();
        match pool.filter(|pool| pool.node_address.is_some()) {
            Some(pool) => self.by_primary_address(written, pool, verdict),
            None => self.by_virtual_address(written, verdict),
        }
    }

    /// The node whose own address is used: the preferred one that nobody finds dead.
    fn by_primary_address(&self, written: &Written<Pool>, pool: &Pool, (told, message): Verdict) -> Value {
        let own = self.decider.claims.own.of(&pool.key);
        let able = |own: &&OwnAddress| {
            let report = self.world.reports().get(&own.node).filter(|report| report.ready);
            report.and_then(|report| report.own_wire(own.address)).is_some_and(|wire| wire.carrier)
        };
        let lives = |own: &&OwnAddress| self.decider.standings.get(&own.address).is_none_or(|s| !s.dead);
        let ready = own.iter().filter(able).count();
        let active = own.iter().filter(able).find(lives).map(|own| own.node.as_str());
        let (reason, message) = match (told, active) {
            (Reason::Ready | Reason::NoCandidate, Some(_)) => {
                ("ElectionSucceed", "Node was elected as active node".to_owned())
            }
            (Reason::Ready | Reason::NoCandidate, None) => {
                ("ElectionFailed", "There aren't ready Nodes".to_owned())
            }
            (other, _) => (other.as_str(), message),
        };
        self.told(written, ready, active, (reason == "ElectionSucceed", reason, message))
    }

    fn by_virtual_address(&self, written: &Written<Pool>, verdict: Verdict) -> Value {
        let pool = written.meaning.as_ref().ok();
        let address = pool.and_then(|p| p.shared);
        // Somebody else may still have the address.
        let own = address.filter(|a| {
            self.decider.claims.by_address.get(a).is_some_and(|used| pool.is_some_and(|p| p.key == used.pool))
        });
        let record = own.and_then(|a| self.decision.addresses.get(&record_name(a)));
        let ready = record.zip(own).map_or(0, |(record, address)| {
            let able = |node: &&String| self.world.able(node, record.interface.as_deref(), address);
            record.candidates.iter().filter(able).count()
        });
        let holder = own.and_then(|a| self.decider.standings.get(&a)).and_then(|s| s.holder.as_deref());
        let (reason, message) = match (verdict, ready, holder) {
            ((reason, message), ..) if reason != Reason::Ready => (reason.as_str(), message),
            _ if own.is_none() => (
                Reason::AddressTaken.as_str(),
                "another pool's policy still has the address; remove it, or choose another address"
                    .to_owned(),
            ),
            (_, 0, _) => ("ElectionFailed", "There aren't ready Nodes".to_owned()),
            (_, _, Some(node)) => (
                "ElectionSucceedAndVirtualIPAnnounced",
                format!("Node {node} was elected as active node and VirtualIP is announced"),
            ),
            (_, _, None) => ("VirtualIPAnnouncingFailed", "Can't announce VirtualIP".to_owned()),
        };
        let good = holder.is_some() && reason == "ElectionSucceedAndVirtualIPAnnounced";
        self.told(written, ready, holder, (good, reason, message))
    }

    fn told(
        &self,
        written: &Written<Pool>,
        ready: usize,
        active: Option<&str>,
        (good, reason, message): (bool, &str, String),
    ) -> Value {
        let at = since(&written.status, "Ready", good, self.now);
        value(&EgressGatewayStatus {
            observed_generation: written.generation,
            ready_nodes: i64::try_from(ready).unwrap_or(i64::MAX),
            active_node_name: active.unwrap_or_default().to_owned(),
            conditions: vec![GatewayCondition {
                r#type: "Ready".to_owned(),
                status: truth(good),
                reason: reason.to_owned(),
                message,
                last_transition_time: at.clone(),
                last_heartbeat_time: at,
            }],
        })
    }
}

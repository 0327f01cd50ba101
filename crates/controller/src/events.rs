//! What people are told when it happens: addresses given and taken, gateways that take over, objects at fault.
//!
//! A status says how things stand; an event says what changed, and why. Both come from the same decision.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::{EgressAddress, EgressAddressSpec, Kind, ObjectKey};
use egret_plan::World;
use egret_plan::allocate::Decider;
use egret_plan::facts::record_name;
use egret_store::Event;
use serde_json::Value;

/// The reasons of events besides those of conditions, each with its meaning.
pub const EVENTS: &[(&str, &str)] = &[
    ("AddressAssigned", "the object's pods leave by this address from now on"),
    ("AddressReleased", "the object's pods leave by this address no longer; of a pool: nobody does"),
    ("GatewayChanged", "another node holds the object's address from now on, and why"),
];

/// How an object stood when people were told last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Standing {
    address: Option<IpAddr>,
    /// The last node that held the address.
    holder: Option<String>,
    /// Reason and message of what is at fault.
    fault: Option<(String, String)>,
}

/// How everything stood when people were told last.
#[derive(Default)]
pub(crate) struct Told {
    standings: BTreeMap<ObjectKey, Standing>,
    /// All of it is known: what differs from it is news.
    begun: bool,
}

/// News that are not told yet: they come true when what was decided is written.
pub(crate) struct News {
    pub events: Vec<Event>,
    standings: BTreeMap<ObjectKey, Standing>,
}

impl Told {
    /// What changes with the decision. `records` are as the store has them.
    pub fn news(&self, world: &World, decider: &Decider, records: &BTreeMap<String, EgressAddress>) -> News {
        let statuses = &decider.decision().statuses;
        let mut news = News { events: Vec::new(), standings: BTreeMap::new() };
        if self.begun {
            for (key, status) in decider.untold().filter_map(|key| statuses.get_key_value(key)) {
                let before = self.standings.get(key).cloned().unwrap_or_default();
                news.add(world, decider, key, status, before);
            }
            return news;
        }
        // What the store holds was told by whoever wrote it.
        let untold: BTreeSet<&ObjectKey> = decider.untold().collect();
        for (key, status) in statuses {
            let claims = |(address, _): &(IpAddr, Option<&str>)| {
                let record = records.get(&record_name(*address));
                record.is_some_and(|record| is_claimed(&record.spec, key))
            };
            let served = decider.served(key).filter(claims);
            let before = Standing {
                address: served.map(|(address, _)| address),
                holder: served.and_then(|(_, holder)| holder).map(str::to_owned),
                fault: fault(status).filter(|_| !untold.contains(key)),
            };
            news.add(world, decider, key, status, before);
        }
        news
    }

    /// What was decided is written: the news are true.
    pub fn tell(&mut self, news: News) -> Vec<Event> {
        self.begun = true;
        self.standings.extend(news.standings);
        news.events
    }

    /// An object is gone.
    pub fn forget(&mut self, key: &ObjectKey) {
        self.standings.remove(key);
    }

    /// Somebody else may have told people meanwhile.
    pub fn begin_term(&mut self) {
        *self = Self::default();
    }
}

impl News {
    fn add(&mut self, world: &World, decider: &Decider, key: &ObjectKey, status: &Value, before: Standing) {
        let served = decider.served(key);
        let now = Standing {
            address: served.map(|(address, _)| address),
            // Who held it last is of use when somebody else does.
            holder: match served {
                Some((_, Some(holder))) => Some(holder.to_owned()),
                Some((address, None)) if before.address == Some(address) => before.holder.clone(),
                _ => None,
            },
            fault: fault(status),
        };
        let mut event = |warning, reason: &str, action, note| {
            let (regarding, reason) = (key.clone(), reason.to_owned());
            self.events.push(Event { regarding, warning, reason, action, note });
        };
        let pool = |address| {
            let record = decider.decision().addresses.get(&record_name(address));
            record.map_or("a pool", |record| &record.pool)
        };
        match (before.address, now.address) {
            (None, Some(address)) => {
                let note = format!("pods leave by {address}, of {}", pool(address));
                event(false, "AddressAssigned", "Allocate", note);
            }
            (Some(old), Some(address)) if old != address => {
                let note = format!("pods leave by {address}, of {}, and no longer by {old}", pool(address));
                event(false, "AddressAssigned", "Allocate", note);
            }
            (Some(old), None) => {
                event(false, "AddressReleased", "Allocate", format!("pods leave by {old} no longer"));
            }
            _ => {}
        }
        if let (Some(address), Some(holder)) = (now.address, &now.holder) {
            match before.holder.filter(|_| before.address == now.address) {
                None => {
                    event(false, "GatewayChanged", "Elect", format!("{address} is held by node {holder}"));
                }
                Some(old) if old != *holder => {
                    let why = why(world, decider, address, &old);
                    let note = format!("{address} is held by node {holder}, no longer by {old}: {why}");
                    event(false, "GatewayChanged", "Elect", note);
                }
                Some(_) => {}
            }
        }
        match (&before.fault, &now.fault) {
            (old, Some((reason, message))) if old.as_ref() != now.fault.as_ref() => {
                event(true, reason, "Decide", message.clone());
            }
            (Some((reason, _)), None) => {
                event(false, "Ready", "Decide", format!("no longer {reason}"));
            }
            _ => {}
        }
        self.standings.insert(key.clone(), now);
    }
}

/// An address that nobody has any more, told to its pool.
pub(crate) fn released(record: &EgressAddressSpec) -> Option<Event> {
    let (kind, name) = record.pool.split_once('/')?;
    let kind = *Kind::ALL.iter().find(|known| known.as_str() == kind)?;
    Some(Event {
        regarding: ObjectKey { kind, namespace: String::new(), name: name.to_owned() },
        warning: false,
        reason: "AddressReleased".to_owned(),
        action: "Allocate",
        note: format!("nobody leaves by {} any longer", record.address),
    })
}

fn is_claimed(record: &EgressAddressSpec, key: &ObjectKey) -> bool {
    record.claims.iter().any(|claim| {
        claim.kind == key.kind.as_str() && claim.namespace == key.namespace && claim.name == key.name
    })
}

/// Why a node holds an address no longer, as far as nodes report.
fn why(world: &World, decider: &Decider, address: IpAddr, node: &str) -> String {
    let record = decider.decision().addresses.get(&record_name(address));
    let candidate = record.is_some_and(|record| record.candidates.iter().any(|name| name == node));
    let interface = record.and_then(|record| record.interface.as_deref());
    match world.reports().get(node) {
        None => format!("{node} has no agent any more"),
        Some(_) if !candidate => {
            format!("{node} is no gateway of {} any more", record.map_or("its pool", |record| &record.pool))
        }
        Some(report) if !report.ready => format!("the agent of {node} is not ready"),
        Some(_) if !world.able(node, interface, address) => {
            format!("{node} has no wire with a carrier that reaches the address")
        }
        // It says itself that another one is to hold it.
        Some(report) if report.holders.get(&address).is_some_and(|holder| holder != node) => {
            format!("{node} has handed it over")
        }
        Some(_) => format!("{node} does not answer the nodes that use it"),
    }
}

/// Reason and message of the first condition that is not met, unless that is only a matter of time.
fn fault(status: &Value) -> Option<(String, String)> {
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let conditions = status.get("conditions")?.as_array()?;
    let unmet = conditions.iter().find(|condition| condition["status"] == "False")?;
    Some((text(unmet, "reason"), text(unmet, "message"))).filter(|(reason, _)| reason != "Allocated")
}

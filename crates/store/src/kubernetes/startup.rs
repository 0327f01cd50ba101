//! The start-up taint: a node that registers with it gets pods only when its agent is ready.
//!
//! An agent must not write Nodes, so the controller takes the taint away. What an agent said before its node was booted
//! says nothing: ready is who says so in the boot that the Node reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use egret_api::{Kind, ObjectKey};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::shared::Shared;
use super::words::{chain, code};
use super::write::ANSWER;

/// The key of the taint.
const TAINT: &str = "egret.dev/agent-not-ready";

/// A Node that has the taint.
#[derive(Clone, Debug, PartialEq)]
struct Tainted {
    /// The Node's version.
    version: String,
    /// Its boot, if it says which.
    boot: String,
    /// Its other taints.
    others: Vec<Value>,
}

/// Nodes that have the taint, and agents that are ready.
#[derive(Debug, Default)]
pub(crate) struct Startup {
    tainted: BTreeMap<String, Tainted>,
    /// The boot in which each agent is ready.
    ready: BTreeMap<String, String>,
    news: bool,
}

impl Startup {
    /// Takes note of an object as the server has it.
    pub(crate) fn see(&mut self, key: &ObjectKey, object: &Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        match key.kind {
            Kind::Node => {
                let taints = object.pointer("/spec/taints").and_then(Value::as_array);
                let (ours, others): (Vec<Value>, _) =
                    taints.into_iter().flatten().cloned().partition(|taint| taint["key"] == TAINT);
                if ours.is_empty() {
                    self.tainted.remove(&key.name);
                    return;
                }
                let (version, boot) = (text("/metadata/resourceVersion"), text("/status/nodeInfo/bootID"));
                let tainted = Tainted { version: version.to_owned(), boot: boot.to_owned(), others };
                self.tainted.insert(key.name.clone(), tainted);
                self.news = true;
            }
            Kind::EgressNode if object.pointer("/spec/ready") == Some(&Value::Bool(true)) => {
                let boot = text("/spec/bootId").to_owned();
                let before = self.ready.insert(key.name.clone(), boot.clone());
                self.news |= before.as_ref() != Some(&boot) && self.tainted.contains_key(&key.name);
            }
            Kind::EgressNode => drop(self.ready.remove(&key.name)),
            _ => {}
        }
    }

    /// An object is gone.
    pub(crate) fn forget(&mut self, kind: Kind, name: &str) {
        match kind {
            Kind::Node => drop(self.tainted.remove(name)),
            Kind::EgressNode => drop(self.ready.remove(name)),
            _ => {}
        }
    }

    /// Whether there may be something to do since the last time.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Nodes that need the taint no longer, with the change that takes it away from that version of them.
    fn due(&self) -> Vec<(String, Value)> {
        let due = |(name, node): &(&String, &Tainted)| match self.ready.get(*name) {
            // A Node that does not say in which boot it is cannot be told from another boot of it.
            Some(boot) => node.boot.is_empty() || *boot == node.boot,
            None => false,
        };
        let change = |(name, node): (&String, &Tainted)| {
            let taints = (!node.others.is_empty()).then_some(&node.others);
            (name.clone(), json!({"metadata": {"resourceVersion": node.version}, "spec": {"taints": taints}}))
        };
        self.tainted.iter().filter(due).map(change).collect()
    }
}

/// Takes the taint off every node whose agent is ready, for as long as it is driven.
pub(crate) async fn follow(client: Client, shared: Arc<Shared>) {
    let api: Api<Node> = Api::all(client);
    let (mut backoff, mut complained) = (Backoff::interrupted(), String::new());
    loop {
        let mut failed = false;
        for (name, change) in shared.with(|cache| cache.startup().due()) {
            let params = PatchParams::default();
            let error = match timeout(ANSWER, api.patch(&name, &params, &Patch::Merge(&change))).await {
                Ok(Ok(_)) => {
                    tracing::info!(node = name, "its agent is ready: the taint {TAINT} is taken away");
                    shared.with(|cache| cache.startup().forget(Kind::Node, &name));
                    continue;
                }
                // It has changed, or is gone: that is about to be heard.
                Ok(Err(error)) if matches!(code(&error), Some(404 | 409)) => continue,
                Ok(Err(error)) => chain(&error),
                Err(_) => format!("no answer for {} s", ANSWER.as_secs()),
            };
            failed = true;
            if error != complained {
                tracing::warn!(node = name, "the taint {TAINT} cannot be taken away: {error}");
                complained = error;
            }
        }
        if failed {
            sleep(backoff.next()).await;
        } else {
            backoff.reset();
            shared.started.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(startup: &mut Startup, boot: &str, taints: Value) {
        let key = ObjectKey { kind: Kind::Node, namespace: String::new(), name: "n".into() };
        let status = json!({"nodeInfo": {"bootID": boot}});
        let metadata = json!({"resourceVersion": "7"});
        startup.see(&key, &json!({"metadata": metadata, "spec": {"taints": taints}, "status": status}));
    }

    fn agent(startup: &mut Startup, boot: &str, ready: bool) {
        let key = ObjectKey { kind: Kind::EgressNode, namespace: String::new(), name: "n".into() };
        startup.see(&key, &json!({"spec": {"ready": ready, "bootId": boot}}));
    }

    #[test]
    fn only_who_is_ready_in_this_boot_is_let_in_and_other_taints_stay() {
        let ours = json!({"key": TAINT, "effect": "NoSchedule"});
        let other = json!({"key": "gpu", "value": "yes", "effect": "NoExecute"});
        let mut startup = Startup::default();
        node(&mut startup, "second", json!([other, ours]));
        assert!(startup.take_news() && startup.due().is_empty(), "nobody has reported");
        agent(&mut startup, "first", true);
        assert!(startup.due().is_empty(), "that was before the node was booted");
        agent(&mut startup, "second", false);
        assert!(startup.due().is_empty());
        assert!(startup.take_news());
        agent(&mut startup, "second", true);
        assert!(startup.take_news());
        let change = json!({"metadata": {"resourceVersion": "7"}, "spec": {"taints": [other]}});
        assert_eq!(startup.due(), [("n".to_owned(), change)]);
        agent(&mut startup, "second", true);
        assert!(!startup.take_news(), "what is said again is no news");
        node(&mut startup, "second", json!([other]));
        assert!(startup.due().is_empty(), "it is gone");
        node(&mut startup, "", json!([ours]));
        assert_eq!(startup.due()[0].1["spec"]["taints"], Value::Null, "no boot to compare with");
        startup.forget(Kind::EgressNode, "n");
        assert!(startup.due().is_empty());
    }
}

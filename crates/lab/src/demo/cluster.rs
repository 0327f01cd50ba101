//! The demo's cluster: the default topology, pods of four teams, and who holds an address.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use egret_api::Object;

use crate::apply;
use crate::pod::{self, PodRequest};
use crate::state::{Host, HostKind, Paths, State};
use crate::wait;

/// The manifests of the high-availability example of Antrea's documentation, as they stand there.
pub const ANTREA: &str = include_str!("../../demo/antrea-ha.yaml");
/// Egret's own resources.
pub const OWN: &str = include_str!("../../demo/own.yaml");
/// The address that the example gives to prod.
pub const PROD: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 11);
/// The address that the example gives to staging.
pub const STAGING: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 12);

/// The pods: namespace, name, label `app`, node.
const PODS: [(&str, &str, &str, &str); 13] = [
    ("prod", "prod-1", "web", "node-1"),
    ("prod", "prod-2", "web", "node-2"),
    ("prod", "prod-3", "web", "node-3"),
    ("prod", "prod-4", "web", "node-4"),
    ("prod", "prod-5", "web", "node-5"),
    ("prod", "prod-6", "web", "node-6"),
    ("staging", "staging-1", "web", "node-1"),
    ("staging", "staging-2", "web", "node-2"),
    ("staging", "staging-5", "web", "node-5"),
    ("billing", "ledger-2", "ledger", "node-2"),
    ("billing", "ledger-3", "ledger", "node-3"),
    ("default", "plain-1", "plain", "node-1"),
    ("default", "plain-4", "plain", "node-4"),
];

/// Makes the pods.
///
/// # Errors
/// The first that cannot be made.
pub fn make_pods(paths: &Paths, state: &mut State) -> Result<()> {
    for (namespace, name, app, node) in PODS {
        let labels = [("app".to_owned(), app.to_owned())].into();
        let (namespace, name, node) = (namespace.to_owned(), name.to_owned(), node.to_owned());
        pod::create(
            paths,
            state,
            &PodRequest {
                namespace,
                name,
                node,
                labels,
                second: None,
                process: Vec::new(),
                by_kubelet: false,
            },
        )?;
    }
    Ok(())
}

/// The pods of a namespace, with the node each is on.
pub fn pods<'a>(state: &'a State, namespace: &'a str) -> impl Iterator<Item = (&'a Host, &'a str)> {
    state.hosts.values().filter_map(move |host| {
        let pod = host.pod.as_ref().filter(|p| p.namespace == namespace)?;
        Some((host, pod.node.as_str()))
    })
}

/// The hosts outside, with their names.
pub fn outside(state: &State) -> impl Iterator<Item = (&String, &Host)> {
    state.hosts.iter().filter(|(_, h)| h.kind == HostKind::Outside)
}

/// Waits until one living node says that it holds an address, and returns it.
///
/// # Errors
/// When none does in time.
pub fn holder(paths: &Paths, state: &State, address: IpAddr) -> Result<String> {
    let mut found = String::new();
    let wanted = address.to_string();
    wait::until(paths, state, Duration::from_secs(10), |view| {
        let holds = |o: &Arc<Object>| match &**o {
            Object::EgressNode(n) if n.spec.holds.contains(&wanted) => n.metadata.name.clone(),
            _ => None,
        };
        let mut holders = view.snapshot.objects.iter().filter_map(holds).filter(|node| state.is_up(node));
        match (holders.next(), holders.next()) {
            (Some(one), None) => found = one,
            (Some(one), Some(other)) => return Ok(vec![format!("{one} or {other} to give up {wanted}")]),
            (None, _) => return Ok(vec![format!("a node to hold {wanted}")]),
        }
        Ok(Vec::new())
    })?;
    Ok(found)
}

/// Puts the manifests of the demo into the store.
///
/// # Errors
/// When the store cannot be written.
pub fn apply(paths: &Paths, state: &State, name: &str, text: &str) -> Result<()> {
    let problems = apply::apply_text(paths, state, name, text)?;
    ensure!(problems.is_empty(), "{name}: {}", problems.join("; "));
    Ok(())
}

//! Which source the outside servers see, for every pod, and which they should.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::cluster::{self, PROD, STAGING};
use crate::state::State;
use crate::traffic::server;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one server saw of one pod.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Sighting {
    /// The pod, as `namespace/name`.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// The server's host.
    pub server: String,
    /// The server's address.
    pub address: IpAddr,
    /// The source that the server saw; `None`: no connection came about.
    pub seen: Option<IpAddr>,
    /// The source that it should have seen; `None`: none.
    pub expected: Option<IpAddr>,
}

impl Sighting {
    /// The server saw what it should.
    pub fn is_right(&self) -> bool {
        self.seen.is_some() && self.seen == self.expected
    }
}

/// Asks from every pod to every outside server, by IPv4 and IPv6. `ordinary`: what each saw before there was
/// any policy; without it, whatever is seen is expected.
///
/// # Errors
/// When a host is missing.
pub fn look(state: &State, ordinary: Option<&Ordinary>) -> Result<Vec<Sighting>> {
    let mut sightings = Vec::new();
    for host in state.hosts.values() {
        let Some(pod) = host.pod.as_ref().filter(|p| state.is_up(&p.node)) else { continue };
        for (server, outside) in cluster::outside(state) {
            for address in &outside.addresses {
                // No policy of the example speaks of IPv6; one is looked at for it.
                if address.is_ipv6() && pod.namespace != "billing" {
                    continue;
                }
                let seen = server::ask(&host.netns, *address, PATIENCE).ok();
                let name = format!("{}/{}", pod.namespace, pod.name);
                let before = match ordinary {
                    Some(ordinary) => ordinary.get(&(name.clone(), *address)).copied(),
                    None => seen,
                };
                let policy = ordinary.and_then(|_| by_policy(&pod.namespace, server, *address));
                sightings.push(Sighting {
                    pod: name,
                    node: pod.node.clone(),
                    server: server.clone(),
                    address: *address,
                    seen,
                    expected: policy.or(before),
                });
            }
        }
    }
    Ok(sightings)
}

/// What each pod's source was at each server.
pub type Ordinary = BTreeMap<(String, IpAddr), IpAddr>;

/// Sightings as [`Ordinary`].
pub fn ordinary(sightings: &[Sighting]) -> Ordinary {
    sightings.iter().filter_map(|s| Some(((s.pod.clone(), s.address), s.seen?))).collect()
}

/// The source that the demo's policies give a pod of a namespace towards a server.
fn by_policy(namespace: &str, server: &str, address: IpAddr) -> Option<IpAddr> {
    match (namespace, server, address) {
        ("prod", _, IpAddr::V4(_)) => Some(PROD.into()),
        ("staging", _, IpAddr::V4(_)) => Some(STAGING.into()),
        ("billing", "outside-2", IpAddr::V4(_)) => Some(IpAddr::from([10, 10, 0, 64])),
        ("billing", "outside-2", IpAddr::V6(_)) => {
            Some(IpAddr::from([0xfd00, 0x10, 0x10, 0, 0, 0, 0, 0x1000]))
        }
        _ => None,
    }
}

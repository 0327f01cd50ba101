//! Follows the node's interfaces in a task of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use egret_datapath::{LinkQuery, LinkSnapshot, Links, SecondQuery};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// Neighbour tables change all the time on a busy node; once in this time is often enough to look.
const PACE: Duration = Duration::from_millis(20);
/// Pods whose link is not found yet are looked for again.
const AGAIN: Duration = Duration::from_millis(300);
/// Events can be lost when there are many.
const RESYNC: Duration = Duration::from_secs(30);

/// Where this node is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The node's address between nodes.
    pub underlay_address: IpAddr,
    /// Name of the overlay device.
    pub overlay: String,
}

/// Addresses of this node's pods, whose links are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodAddresses {
    /// In the cluster's network.
    pub own: BTreeSet<IpAddr>,
    /// In other networks, by pod.
    pub second: BTreeMap<String, SecondQuery>,
}

impl PodAddresses {
    /// Each pod's addresses in other networks.
    pub fn second(&self) -> impl Iterator<Item = (String, IpAddr)> {
        let of_pod = |(pod, query): (&String, &SecondQuery)| {
            query.addresses.iter().map(|address| (pod.clone(), *address)).collect::<Vec<_>>()
        };
        self.second.iter().flat_map(of_pod)
    }
}

/// Tells each change until nobody listens any more.
pub(crate) async fn follow(
    mut links: Links,
    place: Place,
    mut pods: watch::Receiver<PodAddresses>,
    found: watch::Sender<Option<LinkSnapshot>>,
) {
    let mut complained = String::new();
    loop {
        let begun = Instant::now();
        let wanted = pods.borrow_and_update().clone();
        let query = LinkQuery {
            underlay_address: place.underlay_address,
            overlay: &place.overlay,
            pods: &wanted.own,
            second: &wanted.second,
        };
        let again = match links.snapshot(&query).await {
            Ok(snapshot) => {
                complained.clear();
                let missing = wanted.own.iter().any(|pod| !snapshot.pod_links.contains_key(pod))
                    || wanted.second().any(|place| !snapshot.second_links.contains_key(&place));
                found.send_if_modified(|old| {
                    let differs = old.as_ref() != Some(&snapshot);
                    *old = Some(snapshot);
                    differs
                });
                if missing { AGAIN } else { RESYNC }
            }
            Err(error) => {
                let words = error.to_string();
                if words != complained {
                    tracing::warn!("interfaces cannot be read, the last known stay: {words}");
                    complained = words;
                }
                AGAIN
            }
        };
        sleep_until(begun + PACE).await;
        tokio::select! {
            () = links.changed() => {}
            changed = pods.changed() => if changed.is_err() { return },
            () = found.closed() => return,
            () = sleep(again) => {}
        }
    }
}

//! From nothing to a node that can be planned for: store, address, interfaces, datapath. Whatever is missing is
//! waited for; the kernel stays as it is meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use egret_api::{Kind, Object, ObjectKey};
use egret_datapath::{Config, Datapath, DatapathError, LinkQuery, Links};
use egret_plan::World;
use egret_store::{Changes, Store};
use tokio::sync::mpsc;

use crate::Options;
use crate::metrics::Metrics;

/// Name of the overlay device.
pub const OVERLAY: &str = "egret0";
/// UDP port of the overlay.
pub const VXLAN_PORT: u16 = 8474;
/// What failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// Reads the store until it says where this node is. What it says goes into the world at once, so that a large cluster's
/// objects need not be kept until there is a datapath.
pub(crate) async fn address<S: Store>(
    store: &mut S,
    world: &mut World,
    batches: &mpsc::UnboundedSender<Changes>,
    node: &str,
    metrics: &Metrics,
) -> IpAddr {
    let key = ObjectKey { kind: Kind::Node, namespace: String::new(), name: node.to_owned() };
    metrics.starting("waiting for the store to be read".to_owned());
    let mut found = None;
    loop {
        let mut changes = store.changes().await;
        for gone in changes.deleted.drain(..) {
            found = found.filter(|_| gone != key);
            world.delete(&gone);
        }
        for object in std::mem::take(&mut changes.applied) {
            if object.key() == key {
                found = Some(internal_address(&object));
            }
            world.apply_shared(object);
        }
        if changes.more {
            continue;
        }
        // The receiver lives as long as the agent.
        let _ = batches.send(changes);
        match found {
            Some(Some(address)) => return address,
            Some(None) => metrics
                .starting(format!("waiting for Node {node} to have a status.addresses of type InternalIP")),
            None => metrics.starting(format!(
                "waiting for the store to have Node {node}: add its manifest, or correct --node"
            )),
        }
    }
}

fn internal_address(object: &Object) -> Option<IpAddr> {
    let Object::Node(node) = object else { return None };
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses
        .iter()
        .filter(|address| address.type_ == "InternalIP")
        .find_map(|address| address.address.parse().ok())
}

/// Opens the datapath, on the interface that has the node's address.
pub(crate) async fn datapath(
    options: &Options,
    links: &mut Links,
    underlay_address: IpAddr,
    metrics: &Metrics,
) -> Datapath {
    loop {
        let (pods, second) = (BTreeSet::new(), BTreeMap::new());
        let query = LinkQuery { underlay_address, overlay: OVERLAY, pods: &pods, second: &second };
        let underlay = match links.snapshot(&query).await {
            Ok(snapshot) => snapshot.underlay_interface,
            Err(error) => {
                metrics.starting(format!("waiting for the interfaces: {error}"));
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        if underlay.is_empty() {
            metrics
                .starting(format!("waiting for an interface with the node's InternalIP {underlay_address}"));
            links.changed().await;
            continue;
        }
        match open(options, underlay, underlay_address).await {
            Ok(datapath) => return datapath,
            Err(error) => {
                metrics.starting(format!("waiting for the datapath: {error}"));
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn open(
    options: &Options,
    underlay: String,
    underlay_address: IpAddr,
) -> Result<Datapath, DatapathError> {
    Datapath::open(Config {
        pin_dir: options.pin_dir.clone(),
        underlay,
        underlay_address,
        overlay: OVERLAY.to_owned(),
        vxlan_port: VXLAN_PORT,
        attach: options.attach,
        max_flows: options.max_flows,
        tell_flows: options.flow_log.is_some(),
    })
    .await
}

/// Tries until it succeeds, and says why it did not.
pub(crate) async fn again<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    metrics: &Metrics,
    mut attempt: impl FnMut() -> F,
) -> T {
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => metrics.starting(error.to_string()),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

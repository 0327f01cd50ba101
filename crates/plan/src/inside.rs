//! What is inside the cluster: never translated, never held back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::world::World;

/// Settings that hold for the whole cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Networks that are inside besides nodes and pods: service networks, mostly.
    pub inside: BTreeSet<IpNet>,
}

/// Networks that never lead outside: this host, this link, everybody.
const ALWAYS: [&str; 7] = [
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "::1/128",
    "fe80::/10",
    "ff00::/8",
];

/// Every network inside the cluster.
pub fn networks(world: &World, settings: &ClusterSettings) -> BTreeSet<IpNet> {
    let always = ALWAYS.iter().filter_map(|n| n.parse().ok());
    world.inside().chain(settings.inside.iter().map(IpNet::trunc)).chain(always).collect()
}

/// The address is inside the cluster.
pub fn holds(world: &World, settings: &ClusterSettings, address: IpAddr) -> bool {
    networks(world, settings).iter().any(|n| n.contains(&address))
}

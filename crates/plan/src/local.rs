//! What only the node itself knows: its links, its neighbours' lives.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::tables::{LinkIndex, Mac, UnknownPods};

/// The node that is planned for.
#[derive(Clone, Debug, PartialEq)]
pub struct Local {
    /// Its name.
    pub node: String,
    /// What happens to packets of pods that it does not know.
    pub unknown_pods: UnknownPods,
    /// How packets get to gateways.
    pub steering: Steering,
    /// Largest inner packet on the overlay, bytes.
    pub overlay_mtu: u16,
    /// The interface between nodes.
    pub underlay: Underlay,
    /// Interfaces towards the outside.
    pub wires: Vec<LocalWire>,
    /// Links of the node's pods, by pod address.
    pub pod_links: BTreeMap<IpAddr, PodLink>,
    /// Links of the node's pods into other networks than the cluster's, by the pod (`namespace/name`) and its address there.
    pub second_links: BTreeMap<(String, IpAddr), SecondLink>,
    /// Gateways to and from which packets without tunnel were seen to get through.
    pub links: BTreeSet<String>,
    /// Gateways believed alive; the node itself among them if it is ready.
    pub alive: BTreeSet<String>,
}

/// How packets get to gateways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Steering {
    /// Without a tunnel where the gateway is on the same link and packets were seen to get through, by the
    /// overlay elsewhere.
    #[default]
    Auto,
    /// By the overlay.
    Overlay,
    /// Without a tunnel where the gateway is on the same link, by the overlay elsewhere.
    Link,
}

/// The interface between nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Underlay {
    /// Its index.
    pub link: LinkIndex,
    /// The node's address on it.
    pub address: IpAddr,
    /// Its link-layer address.
    pub mac: Mac,
    /// Its addresses with prefix length.
    pub addresses: BTreeSet<IpNet>,
}

/// An interface towards the outside.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalWire {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub link: LinkIndex,
    /// Its link-layer address.
    pub mac: Mac,
    /// Its addresses with prefix length.
    pub addresses: BTreeSet<IpNet>,
    /// Its first address of each family, where that is not the first of `addresses`.
    pub primary: BTreeSet<IpAddr>,
    /// It has a carrier.
    pub carrier: bool,
}

/// The link of a pod, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodLink {
    /// The host's end.
    pub link: LinkIndex,
    /// The pod's link-layer address.
    pub mac: Mac,
    /// The source of frames to the pod.
    pub host_mac: Mac,
}

/// The link of a pod into another network than the cluster's, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondLink {
    /// Its two ends.
    pub at: PodLink,
    /// What is on that link with the pod, and needs no router.
    pub network: IpNet,
    /// The link is the parent of the pod's macvlan, which others share: an interface of the node's own.
    pub shared: bool,
}

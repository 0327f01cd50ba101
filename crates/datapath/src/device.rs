//! Small questions about an interface of this network namespace, by its index.

use egret_plan::tables::{LinkIndex, Mac};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{if_indextoname, if_nametoindex};

/// The name of an interface.
pub fn name(link: LinkIndex) -> Option<String> {
    if_indextoname(link).ok()?.into_string().ok()
}

/// The index of an interface.
pub fn index(name: &str) -> Option<LinkIndex> {
    if_nametoindex(name).ok()
}

/// The link-layer address of an interface.
pub fn mac(link: LinkIndex) -> Option<Mac> {
    let links = getifaddrs().ok()?.filter_map(|entry| entry.address);
    links
        .filter_map(|address| address.as_link_addr().map(|link| (link.ifindex(), link.addr())))
        .find(|(index, _)| *index == link as usize)
        .and_then(|(_, mac)| mac)
}

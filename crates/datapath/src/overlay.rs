//! The overlay device: one `vxlan external` interface, whose packets get their direction from the programs.

use std::net::IpAddr;

use egret_plan::tables::{LinkIndex, Mac};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::{Handle, LinkUnspec, LinkVxlan};

use crate::error::DatapathError;
use crate::links::facts::{LinkFacts, links};

/// Link-layer address of every node's overlay device: frames need no resolution.
pub const OVERLAY_MAC: Mac = [0x02, 0xe6, 0x72, 0x65, 0x74, 0x01];

/// What the overlay is made of.
pub struct Wanted<'a> {
    pub name: &'a str,
    pub port: u16,
    pub mtu: u32,
}

/// Bytes that the overlay puts around an inner packet: Ethernet, IP, UDP and VXLAN headers.
pub fn overhead(underlay: IpAddr) -> u32 {
    if underlay.is_ipv4() { 50 } else { 70 }
}

/// Makes the device, or adopts the one that is there, and returns its index.
pub async fn ensure(handle: &Handle, wanted: &Wanted<'_>) -> Result<LinkIndex, DatapathError> {
    let fail = |why: String| DatapathError::Overlay { device: wanted.name.to_owned(), why };
    let netlink = |error: rtnetlink::Error| fail(error.to_string());
    let mut found = find(handle, wanted.name).await?;
    if let Some((facts, message)) = &found {
        if facts.kind != Some(InfoKind::Vxlan) {
            return Err(fail(
                "an interface of this name exists and is no VXLAN device; rename it".to_owned(),
            ));
        }
        if !as_wanted(message, wanted.port) {
            handle.link().del(facts.index).execute().await.map_err(netlink)?;
            found = None;
        }
    }
    let index = match found {
        Some((facts, _)) => facts.index,
        None => {
            let device = LinkVxlan::new(wanted.name, 0)
                .collect_metadata(true)
                .learning(false)
                .port(wanted.port)
                .address(OVERLAY_MAC.to_vec())
                .build();
            handle.link().add(device).execute().await.map_err(netlink)?;
            let created = find(handle, wanted.name).await?;
            created
                .map(|(facts, _)| facts.index)
                .ok_or_else(|| fail("it vanished after it was made".to_owned()))?
        }
    };
    sysctl(wanted.name, "ipv6", "addr_gen_mode", "1")?;
    let settings =
        LinkUnspec::new_with_index(index).address(OVERLAY_MAC.to_vec()).mtu(wanted.mtu).up().build();
    handle.link().set(settings).execute().await.map_err(|error| {
        fail(format!("{error}; is UDP port {} used by another device or program?", wanted.port))
    })?;
    // Packets come in here with sources from anywhere, and leave by other interfaces.
    sysctl(wanted.name, "ipv4", "forwarding", "1")?;
    sysctl(wanted.name, "ipv4", "rp_filter", "0")?;
    sysctl(wanted.name, "ipv6", "forwarding", "1")?;
    Ok(index)
}

/// Removes the device, if it is there.
pub async fn remove(handle: &Handle, name: &str) -> Result<(), DatapathError> {
    match find(handle, name).await? {
        Some((facts, _)) if facts.kind == Some(InfoKind::Vxlan) => handle
            .link()
            .del(facts.index)
            .execute()
            .await
            .map_err(DatapathError::netlink(format!("remove {name}"))),
        _ => Ok(()),
    }
}

/// The largest packet that an interface carries, in bytes.
pub async fn mtu(handle: &Handle, name: &str) -> Result<u32, DatapathError> {
    let found = find(handle, name).await?;
    found.map(|(facts, _)| facts.mtu).ok_or_else(|| DatapathError::Netlink {
        what: format!("underlay interface {name}"),
        why: "it does not exist".to_owned(),
    })
}

async fn find(handle: &Handle, name: &str) -> Result<Option<(LinkFacts, LinkMessage)>, DatapathError> {
    let all = links(handle).await?;
    Ok(all.into_iter().find(|(facts, _)| facts.name == name))
}

fn as_wanted(message: &LinkMessage, wanted_port: u16) -> bool {
    let infos = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let data = infos.flatten().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(data)) => Some(data),
        _ => None,
    });
    data.is_some_and(|data| {
        data.contains(&InfoVxlan::CollectMetadata(true)) && data.contains(&InfoVxlan::Port(wanted_port))
    })
}

/// Where a container has the settings of its node's network, since its own `/proc/sys` cannot be written.
const SETTINGS_IN_CONTAINER: &str = "/host";

/// Writes a setting of an interface, in the network namespace of the caller.
fn sysctl(device: &str, family: &str, name: &str, value: &str) -> Result<(), DatapathError> {
    let path = format!("/proc/sys/net/{family}/conf/{device}/{name}");
    match std::fs::write(&path, value) {
        Err(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
            let path = format!("{SETTINGS_IN_CONTAINER}{path}");
            std::fs::write(&path, value).map_err(DatapathError::io(path))
        }
        written => written.map_err(DatapathError::io(path)),
    }
}

//! Our clsact filters, found by their priority and handle: where TCX is missing nothing else remembers them.

use std::collections::BTreeSet;

use egret_plan::tables::LinkIndex;
use futures::TryStreamExt as _;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use rtnetlink::Handle;

use crate::attach::{CLSACT_PRIORITY, Role, clsact_handle};
use crate::error::DatapathError;

/// Every interface with filters of ours, and in which role.
pub async fn find(handle: &Handle) -> Result<BTreeSet<(LinkIndex, Role)>, DatapathError> {
    let mut found = BTreeSet::new();
    for link in with_clsact(handle).await? {
        for filter in filters(handle, link).await? {
            let role = Role::ALL
                .into_iter()
                .find(|role| u32::from(filter.header.handle.minor) == clsact_handle(*role));
            if filter.header.info >> 16 == u32::from(CLSACT_PRIORITY)
                && let Some(role) = role
            {
                found.insert((link, role));
            }
        }
    }
    Ok(found)
}

/// Removes the clsact qdisc of those interfaces that have no filter left, of nobody.
pub async fn remove_empty(handle: &Handle, links: &BTreeSet<LinkIndex>) -> Result<(), DatapathError> {
    for link in with_clsact(handle).await? {
        if !links.contains(&link) || !filters(handle, link).await?.is_empty() {
            continue;
        }
        let Ok(index) = i32::try_from(link) else { continue };
        let mut request = handle.qdisc().del(index);
        let header = &mut request.message_mut().header;
        header.parent = TcHandle::CLSACT;
        header.handle = TcHandle::from(0xffff_0000);
        request
            .execute()
            .await
            .map_err(DatapathError::netlink(format!("remove clsact of interface {link}")))?;
    }
    Ok(())
}

async fn with_clsact(handle: &Handle) -> Result<BTreeSet<LinkIndex>, DatapathError> {
    let mut found = BTreeSet::new();
    let mut qdiscs = handle.qdisc().get().execute();
    while let Some(qdisc) = qdiscs.try_next().await.map_err(DatapathError::netlink("list qdiscs"))? {
        if qdisc.attributes.contains(&TcAttribute::Kind("clsact".to_owned())) {
            found.extend(LinkIndex::try_from(qdisc.header.index));
        }
    }
    Ok(found)
}

/// Filters with a handle of their own; the kernel lists each chain of filters once more without.
async fn filters(handle: &Handle, link: LinkIndex) -> Result<Vec<TcMessage>, DatapathError> {
    let Ok(index) = i32::try_from(link) else { return Ok(Vec::new()) };
    let failed = || DatapathError::netlink(format!("list filters of interface {link}"));
    let incoming = handle.traffic_filter(index).get().ingress().execute();
    let mut all: Vec<TcMessage> = incoming.try_collect().await.map_err(failed())?;
    let outgoing = handle.traffic_filter(index).get().egress().execute();
    all.extend(outgoing.try_collect::<Vec<_>>().await.map_err(failed())?);
    all.retain(|filter| u32::from(filter.header.handle) != 0);
    Ok(all)
}

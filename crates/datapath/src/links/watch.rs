//! The kernel's announcements, told apart from its noise.

use std::collections::BTreeMap;
use std::time::Duration;

use egret_plan::tables::Mac;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;

use super::facts::{NeighbourKey, neighbour};
use crate::error::DatapathError;

/// Announcements come in bursts: a link that comes up brings addresses and routes.
const BURST: Duration = Duration::from_millis(10);

/// A subscription to changes.
pub struct Watch {
    events: BoxStream<'static, Option<RouteNetlinkMessage>>,
    /// Resolved neighbours by now: the same news again is none.
    neighbours: BTreeMap<(NeighbourKey, Option<Mac>), Mac>,
}

impl Watch {
    pub fn open() -> Result<Self, DatapathError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Route,
        ];
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&groups)
            .map_err(DatapathError::io("netlink announcements"))?;
        tokio::spawn(connection);
        let events = messages.map(|(message, _)| match message.payload {
            NetlinkPayload::InnerMessage(inner) => Some(inner),
            // Lost announcements may have been any.
            _ => None,
        });
        Ok(Watch { events: events.boxed(), neighbours: BTreeMap::new() })
    }

    /// Resolves after something changed that a snapshot can show.
    pub async fn changed(&mut self) {
        loop {
            match self.events.next().await {
                Some(event) => {
                    if self.is_news(event) {
                        break;
                    }
                }
                // The connection ended, and with it all news; the caller's other reasons to look remain.
                None => std::future::pending().await,
            }
        }
        let end = tokio::time::Instant::now() + BURST;
        while let Ok(Some(event)) = tokio::time::timeout_at(end, self.events.next()).await {
            self.is_news(event);
        }
    }

    fn is_news(&mut self, event: Option<RouteNetlinkMessage>) -> bool {
        match event {
            Some(RouteNetlinkMessage::NewNeighbour(message)) => match neighbour(&message) {
                None => false,
                Some((key, mac)) => self.neighbours.insert(identity(key, mac), mac) != Some(mac),
            },
            Some(RouteNetlinkMessage::DelNeighbour(message)) => {
                if let Some((key, mac)) = neighbour(&message) {
                    self.neighbours.remove(&identity(key, mac));
                }
                // Where pods are is remembered; that an entry aged out says nothing.
                false
            }
            _ => true,
        }
    }
}

/// A port of a bridge has many link-layer addresses behind it, an address only one.
fn identity(key: NeighbourKey, mac: Mac) -> (NeighbourKey, Option<Mac>) {
    match key {
        NeighbourKey::Address(..) => (key, None),
        NeighbourKey::Port(..) => (key, Some(mac)),
    }
}

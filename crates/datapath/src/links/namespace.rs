//! This network namespace's own number: the kernel tells by it of interfaces that other namespaces have made of ours.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use futures::StreamExt as _;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use rtnetlink::Handle;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};

use crate::error::DatapathError;

/// A network namespace, by a file.
pub struct Namespace(File);

impl Namespace {
    /// The calling thread's.
    pub fn current() -> Result<Self, DatapathError> {
        const PATH: &str = "/proc/thread-self/ns/net";
        File::open(PATH).map(Namespace).map_err(DatapathError::io(PATH))
    }

    /// Its number in the namespace of the connection; `None` while it has none, which is until an interface of it is told of in
    /// another.
    pub async fn number(&self, strict: &Handle) -> Result<Option<i32>, DatapathError> {
        let failed = || DatapathError::netlink("ask for the number of this network namespace");
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(self.0.as_raw_fd().cast_unsigned()));
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(message));
        request.header.flags = NLM_F_REQUEST;
        let mut answers = strict.clone().request(request).map_err(failed())?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(answer)) = answer.payload {
                let id = answer.attributes.iter().find_map(|attribute| match attribute {
                    NsidAttribute::Id(id) => Some(*id),
                    _ => None,
                });
                return Ok(id.filter(|id| *id >= 0));
            }
        }
        Ok(None)
    }
}

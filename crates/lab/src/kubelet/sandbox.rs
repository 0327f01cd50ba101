//! A pod's place in the network: the node's own, or one that is wired as the node's CNI does it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::Kubelet;
use crate::netns;
use crate::pod::{self, PodRequest};
use crate::state::State;

/// Where a pod's container runs.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Its network namespace.
    pub netns: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// It is the pod's own.
    pub own: bool,
}

impl Kubelet {
    /// Makes the place of a pod, or finds the one that it had before its node lost power.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn make_sandbox(&self, pod: &Pod) -> Result<Sandbox> {
        let on_node = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default();
        if on_node {
            return Ok(Sandbox { netns: self.netns.clone(), addresses: self.addresses.clone(), own: false });
        }
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let _lock = self.paths.lock()?;
        let mut state = State::read(&self.paths)?;
        if state.pod(&namespace, &name).is_none_or(|(_, host)| !netns::exists(&host.netns)) {
            let request = PodRequest {
                namespace: namespace.clone(),
                name: name.clone(),
                node: self.node.clone(),
                labels: BTreeMap::new(),
                second: None,
                process: Vec::new(),
                by_kubelet: true,
            };
            pod::wire(&self.paths, &mut state, &request)?;
        }
        let host = state.pod(&namespace, &name).map(|(_, host)| host.clone());
        let host = host.ok_or_else(|| anyhow::anyhow!("{namespace}/{name}: the lab has no such host"))?;
        Ok(Sandbox { netns: host.netns, addresses: host.addresses, own: true })
    }

    /// Takes away what [`Kubelet::make_sandbox`] made.
    pub(super) fn remove_sandbox(&self, pod: &Pod) -> Result<()> {
        let _lock = self.paths.lock()?;
        let mut state = State::read(&self.paths)?;
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        match state.pod(&namespace, &name).is_some() {
            true => pod::unwire(&self.paths, &mut state, &namespace, &name),
            false => Ok(()),
        }
    }
}

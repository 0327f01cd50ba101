//! Who reads: what of the cluster it needs.

use egret_api::Kind;

/// What is read of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Cluster,
    /// What the agent of this node needs: of pods, its own.
    Node(String),
}

impl Scope {
    /// The fields that objects of a kind must have to be read. Pods that have finished, or that run nowhere yet, are
    /// nobody's business.
    pub(crate) fn fields(&self, kind: Kind) -> Option<String> {
        let unfinished = "status.phase!=Succeeded,status.phase!=Failed";
        match (kind, self) {
            (Kind::Pod, Scope::Cluster) => Some(format!("spec.nodeName!=,{unfinished}")),
            (Kind::Pod, Scope::Node(node)) => Some(format!("spec.nodeName={node},{unfinished}")),
            _ => None,
        }
    }
}

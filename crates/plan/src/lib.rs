//! The pure core: from the objects of a cluster to the desired state of one node.

pub mod tables;

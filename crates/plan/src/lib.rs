//! The pure core: from the objects of a cluster to the desired state of one node.
//!
//! [`World`] holds the facts of the cluster's objects. The controller calls [`allocate::decide`], each agent
//! [`node::plan`] and [`diff`]. Nothing here reads a clock, a file or the kernel: the same values in give the
//! same values out.

mod affected;
pub mod allocate;
mod attached;
mod bounds;
pub mod demand;
pub mod dialect;
pub mod diff;
mod disputes;
pub mod elect;
pub mod explain;
pub mod facts;
pub mod fault;
pub mod guard;
mod hops;
pub mod import;
pub mod inside;
pub mod intent;
mod link;
pub mod local;
mod native;
pub mod node;
mod part;
mod pods;
pub mod ports;
pub mod range;
pub mod rules;
pub mod select;
mod selection;
mod spread;
pub mod tables;
mod touched;
mod uses;
pub mod world;

pub use affected::Affected;
pub use allocate::Decision;
pub use demand::demand;
pub use diff::{Change, diff};
pub use explain::{Deciders, Expected, Explanation, Packet, expected_source, explain};
pub use fault::Fault;
pub use import::{Import, import};
pub use inside::ClusterSettings;
pub use intent::check;
pub use link::LinkProbe;
pub use local::{Local, LocalWire, PodLink, SecondLink, Steering, Underlay};
pub use node::NodePlan;
pub use part::Part;
pub use world::World;

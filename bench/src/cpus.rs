//! Which CPU does whose work.

/// The CPU of the pod's load. Forwarding runs on the CPU that sends.
pub const FIRST: usize = 0;
/// The CPU of the outside host's load, and of Egret's agents.
pub const SECOND: usize = 1;

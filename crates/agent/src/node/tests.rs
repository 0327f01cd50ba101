//! The node against a kernel that keeps its tables in memory and fails where it is told to.

mod cluster;
mod gateways;
mod leases;
mod memory;
mod mending;
mod start;

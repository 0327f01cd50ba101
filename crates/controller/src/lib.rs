//! Allocation of egress addresses, leases and status

//! The store in front of a real API server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod admission;
mod definitions;
mod faults;
mod following;
mod later;
mod leading;
mod proxy;
mod records;
mod rivals;
mod server;
mod switch;
mod writing;

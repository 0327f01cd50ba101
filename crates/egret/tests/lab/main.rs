//! Claims about the whole product, shown by the real programs on real packets in a lab of network namespaces.
//! They need root, and fail without it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod fail_closed;
mod harness;
mod house;
mod input;
mod scale;
mod sources;
mod survival;

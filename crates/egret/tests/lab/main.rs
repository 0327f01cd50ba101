//! Claims about the whole product, shown by the real programs on real packets in a lab of network namespaces.
//! They need root, and fail without it.

mod fail_closed;
mod harness;
mod house;
mod input;
mod scale;
mod sources;
mod survival;

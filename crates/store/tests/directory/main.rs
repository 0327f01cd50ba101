//! The directory store, as people and Egret's own processes use it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod following;
mod manifests;
mod place;
mod records;

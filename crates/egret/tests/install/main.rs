//! The installation: what the chart makes, and what a cluster says to it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

mod chart;
mod check;
mod cluster;
mod life;

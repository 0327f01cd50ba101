//! The pages for people: what they say of the program is so, and what they tell to type works.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

mod blocks;
mod commands;
mod fields;
mod installation;
mod kubelet;
mod links;
mod reasons;
mod session;
mod shown;
mod tables;

//! A cluster in network namespaces: nodes, pods and outside hosts on one machine, with Egret's real programs
//! on real packets, faults to order, and a sniffer that knows a wrong packet when it sees one.

pub mod agents;
pub mod apply;
pub mod cli;
pub mod demo;
pub mod down;
pub mod fault;
pub mod kubelet;
pub mod kubernetes;
pub mod manifest;
pub mod netns;
pub mod network;
pub mod objects;
pub mod plugins;
pub mod pod;
pub mod process;
pub mod programs;
pub mod reader;
pub mod rolling;
pub mod second;
pub mod show;
pub mod sniff;
pub mod state;
pub mod tool;
pub mod topology;
pub mod traffic;
pub mod up;
pub mod wait;

pub use cli::{LabArgs, run};

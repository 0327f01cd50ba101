//! Where each node's agent of a lab keeps what people may ask it for.

use std::path::PathBuf;

use anyhow::Result;

use crate::state::{Paths, State};

/// The agent of one node.
#[derive(Clone, Debug)]
pub struct AgentPlace {
    /// The node.
    pub node: String,
    /// Its log of flows.
    pub flow_log: PathBuf,
    /// Its pins.
    pub pin_dir: PathBuf,
    /// Why the node cannot be asked, as one of a cluster could not.
    pub silent: Option<&'static str>,
}

/// The agents of a lab.
///
/// # Errors
/// When there is no such lab.
pub fn agents(lab: &str) -> Result<Vec<AgentPlace>> {
    let paths = Paths::of(lab)?;
    let state = State::read(&paths)?;
    let place = |node: &crate::topology::Node| AgentPlace {
        node: node.name.clone(),
        flow_log: paths.flow_log(&node.name),
        pin_dir: paths.bpf().join(&node.name),
        silent: state
            .faults
            .get(&node.name)
            .is_some_and(|fault| fault.power_off)
            .then_some("the node has no power"),
    };
    Ok(state.topology.nodes.iter().map(place).collect())
}

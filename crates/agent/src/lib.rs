//! One node's agent: store to plan to diff to datapath

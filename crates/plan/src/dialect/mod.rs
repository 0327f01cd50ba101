//! Other systems' resources, translated into intents. The planner knows nothing else about them.

pub mod antrea;

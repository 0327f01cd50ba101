//! The log of one node's flows: which began and ended when, and what was refused. One JSON object a line, in a bounded
//! number of files. The agent writes it, and is the only one who does; `egret flows` and `egret who` read it, as may any
//! shipper of logs.

mod filter;
mod flow;
mod log;
mod read;
mod record;

pub use filter::{Destination, DestinationError, End, EndError, Filter};
pub use flow::{Flow, Flows, State};
pub use log::{Limits, Log, LogError, Now, remove};
pub use read::{Lines, Position};
pub use record::{Event, Line, Mark, Note, Protocol, Record};

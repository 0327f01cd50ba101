//! The only I/O to the kernel: programs, maps, links, guard, probes, announcements.
//!
//! Everything in the kernel outlives the process: maps and attachments are pinned, and [`Datapath::open`] adopts
//! what is there. What must be there is the plan's business (`egret_plan::tables`).

mod address;
mod announce;
mod apply;
mod attach;
mod batch;
mod captured;
mod counters;
mod datapath;
mod device;
mod entry;
mod error;
mod flow_events;
mod guard;
mod guard_change;
pub mod layout;
mod link_probe;
mod links;
mod load;
mod maps;
mod overlay;
mod packet_socket;
mod probe;
mod read;
mod remove;
mod reserved;
mod reset;
mod survey;
mod sweep;

pub use announce::announce;
pub use attach::{Attach, Role};
pub use counters::{Counter, Counters, REASONS};
pub use datapath::{Config, Datapath};
pub use error::{ApplyError, DatapathError};
pub use flow_events::{FlowEvent, FlowEvents, OpenFlow, Told, Untold, open_flows, since_boot};
pub use guard::{GuardDrops, GuardInput, apply as guard_apply, drops as guard_drops, script as guard_script};
pub use link_probe::ask_link;
pub use links::{LinkQuery, LinkSnapshot, Links, SecondQuery};
pub use load::{OBJECT, PROGRAMS, load_program};
pub use overlay::{OVERLAY_MAC, overhead as overlay_overhead};
pub use packet_socket::PacketSocket;
pub use probe::{Answer, Prober};
pub use remove::remove;
pub use survey::{Installed, Interface, Trial, Tried, installed, interfaces, map_names, try_kernel};
pub use sweep::{AddressUse, Sweep};

//! How long a connection may be silent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Seconds after which a silent connection ends and its port is free. The bounds below are those of the RFCs; a week
/// is the most of each.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
    /// Seconds of TCP after both sides have spoken: 7440 (2 h 4 min) or more (RFC 5382 REQ-5).
    #[schemars(range(min = 7440, max = 604800))]
    pub tcp_established: u32,
    /// Seconds of TCP while it opens: 240 (4 min) or more (RFC 5382 REQ-5).
    #[schemars(range(min = 240, max = 604800))]
    pub tcp_transitory: u32,
    /// Seconds of TCP after a FIN of both sides, or a RST: 1 to 240; RFC 5382 REQ-5 leaves it open.
    #[schemars(range(min = 1, max = 240))]
    pub tcp_closed: u32,
    /// Seconds of UDP: 120 (2 min) or more, 300 recommended (RFC 4787 REQ-5).
    #[schemars(range(min = 120, max = 604800))]
    pub udp: u32,
    /// Seconds of ICMP echo: 60 or more (RFC 5508 REQ-2).
    #[schemars(range(min = 60, max = 604800))]
    pub icmp: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { tcp_established: 7440, tcp_transitory: 240, tcp_closed: 2, udp: 300, icmp: 60 }
    }
}

//! Is that gateway alive?

use crate::case::{Case, FROM_OVERLAY, TO_OVERLAY, case};
use crate::packet::{probe, udp};

pub fn cases() -> Vec<Case> {
    vec![
        case("this node asks a gateway", TO_OVERLAY, probe(1, "10.0.0.4", 0x55))
            .is("SENT_PROBE")
            .leaves_as("underlay>overlay probe question unready 10.0.0.4 0x55")
            .by("10.0.0.4 probe"),
        case("this node asks a gateway, IPv6 underlay", TO_OVERLAY, probe(1, "fd00::4", 0x55))
            .is("SENT_PROBE")
            .leaves_as("underlay>overlay probe question unready fd00::4 0x55")
            .by("fd00::4 probe"),
        case("an answer has its way already", TO_OVERLAY, probe(2, "10.0.0.1", 0x55)),
        case("other packets have their way already", TO_OVERLAY, udp("10.10.0.11:2000", "198.51.100.9:443")),
        case("asked while not ready", FROM_OVERLAY, probe(1, "10.0.0.1", 0x55))
            .came_by("10.0.0.4 probe")
            .is("ANSWERED_PROBE")
            .leaves_as("underlay>overlay probe answer unready 10.0.0.1 0x55")
            .by("10.0.0.4 probe"),
        case("asked while ready", FROM_OVERLAY, probe(1, "10.0.0.1", 0x1122_3344_5566_7788))
            .given(|w| w.settings.ready = 1)
            .came_by("10.0.0.4 probe")
            .is("ANSWERED_PROBE")
            .leaves_as("underlay>overlay probe answer ready 10.0.0.1 0x1122334455667788")
            .by("10.0.0.4 probe"),
        case("asked over an IPv6 underlay", FROM_OVERLAY, probe(1, "10.0.0.1", 0x55))
            .came_by("fd00::4 probe")
            .is("ANSWERED_PROBE")
            .leaves_as("underlay>overlay probe answer unready 10.0.0.1 0x55")
            .by("fd00::4 probe"),
        case("an answer is the agent's", FROM_OVERLAY, probe(2, "10.0.0.4", 0x55))
            .came_by("10.0.0.4 probe")
            .is("PASS_NOT_IP"),
        case("a question for another node", FROM_OVERLAY, probe(1, "10.0.0.2", 0x55))
            .came_by("10.0.0.4 probe")
            .is("DROP_FOREIGN_INNER"),
        case("neither question nor answer", FROM_OVERLAY, probe(3, "10.0.0.1", 0x55))
            .came_by("10.0.0.4 probe")
            .is("DROP_FOREIGN_INNER"),
        case("no probe at all", FROM_OVERLAY, udp("10.10.0.11:2000", "198.51.100.9:443"))
            .came_by("10.0.0.4 probe")
            .is("DROP_FOREIGN_INNER"),
        case("a question from no node of the cluster", FROM_OVERLAY, probe(1, "10.0.0.1", 0x55))
            .came_by("10.0.0.66 probe")
            .is("DROP_FOREIGN_OUTER"),
    ]
}

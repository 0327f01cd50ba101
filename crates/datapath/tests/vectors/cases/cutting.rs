//! IPv4 that may be cut, and is larger than the way out carries: cut, or carried whole by the overlay.

use egret_datapath::layout::{FRAGMENT_OF_POD, FRAGMENT_TO_WIRE, PATH_LINK, PATH_WIRE};

use crate::case::{A_PIECE, Case, FROM_OTHER_WIRE, FROM_OVERLAY, FROM_POD, FROM_UNDERLAY, FROM_WIRE, case};
use crate::packet::{Packet, ping, tcp, udp};
use crate::world::{World, addr};

const POD: &str = "10.244.1.10:41000";
const OUTSIDE: &str = "198.51.100.9:443";
const EGRESS: &str = "10.10.0.11:2000";
const ID: u32 = 7;

fn at_gateway(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_OVERLAY, packet).came_by("10.0.0.4 to-wire").given(|w| w.gateway())
}

fn by_wire(world: &mut World) {
    world.flow(17, POD, OUTSIDE, EGRESS, (0, 0), 0);
    let wire = world.on.wire;
    world.each_egress(|egress| {
        egress.path = PATH_WIRE;
        egress.link = wire;
    });
}

fn by_link(world: &mut World) {
    world.flow(17, POD, OUTSIDE, EGRESS, (0, 0), 0);
    world.each_egress(|egress| {
        egress.path = PATH_LINK;
        egress.gateway = addr("10.0.0.5").into();
    });
}

/// Out of a wire of 1500 bytes; the kernel finds the neighbour.
pub fn cases() -> Vec<Case> {
    [at_the_gateway(), of_what_is_no_packet(), at_the_pods_node(), by_the_overlay(), the_pieces()]
        .into_iter()
        .flatten()
        .collect()
}

fn at_the_gateway() -> Vec<Case> {
    vec![
        at_gateway("larger than the wire carries, and may be cut", udp(EGRESS, OUTSIDE).payload(3000))
            .is("SENT_PIECES")
            .leaves_as("pod>host udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .in_pieces(&[1500, 1500, 76]),
        at_gateway("as large as the wire carries", udp(EGRESS, OUTSIDE).payload(1464))
            .is("SENT_WIRE")
            .leaves_as("wire>router udp 10.10.0.11:2000>198.51.100.9:443 ttl=63"),
        at_gateway("one byte more than the wire carries", udp(EGRESS, OUTSIDE).payload(1465))
            .is("SENT_PIECES")
            .leaves_as("pod>host udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .in_pieces(&[1500, 21]),
        at_gateway("a way that carries no multiple of eight", udp(EGRESS, "203.0.114.9:443").payload(3000))
            .is("SENT_PIECES")
            .leaves_as("pod>host udp 10.10.0.11:2000>203.0.114.9:443 ttl=63")
            .in_pieces(&[1492, 1492, 92]),
        at_gateway("without checksum, and may be cut", udp(EGRESS, OUTSIDE).payload(2000).no_checksum())
            .is("SENT_PIECES")
            .leaves_as("pod>host unchecked udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .in_pieces(&[1500, 556]),
        at_gateway("a large ping, and may be cut", ping("10.10.0.11", "198.51.100.9", 2000).payload(2000))
            .is("SENT_PIECES")
            .leaves_as("pod>host ping 10.10.0.11>198.51.100.9 id=2000 ttl=63")
            .in_pieces(&[1500, 556]),
        at_gateway("a large segment, and may be cut", tcp(EGRESS, OUTSIDE, "A").payload(1500))
            .is("SENT_PIECES")
            .leaves_as("pod>host tcp 10.10.0.11:2000>198.51.100.9:443 A ttl=63")
            .in_pieces(&[1500, 60]),
        at_gateway("a first fragment is cut once more", udp(EGRESS, OUTSIDE).payload(2000).fragment(0, true))
            .is("SENT_PIECES")
            .leaves_as("pod>host piece 0+ 10.10.0.11:2000>198.51.100.9:443 ttl=63")
            .in_pieces(&[1500, 556])
            .and(&["+ pieces to wire 10.10.0.11>198.51.100.9 10.0.0.4"]),
        at_gateway("a later fragment is cut once more", udp(EGRESS, OUTSIDE).payload(2000).fragment(2, true))
            .given(|w| {
                w.gateway();
                w.piece(FRAGMENT_TO_WIRE, "10.10.0.11", "198.51.100.9", ID, "10.0.0.4", 5);
            })
            .is("SENT_PIECES")
            .leaves_as("pod>host piece 2+ 10.10.0.11>198.51.100.9 ttl=63")
            .in_pieces(&[1500, 556]),
        at_gateway(
            "the last fragment is cut once more",
            udp(EGRESS, OUTSIDE).payload(2000).fragment(2, false),
        )
        .given(|w| {
            w.gateway();
            w.piece(FRAGMENT_TO_WIRE, "10.10.0.11", "198.51.100.9", ID, "10.0.0.4", 5);
        })
        .is("SENT_PIECES")
        .leaves_as("pod>host piece 2 10.10.0.11>198.51.100.9 ttl=63")
        .in_pieces(&[1500, 556]),
        at_gateway("with IP options it is not cut", udp(EGRESS, OUTSIDE).payload(1600).ip_options(&[1; 4]))
            .is("TOLD_TOO_BIG")
            .leaves_as(
                "underlay>overlay error 3/4 mtu=1500 10.0.0.1>10.10.0.11 \
                 about [udp 10.10.0.11:2000>198.51.100.9:443 ttl=64] ttl=64",
            )
            .by("10.0.0.4 to-pod"),
        at_gateway("segments that fit, of a packet that does not", udp(EGRESS, OUTSIDE).payload(3000))
            .given(|w| {
                w.gateway();
                w.segment = 1472;
            })
            .is("SENT_WIRE")
            .leaves_as("wire>router udp 10.10.0.11:2000>198.51.100.9:443 ttl=63"),
        at_gateway("segments that do not fit are not cut once more", udp(EGRESS, OUTSIDE).payload(3000))
            .given(|w| {
                w.gateway();
                w.segment = 1473;
            })
            .is("TOLD_TOO_BIG")
            .leaves_as(
                "underlay>overlay error 3/4 mtu=1500 10.0.0.1>10.10.0.11 \
                 about [udp 10.10.0.11:2000>198.51.100.9:443 ttl=64] ttl=64",
            )
            .by("10.0.0.4 to-pod"),
        at_gateway("the kernel does not take a piece", udp(EGRESS, OUTSIDE).payload(2000))
            .given(|w| {
                w.gateway();
                w.kernel_refuses = true;
            })
            .is("DROP_KERNEL"),
    ]
}

fn of_what_is_no_packet() -> Vec<Case> {
    let end_of_all = 0x1fff - 100;
    vec![
        at_gateway(
            "bytes behind the packet leave in no piece",
            udp(EGRESS, OUTSIDE).payload(1400).behind(200),
        )
        .is("SENT_PIECES")
        .leaves_as("pod>host udp 10.10.0.11:2000>198.51.100.9:443 ttl=63"),
        at_gateway(
            "a packet that says that it is larger is not cut",
            udp(EGRESS, OUTSIDE).payload(2000).cut(2000),
        )
        .is("DROP_MALFORMED"),
        at_gateway(
            "a fragment of no packet is not cut",
            udp(EGRESS, OUTSIDE).payload(2000).fragment(end_of_all, false),
        )
        .given(|w| {
            w.gateway();
            w.piece(FRAGMENT_TO_WIRE, "10.10.0.11", "198.51.100.9", ID, "10.0.0.4", 5);
        })
        .is("DROP_MALFORMED"),
    ]
}

fn at_the_pods_node() -> Vec<Case> {
    vec![
        case(
            "larger than the node's own wire carries, and may be cut",
            FROM_POD,
            udp(POD, OUTSIDE).payload(2000),
        )
        .given(by_wire)
        .is("SENT_PIECES")
        .leaves_as("pod>host udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
        .in_pieces(&[1500, 556]),
        case(
            "a pod's later fragment is cut once more",
            FROM_POD,
            udp(POD, OUTSIDE).payload(2000).fragment(2, false),
        )
        .given(|w| {
            by_wire(w);
            w.piece(FRAGMENT_OF_POD, "10.244.1.10", "198.51.100.9", ID, "10.10.0.11", 5);
        })
        .is("SENT_PIECES")
        .leaves_as("pod>host piece 2 10.10.0.11>198.51.100.9 ttl=63")
        .in_pieces(&[1500, 556]),
    ]
}

fn by_the_overlay() -> Vec<Case> {
    vec![
        case(
            "larger than the link carries, and may be cut: by the overlay",
            FROM_POD,
            udp(POD, OUTSIDE).payload(2000),
        )
        .given(by_link)
        .is("SENT_OVERLAY")
        .leaves_as("underlay>overlay udp 10.10.0.11:2000>198.51.100.9:443 ttl=63")
        .by("10.0.0.5 to-wire"),
        case("larger than the link carries", FROM_POD, udp(POD, OUTSIDE).payload(2000).dont_fragment())
            .given(by_link)
            .is("TOLD_TOO_BIG")
            .leaves_as(
                "host>pod error 3/4 mtu=1500 10.0.0.1>10.244.1.10 \
                 about [udp 10.244.1.10:41000>198.51.100.9:443 ttl=64] ttl=64",
            ),
        case(
            "from outside, larger than the link carries, and may be cut: by the overlay",
            FROM_WIRE,
            udp(OUTSIDE, "10.10.0.11:2001").payload(2000).eth("wire", "router"),
        )
        .given(|w| w.gateway())
        .is("SENT_NODE")
        .leaves_as("underlay>overlay udp 198.51.100.9:443>10.10.0.11:2001 ttl=63")
        .by("10.0.0.5 to-pod"),
        case(
            "a piece of what a wider wire brings goes where larger ones go",
            FROM_OTHER_WIRE,
            udp(OUTSIDE, "10.10.0.11:2001").fragment(0, true).eth("wire", "router"),
        )
        .given(|w| w.gateway())
        .is("SENT_NODE")
        .leaves_as("underlay>overlay piece 0+ 198.51.100.9:443>10.10.0.11:2001 ttl=63")
        .by("10.0.0.5 to-pod")
        .and(&["+ pieces of wire 198.51.100.9>10.10.0.11 10.0.0.5"]),
        case(
            "a piece from a wire that is no wider goes by the link",
            FROM_WIRE,
            udp(OUTSIDE, "10.10.0.11:2001").fragment(0, true).eth("wire", "router"),
        )
        .given(|w| w.gateway())
        .is("SENT_NODE_LINK")
        .leaves_as("underlay>node5 piece 0+ 198.51.100.9:443>10.10.0.11:2001 ttl=63")
        .and(&["+ pieces of wire 198.51.100.9>10.10.0.11 10.0.0.5"]),
        case(
            "by the link, larger than the wire carries, and may be cut",
            FROM_UNDERLAY,
            udp("10.10.0.11:2001", OUTSIDE).payload(2000).eth("underlay", "node5"),
        )
        .given(|w| w.gateway())
        .is("SENT_PIECES")
        .leaves_as("node5>underlay udp 10.10.0.11:2001>198.51.100.9:443 ttl=63")
        .in_pieces(&[1500, 556]),
    ]
}

fn the_pieces() -> Vec<Case> {
    vec![
        case(
            "of a copy only what its header says leaves",
            A_PIECE,
            udp(EGRESS, OUTSIDE).fragment(0, true).behind(700),
        )
        .leaves_as("pod>host piece 0+ 10.10.0.11:2000>198.51.100.9:443 ttl=64"),
        case("the kernel does not take a copy", A_PIECE, udp(EGRESS, OUTSIDE).fragment(0, true).behind(700))
            .given(|w| w.kernel_refuses = true)
            .is("DROP_KERNEL"),
    ]
}

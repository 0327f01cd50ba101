//! At the pod's node: from a gateway by the overlay, onto the pod's link.

use crate::case::{Case, FROM_OVERLAY, case};
use crate::packet::{GRE, Packet, other, ping, pong, tcp, udp};
use crate::world::{World, addr};

const POD: &str = "10.244.1.10:41000";
const POD6: &str = "[fd00:10:244:1::10]:41000";
const OUTSIDE: &str = "198.51.100.9:443";
const OUTSIDE6: &str = "[2001:db8::9]:443";
const TO: &str = "10.10.0.11:2000";
const TO6: &str = "[fd00:10:10::11]:2000";
const S: u8 = 0x02;
const SA: u8 = 0x12;

fn flows(world: &mut World) {
    world.flow(6, POD, OUTSIDE, TO, (SA, SA), 5);
    world.flow(6, POD6, OUTSIDE6, TO6, (SA, SA), 5);
    world.flow(17, POD, OUTSIDE, TO, (0, 0), 5);
    world.flow(17, POD6, OUTSIDE6, TO6, (0, 0), 5);
    world.flow(1, "10.244.1.10:77", "198.51.100.9:0", TO, (0, 0), 5);
    world.flow(58, "[fd00:10:244:1::10]:77", "[2001:db8::9]:0", TO6, (0, 0), 5);
}

fn back(name: &'static str, packet: Packet) -> Case {
    case(name, FROM_OVERLAY, packet.eth("overlay", "stranger")).given(flows).came_by("10.0.0.4 to-pod")
}

pub fn cases() -> Vec<Case> {
    vec![
        back("TCP", tcp(OUTSIDE, TO, "A"))
            .is("SENT_POD")
            .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 A ttl=63"),
        back("TCP, IPv6", tcp(OUTSIDE6, TO6, "A"))
            .is("SENT_POD")
            .leaves_as("host>pod tcp [2001:db8::9]:443>[fd00:10:244:1::10]:41000 A ttl=63"),
        back("UDP", udp(OUTSIDE, TO))
            .is("SENT_POD")
            .leaves_as("host>pod udp 198.51.100.9:443>10.244.1.10:41000 ttl=63"),
        back("UDP, IPv6", udp(OUTSIDE6, TO6))
            .is("SENT_POD")
            .leaves_as("host>pod udp [2001:db8::9]:443>[fd00:10:244:1::10]:41000 ttl=63"),
        back("the answer to a ping", pong("198.51.100.9", "10.10.0.11", 2000))
            .is("SENT_POD")
            .leaves_as("host>pod pong 198.51.100.9>10.244.1.10 id=77 ttl=63"),
        back("the answer to a ping, IPv6", pong("2001:db8::9", "fd00:10:10::11", 2000))
            .is("SENT_POD")
            .leaves_as("host>pod pong 2001:db8::9>fd00:10:244:1::10 id=77 ttl=63"),
        back("an answer to a SYN is clamped", tcp(OUTSIDE, TO, "SA").mss(8960))
            .given(|w| w.flow(6, POD, OUTSIDE, TO, (S, 0), 5))
            .is("SENT_POD")
            .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 SA mss=1410 ttl=63")
            .and(&[
                "- flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 S",
                "+ flow tcp 10.244.1.10:41000>198.51.100.9:443 = 10.10.0.11:2000 Sa",
                "- return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 SA",
            ]),
        back("TCP from outside keeps a flow alive", tcp(OUTSIDE, TO, "A"))
            .given(|w| w.flow(6, POD, OUTSIDE, TO, (SA, SA), 100))
            .is("SENT_POD")
            .leaves_as("host>pod tcp 198.51.100.9:443>10.244.1.10:41000 A ttl=63")
            .and(&[
                "- return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 SA idle",
                "+ return tcp 198.51.100.9:443>10.10.0.11:2000 = 10.244.1.10:41000 SA",
            ]),
        back("UDP from outside keeps no flow alive", udp(OUTSIDE, TO))
            .given(|w| w.flow(17, POD, OUTSIDE, TO, (0, 0), 100))
            .is("SENT_POD")
            .leaves_as("host>pod udp 198.51.100.9:443>10.244.1.10:41000 ttl=63"),
        back("from another remote end than the flow's", udp("198.51.100.10:443", TO)).is("DROP_NO_RETURN"),
        back("from another port than the flow's", udp("198.51.100.9:444", TO)).is("DROP_NO_RETURN"),
        back("to a port without a flow", udp(OUTSIDE, "10.10.0.11:2001")).is("DROP_NO_RETURN"),
        back("to a port without a flow, IPv6", udp(OUTSIDE6, "[fd00:10:10::11]:2001")).is("DROP_NO_RETURN"),
        back("a ping from outside", ping("198.51.100.9", "10.10.0.11", 2000)).is("DROP_NO_RETURN"),
        back("a protocol without ports", other("198.51.100.9", "10.10.0.11", GRE)).is("DROP_NO_RETURN"),
        back("the flow's pod is gone", udp(OUTSIDE, TO))
            .given(|w| {
                flows(w);
                w.pods.remove(&addr("10.244.1.10"));
            })
            .is("DROP_POD_GONE"),
        back("the pod's address is another pod's now", udp(OUTSIDE, TO))
            .given(|w| {
                flows(w);
                w.returns.values_mut().for_each(|back| back.link += 1000);
            })
            .is("DROP_POD_GONE"),
        back("time to live is used up", udp(OUTSIDE, TO).ttl(1)).is("DROP_TTL"),
        back("not from a node of the cluster", udp(OUTSIDE, TO))
            .came_by("10.0.0.66 to-pod")
            .is("DROP_FOREIGN_OUTER"),
        back("the kernel refuses the pod's link", udp(OUTSIDE, TO))
            .given(|w| {
                flows(w);
                w.kernel_refuses = true;
            })
            .is("DROP_KERNEL"),
    ]
}

//! What pods send.

use super::Generator;
use crate::nat::Nat;
use crate::packet::{ACK, Body, FIN, PSH, Protocol, Quote, RST, SYN, at};
use crate::step::{Place, Step};
use crate::universe::NODES;
use crate::world::{OVERLAY_PORT, addr};

impl Generator {
    pub fn outward(&mut self, nat: &Nat) -> Step {
        let family = self.family();
        let (mut pod, mut remote) = self.ends(family);
        let mut body = self.dice.weigh(&[40, 35, 18, 2, 1, 3, 4]);
        if self.dice.percent(40)
            && let Some((id, _)) = self.flow(nat)
        {
            (pod, remote) = (id.pod, id.remote);
            body = match (id.protocol, body) {
                (_, 5) => 5,
                (Protocol::Tcp, _) => 0,
                (Protocol::Udp, _) => 1,
                (Protocol::Echo, _) => 2,
            };
        }
        let (pod_ip, remote_ip) = (pod.ip(), remote.ip());
        let packet = match body {
            0 => {
                let base = self.dice.pick(&[1000_u32, 1000, 2000, u32::MAX - 5]);
                let segment = self.segment(
                    &[SYN, SYN, SYN, SYN, ACK, ACK, ACK | PSH, FIN | ACK, RST, RST | ACK],
                    base,
                    base,
                );
                self.packet(pod, remote, Body::Tcp(segment))
            }
            1 if pod.is_ipv4() && self.dice.percent(2) => {
                let node = addr(self.dice.pick(&NODES[..3]));
                self.packet(pod, at(node, OVERLAY_PORT), Body::Udp)
            }
            1 => self.packet(pod, remote, Body::Udp),
            2 => self.packet(pod, at(remote_ip, 0), Body::Ping),
            3 => self.packet(at(pod_ip, 0), at(remote_ip, pod.port()), Body::Pong),
            4 => self.packet(at(pod_ip, 0), at(remote_ip, 0), Body::Other(47)),
            5 => {
                let protocol = self.protocol(pod.is_ipv4());
                let to = if self.dice.percent(90) { pod } else { self.ends(usize::from(pod.is_ipv6())).0 };
                let remote = if protocol == 6 || protocol == 17 { remote } else { at(remote_ip, 0) };
                self.error(pod_ip, remote_ip, Quote { protocol, src: remote, dst: to })
            }
            _ => self.rest(pod_ip, remote_ip),
        };
        let other = nat.world.pods.get(&pod_ip).is_some_and(|pod| pod.link == nat.world.on.other_pod);
        let wrong = self.dice.percent(1);
        Step::Packet(Place::FromPod(other ^ wrong), packet)
    }
}

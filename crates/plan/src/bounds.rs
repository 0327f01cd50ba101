//! What the numbers of a pool may be.

use egret_api::{PortSettings, Timeouts};

use crate::fault::Fault;

/// How ports are leased and shared.
pub(crate) fn ports(ports: &PortSettings) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !ports.block_size.is_power_of_two() || !(64..=8192).contains(&ports.block_size) {
        let message = format!("{} is no power of two from 64 to 8192", ports.block_size);
        faults.push(Fault::invalid("spec.ports.blockSize", message, "write for example 1024"));
    }
    if !(1..=32).contains(&ports.initial_blocks) {
        let message = format!("{} is not from 1 to 32", ports.initial_blocks);
        faults.push(Fault::invalid("spec.ports.initialBlocks", message, "write for example 2"));
    }
    if !(1..=64).contains(&ports.max_blocks) || ports.max_blocks < ports.initial_blocks {
        let message = format!("{} is not from initialBlocks to 64", ports.max_blocks);
        faults.push(Fault::invalid("spec.ports.maxBlocks", message, "write for example 32"));
    }
    if !matches!(ports.pod_share, 1 | 2 | 4 | 8) {
        let message = format!("{} is none of 1, 2, 4 and 8", ports.pod_share);
        faults.push(Fault::invalid("spec.ports.podShare", message, "write for example 2"));
    }
    faults
}

const WEEK: u32 = 7 * 24 * 3600;

/// How long connections may be silent.
pub(crate) fn timeouts(timeouts: &Timeouts) -> Vec<Fault> {
    let usual = Timeouts::default();
    [
        ("tcpEstablished", timeouts.tcp_established, 7440..=WEEK, "RFC 5382 REQ-5", usual.tcp_established),
        ("tcpTransitory", timeouts.tcp_transitory, 240..=WEEK, "RFC 5382 REQ-5", usual.tcp_transitory),
        ("tcpClosed", timeouts.tcp_closed, 1..=240, "RFC 5382 REQ-5", usual.tcp_closed),
        ("udp", timeouts.udp, 120..=WEEK, "RFC 4787 REQ-5", usual.udp),
        ("icmp", timeouts.icmp, 60..=WEEK, "RFC 5508 REQ-2", usual.icmp),
    ]
    .into_iter()
    .filter(|(_, seconds, bounds, ..)| !bounds.contains(seconds))
    .map(|(name, seconds, bounds, rfc, usual)| {
        let (least, most) = bounds.into_inner();
        let message = format!("{seconds} seconds are not from {least} to {most} ({rfc})");
        Fault::invalid(format!("spec.timeouts.{name}"), message, format!("write for example {usual}"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_allowed() {
        assert_eq!(ports(&PortSettings::default()), []);
        assert_eq!(timeouts(&Timeouts::default()), []);
    }

    #[test]
    fn the_shortest_times_of_the_rfcs_are_allowed_and_no_shorter_ones() {
        let least =
            Timeouts { tcp_established: 7440, tcp_transitory: 240, tcp_closed: 1, udp: 120, icmp: 60 };
        assert_eq!(timeouts(&least), []);
        let shorter =
            Timeouts { tcp_established: 7439, tcp_transitory: 239, tcp_closed: 0, udp: 119, icmp: 59 };
        let told: Vec<String> = timeouts(&shorter).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "spec.timeouts.tcpEstablished: 7439 seconds are not from 7440 to 604800 (RFC 5382 REQ-5); \
                 write for example 7440",
                "spec.timeouts.tcpTransitory: 239 seconds are not from 240 to 604800 (RFC 5382 REQ-5); \
                 write for example 240",
                "spec.timeouts.tcpClosed: 0 seconds are not from 1 to 240 (RFC 5382 REQ-5); write for example 2",
                "spec.timeouts.udp: 119 seconds are not from 120 to 604800 (RFC 4787 REQ-5); \
                 write for example 300",
                "spec.timeouts.icmp: 59 seconds are not from 60 to 604800 (RFC 5508 REQ-2); write for example 60",
            ]
        );
    }

    #[test]
    fn no_time_is_so_long_that_the_kernel_takes_it_for_a_negative_one() {
        let endless = u32::MAX;
        let long = Timeouts {
            tcp_established: endless,
            tcp_transitory: endless,
            tcp_closed: endless,
            udp: endless,
            icmp: endless,
        };
        assert_eq!(timeouts(&long).len(), 5);
        assert!(i32::try_from(WEEK).is_ok());
    }

    #[test]
    fn a_share_is_a_power_of_two_up_to_eight() {
        let faulty = |pod_share| ports(&PortSettings { pod_share, ..PortSettings::default() });
        for share in 0..=u8::MAX {
            assert_eq!(faulty(share).is_empty(), [1, 2, 4, 8].contains(&share), "{share}");
        }
        let told = faulty(3)[0].to_string();
        assert_eq!(told, "spec.ports.podShare: 3 is none of 1, 2, 4 and 8; write for example 2");
    }
}

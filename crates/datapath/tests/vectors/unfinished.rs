//! A checksum that the sender leaves to the device, which no run by hand can hand in: a real frame by a real interface.

use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use egret_datapath::layout::PATH_WIRE;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::describe;
use crate::kernel::Kernel;
use crate::packet::{checksum, udp};
use crate::support::{alone, ip};
use crate::world::World;

const IP: usize = 14;
const UDP: usize = IP + 20;

/// A socket of whole frames of IPv4 at an interface.
fn frames(interface: &str) -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Packet, SockType::Raw, flags, None::<SockProtocol>).unwrap();
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0x0800_u16.to_be(),
        sll_ifindex: nix::net::if_::if_nametoindex(interface).unwrap() as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address is a sockaddr_ll that lives through the call, and the length is its own.
    let bound = unsafe {
        libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as u32)
    };
    assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
    fd
}

/// Sends a UDP frame by an interface, with the sum of its pseudo header only: the rest is for the device.
fn send_unfinished(interface: &str, mut frame: Vec<u8>) {
    const NEEDS_CHECKSUM: u8 = 1;
    let length = ((frame.len() - UDP) as u16).to_be_bytes();
    let pseudo = !checksum(&[&frame[IP + 12..IP + 20], &[0, 17], &length]);
    frame[UDP + 6..UDP + 8].copy_from_slice(&pseudo.to_be_bytes());
    // struct virtio_net_hdr: where the sum begins, and where it goes from there.
    let words = [0, 0, UDP as u16, 6].map(u16::to_ne_bytes).concat();
    let message = [&[NEEDS_CHECKSUM, 0], &words[..], &frame].concat();
    let fd = frames(interface);
    let on: libc::c_int = 1;
    // SAFETY: the value is an int that lives through the call, and the length is its own.
    let set = unsafe {
        let (level, option) = (libc::SOL_PACKET, libc::PACKET_VNET_HDR);
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as u32,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    assert_eq!(nix::unistd::write(&fd, &message).unwrap(), message.len());
}

#[test]
fn a_checksum_left_to_the_device_is_finished_before_the_packet_is_cut() {
    alone(|bpf| {
        let mut kernel = Kernel::load(bpf);
        for end in ["pod0", "pod1"] {
            ip(&format!("link set {end} mtu 4000"));
        }
        let mut world = World::standard(kernel.on);
        world.flow(17, "10.244.1.10:41000", "198.51.100.9:443", "10.10.0.11:2000", (0, 0), 0);
        let wire = kernel.on.wire;
        world.each_egress(|egress| {
            egress.path = PATH_WIRE;
            egress.link = wire;
        });
        kernel.fill(&world);
        kernel.attach("from_pod", "pod0");

        let mut out = std::fs::File::from(frames("wire1"));
        let came = udp("10.244.1.10:41000", "198.51.100.9:443").payload(2000).bytes();
        send_unfinished("pod1", came.clone());
        let mut last = vec![0; 4096];
        let begun = Instant::now();
        let length = loop {
            match out.read(&mut last) {
                Ok(length) => break length,
                Err(_) if begun.elapsed() < Duration::from_secs(10) => std::thread::yield_now(),
                Err(error) => panic!("nothing leaves by the wire: {error}"),
            }
        };
        last.truncate(length);
        // The copies are seen where they are made, the rest where it left.
        last[..12].copy_from_slice(&came[..12]);
        let (whole, sizes) = kernel.joined(&came, last, true);
        assert_eq!(sizes, [1500, 548 + 8]);
        let expected = "pod>host udp 10.10.0.11:2000>198.51.100.9:443 ttl=63";
        assert_eq!(describe::frame(&whole), expected, "its checksum");
    });
}

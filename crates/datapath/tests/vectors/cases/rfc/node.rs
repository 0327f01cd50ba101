//! A node with one pod that is sent one packet after the other.

use std::path::Path;

use egret_datapath::layout::VNI_TO_POD;

use crate::kernel::{Kernel, Outcome};
use crate::packet::Packet;
use crate::world::{World, addr};

/// What the kernel hears of a packet that goes on, and of one that does not.
pub const REDIRECT: u32 = 7;
pub const DROP: u32 = 2;

pub struct Node(pub Kernel);

impl Node {
    /// The standard node, changed.
    pub fn new(bpf: &Path, change: impl Fn(&mut World)) -> Self {
        let mut node = Node(Kernel::load(bpf));
        node.is(change);
        node
    }

    /// The standard node once more, changed.
    pub fn is(&mut self, change: impl Fn(&mut World)) {
        let mut world = World::standard(self.0.on);
        change(&mut world);
        self.0.fill(&world);
    }

    /// Its pod sends.
    pub fn out(&mut self, packet: &Packet) -> Outcome {
        let link = self.0.on.pod;
        self.0.run("from_pod", link, None, &packet.bytes())
    }

    /// A gateway brings it an answer.
    pub fn back(&mut self, packet: &Packet) -> Outcome {
        let link = self.0.on.overlay;
        self.0.run("from_overlay", link, Some((addr("10.0.0.4"), VNI_TO_POD)), &packet.bytes())
    }
}

/// The port that a packet of IPv4 without options comes from.
pub fn source_port(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[34], frame[35]])
}

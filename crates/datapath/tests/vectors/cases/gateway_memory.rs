//! Gateways keep nothing per flow.

use crate::kernel::Kernel;
use crate::packet::tcp;
use crate::support::alone;
use crate::world::{EGRESS, World, addr};

const FLOWS: u32 = 100_000;
const REDIRECT: u32 = 7;

#[test]
fn a_hundred_thousand_flows_leave_no_trace_at_a_gateway() {
    alone(|bpf| {
        let mut kernel = Kernel::load(bpf);
        let mut world = World::standard(kernel.on);
        world.gateway();
        world.served.values_mut().for_each(|served| served.shift = 10);
        // Ports 1024 to 2047 of each address.
        world.leases = EGRESS.iter().map(|egress| ((addr(egress), 1), addr("10.0.0.4"))).collect();
        kernel.fill(&world);
        let before = kernel.entries();
        let (overlay, wire) = (kernel.on.overlay, kernel.on.wire);
        let way_out = Some((addr("10.0.0.4"), egret_datapath::layout::VNI_TO_WIRE));
        kernel.run("from_overlay", overlay, way_out, &tcp("10.10.0.11:1024", "198.51.100.9:1", "S").bytes());
        for flow in 0..FLOWS / 2 {
            let egress = format!("10.10.0.11:{}", 1024 + flow % 1024);
            let remote = format!("198.51.{}.{}:443", 100 + flow / 1024 / 250, 1 + flow / 1024 % 250);
            let (out, _) = kernel.execute("from_overlay", overlay, &tcp(&egress, &remote, "S").bytes());
            let (back, _) =
                kernel.execute("from_wire", wire, &tcp(&remote, &egress, "SA").eth("wire", "router").bytes());
            assert_eq!((out, back), (REDIRECT, REDIRECT), "{egress} {remote}");
            let egress = format!("[fd00:10:10::11]:{}", 1024 + flow % 1024);
            let remote = format!("[2001:db8::{:x}]:443", flow / 1024);
            let (out, _) = kernel.execute("from_overlay", overlay, &tcp(&egress, &remote, "S").bytes());
            let (back, _) =
                kernel.execute("from_wire", wire, &tcp(&remote, &egress, "SA").eth("wire", "router").bytes());
            assert_eq!((out, back), (REDIRECT, REDIRECT), "{egress} {remote}");
        }
        assert_eq!(kernel.entries(), before);
        assert_eq!(kernel.read(&world).state(), world.state());
    });
}

//! Under load only ports are planned again. That each such plan is as one from scratch is looked at by every agent of
//! every cluster in miniature.

use egret_api::PortUse;
use egret_plan::Steering;

use crate::links::{address, cluster};
use crate::sim::Cluster;

#[test]
fn a_load_that_rises_and_falls_is_planned_by_the_ports_that_change() {
    for steering in [Steering::Overlay, Steering::Auto] {
        let mut cluster = cluster(steering);
        let leases = |cluster: &Cluster| cluster.world.record(address()).unwrap().spec.leases.clone();
        let mut changed = Vec::new();
        for flows in [0, 400, 3_000, 20_000, 3_000, 0] {
            let (again, before) = (cluster.again, leases(&cluster));
            let busy_blocks = cluster.kernels["node-1"].egress[&address()].blocks[..1].to_vec();
            let used = PortUse { wanted_blocks: 0, flows, busy_blocks };
            cluster.flows.insert(("node-1".to_owned(), address()), used);
            cluster.settle();
            if leases(&cluster) != before {
                changed.push(flows);
                // The node itself, and each of three gateways.
                assert!(cluster.again >= again + 4, "{flows} flows: {} plans", cluster.again - again);
            }
        }
        assert!(changed.len() >= 3, "leases changed with {changed:?} flows");
    }
}

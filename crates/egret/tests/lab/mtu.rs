//! Packets of every size arrive whole, or their sender is told how large they may be: there is no black hole.

use std::net::IpAddr;
use std::process::Command;

use crate::exchange::{Cutting, ECHO, datagram, forget_ways, stream};
use crate::families::{FAR, at, pools, steered};
use crate::harness::{Host, Lab, SMALL};

/// The most that an IPv4 packet holds: 65,507 bytes of UDP.
const LARGEST: usize = 65_535;

/// What the networks outside carry.
struct Scene {
    what: &'static str,
    wire: u32,
    far: u32,
    /// Sizes of IP packets, around each edge of the way.
    sizes: &'static [usize],
}

const SCENES: [Scene; 4] = [
    Scene {
        what: "1500 everywhere",
        wire: 1500,
        far: 1500,
        sizes: &[1280, 1450, 1451, 1500, 1501, 4000, LARGEST],
    },
    Scene {
        what: "1400 behind the router",
        wire: 1500,
        far: 1400,
        sizes: &[1400, 1401, 1450, 1451, 1500, 4000],
    },
    Scene { what: "1400 on the wire", wire: 1400, far: 1500, sizes: &[1400, 1401, 1451, 1500, 4000] },
    Scene {
        what: "9000 outside",
        wire: 9000,
        far: 9000,
        sizes: &[1450, 1451, 1500, 1501, 8999, 9001, LARGEST],
    },
];

impl Scene {
    fn set(&self, lab: &str) {
        let links = [
            ("node-4", "eth1", self.wire),
            ("node-5", "eth1", self.wire),
            ("router", "eth1", self.wire),
            ("outside-1", "eth0", self.wire),
            ("router", "eth2", self.far),
            ("outside-2", "eth0", self.far),
        ];
        for (host, link, mtu) in links {
            for (namespace, link) in [(host, link.to_owned()), ("switch", format!("{host}.{link}"))] {
                let set = Command::new("ip")
                    .args(["-n", &format!("{lab}-{namespace}"), "link", "set", &link])
                    .args(["mtu", &mtu.to_string()])
                    .output()
                    .unwrap();
                assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
            }
        }
    }
}

/// What went wrong with datagrams and a stream between this pod and this outside host.
fn exchanges(pod: &Host, outside: &Host, end: IpAddr, scene: &Scene) -> Vec<String> {
    let server = at(&end.to_string(), ECHO);
    let mut wrong = Vec::new();
    for &size in scene.sizes {
        for cutting in [Cutting::Nobody, Cutting::Routers, Cutting::Sender, Cutting::Deaf] {
            outside.wait(forget_ways);
            let came = pod.wait(move || {
                forget_ways();
                datagram(server, cutting, size)
            });
            if !came.as_ref().is_ok_and(|came| *came == size || cutting == Cutting::Nobody) {
                wrong.push(format!("{size} bytes to {end}, cut by {cutting:?}: {came:?}"));
            }
        }
    }
    outside.wait(forget_ways);
    let streamed = pod.wait(move || {
        forget_ways();
        stream(server, 1_000_000)
    });
    if let Err(e) = streamed {
        wrong.push(format!("TCP to {end}: {e}"));
    }
    wrong
}

fn no_black_hole(name: &str, topology: &str, by_link: bool) {
    let lab = Lab::up(name, topology);
    lab.apply(&pools(""));
    let outside = lab.host("outside-2");
    outside.serve_sources(7000);
    outside.serve_echo(ECHO, Cutting::Sender);
    let pods = ["node-1", "node-4"].map(|node| {
        let pod = lab.pod("nat", &format!("pod-{node}"), node, "app=nat");
        if by_link {
            lab.until_no_tunnel(&pod, node);
        }
        (node, pod)
    });
    let mut wrong = Vec::new();
    for scene in &SCENES {
        scene.set(name);
        for (node, pod) in &pods {
            for end in FAR {
                let found = exchanges(pod, &outside, end.parse().unwrap(), scene);
                wrong.extend(found.iter().map(|found| format!("{}, {node}: {found}", scene.what)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    lab.assert_no_leak();
}

#[test]
fn no_size_is_a_black_hole_through_the_overlay() {
    no_black_hole("t-mtu-o", &steered("overlay"), false);
}

#[test]
fn no_size_is_a_black_hole_by_the_link() {
    no_black_hole("t-mtu", SMALL, true);
}

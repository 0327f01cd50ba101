//! What an interface is: found in a real kernel, in the shapes that networks of pods have. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use egret_datapath::{LinkQuery, LinkSnapshot, Links, SecondQuery};
use nix::net::if_::if_nametoindex;
use support::{Namespace, alone, block_on, ip};

fn addresses(texts: &[&str]) -> BTreeSet<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn index(name: &str) -> u32 {
    if_nametoindex(name).unwrap()
}

fn underlay_and_wire() -> Namespace {
    let other = Namespace::new();
    other.link("eth0", "eth0");
    other.link("eth1", "eth1");
    ip("addr add 10.0.0.1/24 dev eth0");
    ip("addr add 10.10.0.101/24 dev eth1");
    other
}

/// Snapshots after each change, until one is as it must be.
async fn until(
    links: &mut Links,
    pods: &BTreeSet<IpAddr>,
    done: impl Fn(&LinkSnapshot) -> bool,
) -> LinkSnapshot {
    until_with(links, pods, &BTreeMap::new(), done).await
}

/// The same, with addresses of pods in other networks.
async fn until_with(
    links: &mut Links,
    pods: &BTreeSet<IpAddr>,
    second: &BTreeMap<String, SecondQuery>,
    done: impl Fn(&LinkSnapshot) -> bool,
) -> LinkSnapshot {
    let query = LinkQuery { underlay_address: "10.0.0.1".parse().unwrap(), overlay: "egret0", pods, second };
    let mut last = None;
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let snapshot = links.snapshot(&query).await.unwrap();
            if done(&snapshot) {
                return snapshot;
            }
            last = Some(snapshot);
            links.changed().await;
        }
    })
    .await;
    waited.unwrap_or_else(|_| panic!("not in time: {last:#?}"))
}

#[test]
fn a_pod_behind_its_own_route() {
    alone(|_| {
        block_on(async {
            let _other = underlay_and_wire();
            let pod = Namespace::new();
            pod.link("veth1", "eth0");
            let pods = addresses(&["10.244.1.10", "fd00:10:244:1::10"]);
            let mut links = Links::open().await.unwrap();
            let before = until(&mut links, &pods, |_| true).await;
            assert!(before.candidates.contains(&index("veth1")), "held before it is known: {before:#?}");

            ip("addr add 169.254.1.1/32 dev veth1");
            ip("route add 10.244.1.10/32 dev veth1");
            ip("route add fd00:10:244:1::10/128 dev veth1");
            pod.ip("addr add 10.244.1.10/32 dev eth0");
            pod.ip("route add 169.254.1.1 dev eth0");
            pod.ip("route add default via 169.254.1.1");
            pod.ip("addr add fd00:10:244:1::10/128 dev eth0 nodad");
            let snapshot = until(&mut links, &pods, |snapshot| snapshot.pod_links.len() == 2).await;
            for (pod, at) in &snapshot.pod_links {
                assert_eq!(at.link, index("veth1"), "{pod}");
                assert_ne!(at.mac, at.host_mac);
            }
            assert_eq!(snapshot.candidates, BTreeSet::from([index("veth1")]));
            let wires: Vec<&str> = snapshot.wires.iter().map(|wire| wire.interface.as_str()).collect();
            assert_eq!(wires, ["eth0", "eth1"]);

            ip("neigh flush dev veth1");
            let aged = until(&mut links, &pods, |_| true).await;
            assert_eq!(
                aged.pod_links, snapshot.pod_links,
                "a pod stays where it is when its neighbour entry ages"
            );
            ip("link del veth1");
            until(&mut links, &pods, |snapshot| {
                snapshot.pod_links.is_empty() && snapshot.candidates.is_empty()
            })
            .await;
        });
    });
}

#[test]
fn a_pod_on_a_bridge() {
    alone(|_| {
        block_on(async {
            let _other = underlay_and_wire();
            ip("link add cni0 type bridge");
            ip("link set cni0 up");
            ip("addr add 10.244.1.1/24 dev cni0");
            let (first, second) = (Namespace::new(), Namespace::new());
            for (number, pod) in [(1, &first), (2, &second)] {
                pod.link(&format!("veth{number}"), "eth0");
                ip(&format!("link set veth{number} master cni0"));
                pod.ip(&format!("addr add 10.244.1.1{number}/24 dev eth0"));
                pod.ip("route add default via 10.244.1.1");
            }
            let pods = addresses(&["10.244.1.11", "10.244.1.12"]);
            let mut links = Links::open().await.unwrap();
            let snapshot = until(&mut links, &pods, |snapshot| snapshot.pod_links.len() == 2).await;
            for (number, (pod, at)) in (1..).zip(&snapshot.pod_links) {
                assert_eq!(at.link, index(&format!("veth{number}")), "{pod}");
            }
            let host: BTreeSet<[u8; 6]> = snapshot.pod_links.values().map(|at| at.host_mac).collect();
            assert_eq!(host.len(), 1, "the bridge's own address");
            assert_eq!(snapshot.candidates, BTreeSet::from([index("veth1"), index("veth2")]));
            assert!(snapshot.wires.iter().all(|wire| wire.interface != "cni0"));
        });
    });
}

#[test]
fn a_bridge_is_a_wire_if_hardware_is_among_its_ports() {
    alone(|_| {
        block_on(async {
            let _other = underlay_and_wire();
            let (outside, pod) = (Namespace::new(), Namespace::new());
            // There is no hardware in a namespace; what is made of a link is as good.
            outside.link("eth2", "eth0");
            ip("link add br0 type bridge");
            ip("link set br0 up");
            ip("addr add 192.0.2.5/24 dev br0");
            pod.link("veth1", "eth0");
            ip("link set veth1 master br0");
            let mut links = Links::open().await.unwrap();
            let pods = until(&mut links, &BTreeSet::new(), |_| true).await;
            assert!(pods.wires.iter().all(|wire| wire.interface != "br0"), "only pods: {pods:#?}");

            ip("link add link eth2 name port0 type macvlan mode passthru");
            ip("link set port0 master br0 up");
            let is_wire =
                |s: &LinkSnapshot| s.wires.iter().any(|wire| wire.interface == "br0" && wire.carrier);
            let snapshot = until(&mut links, &BTreeSet::new(), is_wire).await;
            let wires: Vec<&str> = snapshot.wires.iter().map(|wire| wire.interface.as_str()).collect();
            assert_eq!(wires.len(), 3, "{wires:?}");
            assert_eq!(snapshot.candidates, BTreeSet::from([index("veth1")]), "no pod is behind eth2");
        });
    });
}

#[test]
fn the_underlay_is_known_with_every_address_of_its_own() {
    alone(|_| {
        block_on(async {
            let _other = underlay_and_wire();
            ip("addr add 10.0.0.77/32 dev eth0");
            ip("addr add fd00::1/64 dev eth0 nodad");
            let mut links = Links::open().await.unwrap();
            let snapshot = until(&mut links, &BTreeSet::new(), |_| true).await;
            let mut found = snapshot.underlay.unwrap().addresses;
            found.retain(|net| !net.addr().to_string().starts_with("fe80"));
            let own = ["10.0.0.1/24", "10.0.0.77/32", "fd00::1/64"].map(|net| net.parse().unwrap());
            assert_eq!(found, BTreeSet::from(own));
        });
    });
}

#[test]
fn a_wire_that_loses_its_carrier() {
    alone(|_| {
        block_on(async {
            let other = underlay_and_wire();
            let mut links = Links::open().await.unwrap();
            let pods = BTreeSet::new();
            let carrier = |snapshot: &LinkSnapshot, is: bool| {
                snapshot.wires.iter().any(|wire| wire.interface == "eth1" && wire.carrier == is)
            };
            until(&mut links, &pods, |snapshot| carrier(snapshot, true)).await;
            other.ip("link set eth1 down");
            until(&mut links, &pods, |snapshot| carrier(snapshot, false)).await;
            other.ip("link set eth1 up");
            until(&mut links, &pods, |snapshot| carrier(snapshot, true)).await;
        });
    });
}

/// A bridge without an address, as the second network of two pods: what leads there is told apart from the pods' own links,
/// and an address is found where it is, whatever is said of it.
#[test]
fn the_links_of_pods_into_another_network() {
    alone(|_| {
        block_on(async {
            let other = underlay_and_wire();
            let pods = [Namespace::new(), Namespace::new()];
            ip("link add second type bridge");
            ip("link set second up");
            for (n, pod) in pods.iter().enumerate() {
                pod.link(&format!("veth{n}"), "eth0");
                ip(&format!("addr add 169.254.1.1/32 dev veth{n}"));
                ip(&format!("route add 10.244.1.1{n}/32 dev veth{n}"));
                pod.ip(&format!("addr add 10.244.1.1{n}/32 dev eth0"));
                pod.ip("route add 169.254.1.1 dev eth0");
                pod.ip("route add default via 169.254.1.1");
                pod.link(&format!("second{n}"), "net1");
                ip(&format!("link set second{n} master second"));
                pod.ip(&format!("addr add 123.123.123.1{n}/24 dev net1"));
            }
            let own = addresses(&["10.244.1.10", "10.244.1.11"]);
            // Both say that they have both addresses, and one that nobody has.
            let said = addresses(&[
                "123.123.123.10",
                "123.123.123.11",
                "123.123.123.99",
                "10.10.0.17",
                "10.10.0.18",
            ]);
            let query = |own: &str| SecondQuery { own: addresses(&[own]), addresses: said.clone() };
            let second = BTreeMap::from([
                ("a/one".to_owned(), query("10.244.1.10")),
                ("a/two".to_owned(), query("10.244.1.11")),
            ]);
            // Of an interface of this node, and of one of the other's that is in the same place there.
            ip(&format!("link add link eth1 net2 netns {} type macvlan mode bridge", pods[0].id()));
            pods[0].ip("addr add 10.10.0.17/24 dev net2");
            other.ip("link add link eth1 net2 type macvlan mode bridge");
            other.ip(&format!("link set net2 netns {}", pods[1].id()));
            pods[1].ip("addr add 10.10.0.18/24 dev net2");
            let mut links = Links::open().await.unwrap();
            let before = until_with(&mut links, &BTreeSet::new(), &second, |_| true).await;
            assert_eq!(before.candidates.len(), 4, "held before it is known whose they are: {before:#?}");
            assert!(before.second_links.is_empty(), "{before:#?}");

            let found = until_with(&mut links, &own, &second, |found| found.pod_links.len() == 2).await;
            let both = |name: &str| [0, 1].map(|n| index(&format!("{name}{n}")));
            assert_eq!(found.candidates, both("veth").into(), "{found:#?}");
            assert_eq!(found.second, both("second").into(), "{found:#?}");
            let places: Vec<_> = found
                .second_links
                .iter()
                .map(|((pod, address), place)| (pod.as_str(), address.to_string(), place.at.link))
                .collect();
            let [first, other] = both("second");
            let expected = [
                ("a/one", "10.10.0.17".to_owned(), index("eth1")),
                ("a/one", "123.123.123.10".to_owned(), first),
                ("a/two", "123.123.123.11".to_owned(), other),
            ];
            assert_eq!(places, expected);
            for place in found.second_links.values() {
                let network = if place.shared { "10.10.0.0/24" } else { "123.123.123.0/24" };
                assert_eq!(place.network.to_string(), network);
                assert_ne!(place.at.mac, place.at.host_mac);
                assert!(!found.pod_links.values().any(|own| own.mac == place.at.mac), "{found:#?}");
            }
            assert_eq!(found.parents().collect::<Vec<_>>(), [index("eth1")]);
        });
    });
}

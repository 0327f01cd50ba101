//! The datapath's life in a real kernel: made, left, adopted, removed. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Map, MapData};
use aya::programs::{SchedClassifier, TcAttachType};
use egret_datapath::layout::{Rule, RuleData};
use egret_datapath::{Attach, Config, Datapath, DatapathError, LinkQuery, Links, Prober, Role, remove};
use egret_plan::Change;
use egret_plan::tables::{
    Captured, EgressEntry, Guard, Hops, NodeEntry, Path as Way, PodEntry, PortMatch, PortRule, ServedEntry,
    Settings, Tables, Timers, UnknownPods,
};
use support::{Namespace, alone, block_on, ip, run};

fn config(bpf: &Path, attach: Attach) -> Config {
    Config {
        pin_dir: bpf.join("egret"),
        underlay: "under0".to_owned(),
        underlay_address: "10.0.0.1".parse().unwrap(),
        overlay: "egret0".to_owned(),
        vxlan_port: 8474,
        attach,
        max_flows: 4096,
        tell_flows: true,
    }
}

/// A node with an underlay, a wire and a pod, whose other ends are in another namespace.
fn node() -> Namespace {
    let other = Namespace::new();
    for name in ["under", "wire", "pod"] {
        other.link(&format!("{name}0"), &format!("{name}1"));
    }
    ip("addr add 10.0.0.1/24 dev under0");
    ip("addr add 10.10.0.101/24 dev wire0");
    other
}

fn tables(pod_link: u32, wire: u32) -> Tables {
    let egress = "10.10.0.11".parse().unwrap();
    let egress6 = "fd00:10:10::11".parse().unwrap();
    let any = |egress| vec![PortRule { ports: PortMatch::Any, egress }];
    Tables {
        settings: Settings {
            unknown_pods: UnknownPods::Hold,
            overlay_mtu: 1400,
            hops: Hops { v4: "10.10.0.101".parse().ok(), v6: "fd00:10:10::101".parse().ok() },
        },
        inside: BTreeSet::from(["10.244.0.0/16".parse().unwrap(), "fd00:10:244::/48".parse().unwrap()]),
        nodes: BTreeMap::from([
            ("10.0.0.4".parse().unwrap(), NodeEntry::default()),
            ("10.0.0.5".parse().unwrap(), NodeEntry { mac: Some([2, 0, 0, 0, 0, 5]), direct: true }),
        ]),
        pods: BTreeMap::from([(
            "10.244.1.10".parse().unwrap(),
            PodEntry {
                link: pod_link,
                mac: [2, 0, 0, 0, 1, 10],
                host_mac: [2, 0, 0, 0, 1, 1],
                rules: 7,
                shared: true,
            },
        )]),
        rules: BTreeMap::from([
            ((7, "::/0".parse().unwrap()), any(Some(egress6))),
            ((7, "198.51.100.0/24".parse().unwrap()), any(Some(egress))),
            (
                (7, "198.51.100.9/32".parse().unwrap()),
                vec![
                    PortRule { ports: PortMatch::Tcp(443, 443), egress: None },
                    PortRule { ports: PortMatch::Udp(53, 53), egress: Some(egress) },
                ],
            ),
        ]),
        egress: BTreeMap::from([
            (
                egress,
                EgressEntry {
                    path: Way::Overlay("10.0.0.4".parse().unwrap()),
                    block_size: 512,
                    blocks: vec![1024, 1536],
                    pod_share: 8,
                    timers: Timers { udp: 120, ..Timers::default() },
                    node_address: true,
                },
            ),
            (
                egress6,
                EgressEntry {
                    path: Way::Wire(wire),
                    block_size: 1024,
                    blocks: vec![],
                    pod_share: 2,
                    timers: Timers::default(),
                    node_address: false,
                },
            ),
        ]),
        served: BTreeMap::from([(
            egress,
            ServedEntry { wire, mac: [2; 6], holder: true, block_size: 512, node_address: true },
        )]),
        leases: BTreeMap::from([
            ((egress, 1024), "10.0.0.5".parse().unwrap()),
            ((egress, 65024), "fd00::5".parse().unwrap()),
        ]),
        guard: Guard::default(),
    }
}

fn guard() -> Guard {
    let range = |first: &str, last: &str, ports| Captured {
        first: first.parse().unwrap(),
        last: last.parse().unwrap(),
        ports,
    };
    Guard {
        pod_networks: BTreeSet::from(["10.244.1.0/24".parse().unwrap()]),
        free: BTreeSet::from(["10.244.1.9".parse().unwrap()]),
        selected: BTreeMap::from([("10.244.1.10".parse().unwrap(), 7)]),
        captured: BTreeMap::from([(
            7,
            BTreeSet::from([
                range("0.0.0.0", "255.255.255.255", PortMatch::Any),
                range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PortMatch::Any),
                range("198.51.100.0", "198.51.100.255", PortMatch::Tcp(80, 90)),
                range("198.51.100.9", "198.51.100.9", PortMatch::Tcp(91, 100)),
                range("198.51.100.9", "198.51.100.9", PortMatch::Udp(53, 53)),
            ]),
        )]),
    }
}

/// What takes a kernel from nothing to the tables.
fn changes(tables: &Tables) -> Vec<Change> {
    let mut changes = vec![Change::Settings(tables.settings)];
    changes.extend(tables.inside.iter().map(|net| Change::SetInside(*net)));
    changes.extend(tables.nodes.iter().map(|(a, n)| Change::SetNode(*a, *n)));
    changes.extend(tables.served.iter().map(|(a, s)| Change::SetServed(*a, *s)));
    changes.extend(
        tables
            .leases
            .iter()
            .map(|((a, first), node)| Change::SetLease(*a, *first, tables.served[a].block_size, *node)),
    );
    changes.extend(tables.egress.iter().map(|(a, e)| Change::SetEgress(*a, e.clone())));
    changes.extend(tables.rules.iter().map(|((set, net), r)| Change::SetRule(*set, *net, r.clone())));
    changes.extend(tables.pods.iter().map(|(a, p)| Change::SetPod(*a, *p)));
    changes.push(Change::SetGuard(guard()));
    changes
}

fn life(bpf: &Path, attach: Attach) {
    block_on(async {
        let _other = node();
        let before = links();
        let mut links = Links::open().await.unwrap();
        let pods = BTreeSet::from(["10.244.1.10".parse().unwrap()]);
        let second = BTreeMap::new();
        let query = LinkQuery {
            underlay_address: "10.0.0.1".parse().unwrap(),
            overlay: "egret0",
            pods: &pods,
            second: &second,
        };
        let snapshot = links.snapshot(&query).await.unwrap();
        let underlay = snapshot.underlay.clone().unwrap();
        assert_eq!(snapshot.underlay_interface, "under0");
        let wires: Vec<&str> = snapshot.wires.iter().map(|wire| wire.interface.as_str()).collect();
        assert_eq!(wires, ["under0", "wire0"]);
        assert_eq!(snapshot.candidates.len(), 1, "the pod's link: {snapshot:?}");
        let (pod_link, wire) = (*snapshot.candidates.first().unwrap(), snapshot.wires[1].link);

        let mut datapath = Datapath::open(config(bpf, attach)).await.unwrap();
        assert_eq!(datapath.overlay_mtu(), 1450);
        assert_eq!(datapath.read().unwrap().settings, Settings::default());
        datapath.attach_pod(pod_link).unwrap();
        datapath.attach_pod(pod_link).unwrap();
        datapath.attach_wire(wire).unwrap();
        datapath.attach_wire(underlay.link).unwrap();
        datapath.attach_underlay(underlay.link).unwrap();
        let attached = BTreeSet::from([
            (pod_link, Role::Pod),
            (wire, Role::Wire),
            (underlay.link, Role::Wire),
            (underlay.link, Role::Underlay),
            (datapath.overlay_link(), Role::Overlay),
        ]);
        assert_eq!(datapath.attached(), attached);
        let tables = tables(pod_link, wire);
        datapath.apply(&changes(&tables)).unwrap();
        assert_eq!(datapath.read().unwrap(), tables);
        datapath.set_ready(true).unwrap();
        let sweep = datapath.sweep().unwrap().unwrap();
        assert_eq!((sweep.kept, sweep.expired, sweep.orphaned), (0, 0, 0));
        assert!(Prober::open(datapath.overlay_link()).unwrap().send("10.0.0.4".parse().unwrap(), 1).is_ok());
        assert_eq!(datapath.counters().read().unwrap()["SENT_PROBE"].packets, 1);

        drop(datapath);
        let mut adopted = Datapath::open(config(bpf, attach)).await.unwrap();
        assert_eq!(adopted.read().unwrap(), tables);
        assert_eq!(adopted.attached(), attached);
        assert_eq!(adopted.counters().read().unwrap()["SENT_PROBE"].packets, 1, "counters go on");
        ip("link del pod0");
        adopted.detach(pod_link, Role::Pod).unwrap();
        assert!(!adopted.attached().contains(&(pod_link, Role::Pod)));
        drop(adopted);
        ip("link add pod0 type veth peer name pod2");
        drop(Datapath::open(config(bpf, attach)).await.unwrap());
        remove(&bpf.join("egret"), "egret0").await.unwrap();
        ip("link del pod0");
        let left: Vec<String> = before.into_iter().filter(|name| !name.starts_with("pod0")).collect();
        nothing_is_left(bpf, &left);
        remove(&bpf.join("egret"), "egret0").await.unwrap();
        nothing_is_left(bpf, &left);
    });
}

/// The names of all links. Whether they are up is the kernel's matter, and takes it a moment.
fn links() -> Vec<String> {
    run("ip", "-br link")
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn nothing_is_left(bpf: &Path, links: &[String]) {
    assert_eq!(self::links(), links);
    assert_eq!(run("nft", "list tables"), "");
    assert_eq!(run("tc", "qdisc show").matches("clsact").count(), 0);
    assert_eq!(std::fs::read_dir(bpf.join("egret")).unwrap().count(), 0);
}

#[test]
fn a_datapath_is_left_and_adopted_with_tcx() {
    alone(|bpf| life(bpf, Attach::Tcx));
}

#[test]
fn a_datapath_is_left_and_adopted_with_clsact() {
    alone(|bpf| life(bpf, Attach::Clsact));
}

#[test]
fn what_the_kernel_cannot_hold_is_named() {
    alone(|bpf| {
        let bpf = bpf.to_owned();
        block_on(async {
            let _other = node();
            let missing = Config { pin_dir: "/run".into(), ..config(&bpf, Attach::Auto) };
            let error = Datapath::open(missing).await.err().unwrap().to_string();
            assert!(error.contains("--pin-dir /run: no BPF file system"), "{error}");
            let mut datapath = Datapath::open(config(&bpf, Attach::Auto)).await.unwrap();
            let rules = vec![PortRule { ports: PortMatch::Any, egress: None }; 17];
            let error = datapath
                .apply(&[
                    Change::SetRule(1, "10.0.0.0/8".parse().unwrap(), rules),
                    Change::SetInside("::/0".parse().unwrap()),
                    Change::SetNode("10.0.0.9".parse().unwrap(), NodeEntry::default()),
                ])
                .unwrap_err();
            assert_eq!(error.failures.len(), 2, "{error:?}");
            assert!(
                error.to_string().contains("map rules, entry 0000000000000001 10.0.0.0/8: 17 port rules")
            );
            assert_eq!(datapath.read().unwrap().nodes.len(), 1, "the others are in force");
        });
    });
}

/// Two pins that change their names are maps of a version with another layout.
fn what_another_version_left_is_refused_and_can_be_removed(bpf: &Path, attach: Attach) {
    block_on(async {
        let _other = node();
        let links = links();
        let mut datapath = Datapath::open(config(bpf, attach)).await.unwrap();
        datapath.attach_pod(nix::net::if_::if_nametoindex("pod0").unwrap()).unwrap();
        drop(datapath);
        let maps = bpf.join("egret/maps");
        std::fs::rename(maps.join("nodes"), maps.join("egress")).unwrap();
        let error = Datapath::open(config(bpf, attach)).await.err().unwrap();
        assert!(matches!(error, DatapathError::MapShape { .. }), "{error}");
        assert!(error.to_string().contains("egret agent --uninstall"), "{error}");
        remove(&bpf.join("egret"), "egret0").await.unwrap();
        nothing_is_left(bpf, &links);
        drop(Datapath::open(config(bpf, attach)).await.unwrap());
    });
}

#[test]
fn what_another_version_left_is_refused_and_can_be_removed_with_tcx() {
    alone(|bpf| what_another_version_left_is_refused_and_can_be_removed(bpf, Attach::Tcx));
}

#[test]
fn what_another_version_left_is_refused_and_can_be_removed_with_clsact() {
    alone(|bpf| what_another_version_left_is_refused_and_can_be_removed(bpf, Attach::Clsact));
}

/// A wrong `--pin-dir` must not cost a person directories that happen to have our names.
#[test]
fn directories_that_hold_no_pins_are_not_removed() {
    alone(|bpf| {
        block_on(async {
            let _other = node();
            let elsewhere = std::env::temp_dir().join(format!("egret-no-pins-{}", std::process::id()));
            std::fs::create_dir_all(elsewhere.join("maps")).unwrap();
            let refused = remove(&elsewhere, "egret0").await;
            let kept = elsewhere.join("maps").exists();
            std::fs::remove_dir_all(&elsewhere).unwrap();
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("no BPF file system"), "{error}");
            assert!(kept);
            remove(&bpf.join("never-made"), "egret0").await.unwrap();
        });
    });
}

/// In the kernel's form `::/0` covers IPv4 as well; a rule for all of IPv6 may not decide about it.
#[test]
fn a_rule_for_all_of_ipv6_says_nothing_of_ipv4() {
    alone(|bpf| {
        block_on(async {
            let _other = node();
            let mut datapath = Datapath::open(config(bpf, Attach::Auto)).await.unwrap();
            let all6: ipnet::IpNet = "::/0".parse().unwrap();
            let all4: ipnet::IpNet = "0.0.0.0/0".parse().unwrap();
            let by = |egress: &str| {
                vec![PortRule { ports: PortMatch::Any, egress: Some(egress.parse().unwrap()) }]
            };
            let of_outside = || {
                let pinned = MapData::from_pin(bpf.join("egret/maps/rules")).unwrap();
                let map = Map::from_map_data(pinned).unwrap();
                let rules = LpmTrie::<_, RuleData, Rule>::try_from(map).unwrap();
                let addr = "198.51.100.9".parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped().octets();
                let found = rules.get(&Key::new(64 + 128, RuleData { set: 5_u64.to_be_bytes(), addr }), 0);
                found
                    .map(|rule| {
                        (rule.ports[0].action, std::net::IpAddr::from(rule.ports[0].egress).to_string())
                    })
                    .ok()
            };
            let egress = |address: &str| Some((1, address.to_owned()));
            let ordinary = Some((0, "::".to_owned()));
            for (change, expected) in [
                (Change::SetRule(5, all6, by("fd00::1")), ordinary.clone()),
                (Change::SetRule(5, all4, by("10.10.0.1")), egress("10.10.0.1")),
                (Change::RemoveRule(5, all4), ordinary.clone()),
                (Change::SetRule(5, "::/64".parse().unwrap(), by("fd00::2")), ordinary.clone()),
                (Change::RemoveRule(5, all6), ordinary),
                (Change::RemoveRule(5, "::/64".parse().unwrap()), None),
                (Change::SetRule(5, all4, by("10.10.0.1")), egress("10.10.0.1")),
                (Change::SetRule(5, all6, by("fd00::1")), egress("10.10.0.1")),
            ] {
                datapath.apply(std::slice::from_ref(&change)).unwrap();
                assert_eq!(of_outside(), expected, "{change:?}");
            }
            let rules: Vec<_> = datapath.read().unwrap().rules.into_keys().collect();
            assert_eq!(rules, [(5, all4), (5, all6)], "what stands in between is nobody's rule");
        });
    });
}

/// An index is given to another interface while no agent runs.
#[test]
fn programs_of_an_interface_that_is_gone_are_not_put_on_its_successor() {
    alone(|bpf| {
        block_on(async {
            let _other = node();
            let mut datapath = Datapath::open(config(bpf, Attach::Tcx)).await.unwrap();
            let pod = nix::net::if_::if_nametoindex("pod0").unwrap();
            datapath.attach_pod(pod).unwrap();
            drop(datapath);
            ip("link del pod0");
            ip(&format!("link add other0 index {pod} type veth peer name other1"));
            let mut datapath = Datapath::open(config(bpf, Attach::Tcx)).await.unwrap();
            assert!(!datapath.attached().contains(&(pod, Role::Pod)), "{:?}", datapath.attached());
            datapath.attach_wire(pod).unwrap();
            ip("link del other0");
            ip(&format!("link add third0 index {pod} type veth peer name third1"));
            datapath.attach_wire(pod).unwrap();
            let (_, programs) = SchedClassifier::query_tcx("third0", TcAttachType::Ingress).unwrap();
            assert_eq!(programs.len(), 1, "a dead attachment is made anew");
        });
    });
}

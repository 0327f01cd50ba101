//! How long planning takes in a large cluster: `cargo run --release -p egret-plan --example plan_time`.
//!
//! 5,000 nodes (50 of them gateways), 100,000 pods in 1,000 namespaces, 10,000 policies in three dialect forms.
//! Prints, for each figure, the median, smallest and largest of its runs in milliseconds.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use egret_api::{EgressAddress, EgressNode, EgressNodeSpec, Kind, Lease, Object, PortUse, Wire};
use egret_plan::allocate::Decider;
use egret_plan::facts::record_name;
use egret_plan::tables::UnknownPods;
use egret_plan::{
    Affected, ClusterSettings, Local, LocalWire, PodLink, Steering, Underlay, World, allocate, diff, node,
};
use jiff::Timestamp;
use serde_json::{Value, json};

const NODES: usize = 5_000;
const GATEWAYS: usize = 50;
const PODS: usize = 100_000;
const NAMESPACES: usize = 1_000;
const POLICIES: usize = 10_000;
const POOLS: usize = 40;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let settings = ClusterSettings { inside: ["10.96.0.0/12".parse()?].into() };
    let now: Timestamp = "2026-01-01T12:00:00Z".parse()?;
    let mut objects = Vec::new();
    for n in 0..NODES {
        objects.push(cluster_node(n)?);
        objects.push(report(n, BTreeMap::new(), BTreeMap::new(), BTreeMap::new()));
    }
    for n in 0..PODS {
        objects.push(pod(n, n % NODES, "web")?);
    }
    for n in 0..POOLS {
        objects.push(pool(n)?);
    }
    for n in 0..POLICIES {
        objects.push(policy(n)?);
    }

    let mut load = Vec::new();
    let mut world = World::default();
    for _ in 0..3 {
        let copy = objects.clone();
        load.push(time(|| world = World::from_objects(copy)));
    }
    print("read all objects", &load);

    let mut full = Vec::new();
    let mut decision = allocate::Decision::default();
    for _ in 0..5 {
        full.push(time(|| decision = allocate::decide(&world, &settings, now)));
    }
    print("controller, from scratch, nothing allocated yet", &full);
    println!("  {} addresses, {} statuses", decision.addresses.len(), decision.statuses.len());

    let mut decider = Decider::default();
    for _ in 0..4 {
        decision = decider.decide(&mut world, &settings, now).clone();
        settle(&mut world, &decision)?;
    }
    decider.decide(&mut world, &settings, now);
    println!(
        "  settled: {} records and {} statuses to write",
        decider.unwritten().count(),
        decider.untold().count()
    );
    let mut full = Vec::new();
    for _ in 0..5 {
        full.push(time(|| decision = allocate::decide(&world, &settings, now)));
    }
    print("controller, from scratch, all allocated", &full);

    let changes: [(&str, Vec<Object>); 4] = [
        ("a pod moves", (0..20).map(|n| pod(n, (n + 7) % NODES, "web")).collect::<Result<_, _>>()?),
        ("a policy changes", (0..20).map(|n| changed(policy(n * 3)?)).collect::<Result<_, _>>()?),
        ("a policy is new", (0..20).map(|n| policy(POLICIES + n)).collect::<Result<_, _>>()?),
        (
            "a node reports",
            (0..20).map(|n| report(3_000 + n, BTreeMap::new(), BTreeMap::new(), BTreeMap::new())).collect(),
        ),
    ];
    for (what, objects) in changes {
        // What is not written yet is decided again each time.
        let decided = decider.decide(&mut world, &settings, now).clone();
        settle(&mut world, &decided)?;
        decider.decide(&mut world, &settings, now);
        let mut steps = Vec::new();
        for object in objects {
            steps.push(time(|| {
                world.apply(object);
                black_box(decider.decide(&mut world, &settings, now));
            }));
        }
        print(&format!("controller, {what}"), &steps);
        let same = *decider.decision() == allocate::decide(&world, &settings, now);
        println!("  same as from scratch: {same}");
    }

    for (what, n) in [("node with pods", 2_000), ("gateway", 7)] {
        let local = local(&world, n);
        let mut runs = Vec::new();
        let mut plan = node::NodePlan::default();
        for _ in 0..5 {
            runs.push(time(|| plan = node::plan(&world, &settings, &local)));
        }
        print(&format!("agent of a {what}, whole plan"), &runs);
        let (pods, served) = (plan.tables.pods.len(), plan.tables.served.len());
        println!(
            "  {pods} pod addresses, {} egress, {served} served, {} leases",
            plan.tables.egress.len(),
            plan.tables.leases.len()
        );
        let mut steps = Vec::new();
        for i in 0..20 {
            let app = if i % 2 == 0 { "api" } else { "web" };
            let changed = pod(n, n, app)?;
            steps.push(time(|| {
                world.apply(changed);
                let next = node::plan(&world, &settings, &local);
                black_box(diff(&plan.tables, &next.tables));
                plan = next;
            }));
        }
        print(&format!("agent of a {what}, one pod changes, with diff"), &steps);
        let mut steps = Vec::new();
        for i in 0..20 {
            let leased = leased(&world, &plan, &local.node, i)?;
            steps.push(time(|| {
                let Affected::Ports(addresses) = world.apply(leased) else { return };
                let Some(part) = plan.again(&world, &local, &addresses) else { return };
                black_box(diff(&plan.tables.part(&addresses), &part.tables));
                plan.put(part);
            }));
        }
        print(&format!("agent of a {what}, one lease changes, with diff"), &steps);
        println!("  same as from scratch: {}", plan == node::plan(&world, &settings, &local));
    }
    Ok(())
}

/// Milliseconds that the work took, and of these on a CPU: other programs may be busy, too.
fn time(work: impl FnOnce()) -> (f64, f64) {
    let (start, on_cpu) = (Instant::now(), on_cpu());
    work();
    (start.elapsed().as_secs_f64() * 1e3, self::on_cpu() - on_cpu)
}

/// Milliseconds that this thread has run, by the kernel's count.
fn on_cpu() -> f64 {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or_default() / 1e6
}

fn print(what: &str, runs: &[(f64, f64)]) {
    let of = |pick: fn(&(f64, f64)) -> f64| {
        let mut sorted: Vec<f64> = runs.iter().map(pick).collect();
        sorted.sort_by(f64::total_cmp);
        (sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1])
    };
    let ((wall, least, most), (cpu, ..)) = (of(|r| r.0), of(|r| r.1));
    println!("{what:<52} {wall:>8.2} ms  ({least:.2} to {most:.2}, n={}), on CPU {cpu:.2}", runs.len());
}

/// Writes what the controller decided, and the reports of nodes that act on it.
fn settle(world: &mut World, decision: &allocate::Decision) -> Result<(), Failure> {
    let (mut programmed, mut ports) = (BTreeMap::new(), BTreeMap::<String, BTreeMap<String, PortUse>>::new());
    let mut holders = BTreeMap::new();
    for (name, spec) in &decision.addresses {
        programmed.insert(spec.address.clone(), spec.revision);
        if let Some(first) = spec.candidates.first() {
            holders.insert(spec.address.clone(), first.clone());
        }
        for lease in &spec.leases {
            let used = PortUse { wanted_blocks: 1, flows: 3, busy_blocks: vec![lease.first_port] };
            ports.entry(lease.node.clone()).or_default().insert(spec.address.clone(), used);
        }
        world.apply(Object::EgressAddress(Box::new(EgressAddress::new(name, spec.clone()))));
    }
    for n in 0..NODES {
        let ports = ports.remove(&format!("node-{n}")).unwrap_or_default();
        let programmed = if n < GATEWAYS { programmed.clone() } else { BTreeMap::new() };
        let believed = holders.iter().filter(|(a, _)| n < GATEWAYS || ports.contains_key(*a));
        let believed = believed.map(|(a, h)| (a.clone(), h.clone())).collect();
        world.apply(report(n, programmed, ports, believed));
    }
    for (key, status) in &decision.statuses {
        let n: usize = key.name.rsplit('-').next().unwrap_or("0").parse()?;
        let mut value = match key.kind {
            Kind::EgressPool | Kind::ExternalIPPool => pool(n)?.encode()?,
            _ => policy(n)?.encode()?,
        };
        value["status"] = status.clone();
        world.apply(key.kind.decode(value)?);
    }
    Ok(())
}

/// A record that the node uses or serves, with one more lease of the node.
fn leased(world: &World, plan: &node::NodePlan, node: &str, i: usize) -> Result<Object, Failure> {
    let tables = &plan.tables;
    let addresses: Vec<_> = tables.egress.keys().chain(tables.served.keys()).collect();
    let address = addresses.get(i * addresses.len() / 20).ok_or("the node has no address")?;
    let record = world.record(**address).ok_or("the address has no record")?;
    let mut spec = record.spec.clone();
    spec.revision += 1;
    let last = spec.leases.iter().map(|lease| lease.first_port).max().unwrap_or(1024);
    let (node, revision) = (node.to_owned(), spec.revision);
    spec.leases.push(Lease { node, first_port: last + spec.block_size, revision, released: None });
    Ok(Object::EgressAddress(Box::new(EgressAddress::new(&record_name(**address), spec))))
}

/// The same policy for one more destination, or for other pods.
fn changed(object: Object) -> Result<Object, Failure> {
    let kind = object.kind();
    let mut value = object.encode()?;
    match kind {
        Kind::Egress => value["spec"]["appliedTo"]["podSelector"] = json!({}),
        _ => value["spec"]["destinations"] = json!([{"cidr": "192.0.2.0/24"}]),
    }
    Ok(kind.decode(value)?)
}

fn manifest(kind: Kind, name: &str, namespace: &str) -> Value {
    json!({"apiVersion": kind.api_versions()[0], "kind": kind.as_str(), "metadata": {"name": name, "namespace": namespace}})
}

fn underlay(n: usize) -> String {
    format!("10.{}.{}.{}", 128 + n / 62_500, n / 250 % 250, n % 250 + 1)
}

fn cluster_node(n: usize) -> Result<Object, Failure> {
    let mut node = manifest(Kind::Node, &format!("node-{n}"), "");
    if n < GATEWAYS {
        node["metadata"]["labels"] = json!({"role": "gateway"});
    }
    node["spec"] =
        json!({"podCIDRs": [format!("10.{}.{}.0/24", n / 256, n % 256), format!("fd00:1:{n:x}::/64")]});
    node["status"] = json!({"addresses": [{"type": "InternalIP", "address": underlay(n)}]});
    Ok(Kind::Node.decode(node)?)
}

fn report(
    n: usize,
    programmed: BTreeMap<String, u64>,
    ports: BTreeMap<String, PortUse>,
    holders: BTreeMap<String, String>,
) -> Object {
    let wire = |n: usize| Wire {
        interface: "eth1".to_owned(),
        addresses: vec![format!("172.16.255.{}/16", n + 1)],
        primary: Vec::new(),
        carrier: true,
    };
    let spec = EgressNodeSpec {
        underlay: underlay(n),
        wires: if n < GATEWAYS { vec![wire(n)] } else { Vec::new() },
        programmed,
        ports,
        holders,
        ready: true,
        ..EgressNodeSpec::default()
    };
    Object::EgressNode(Box::new(EgressNode::new(&format!("node-{n}"), spec)))
}

fn pod(n: usize, node: usize, app: &str) -> Result<Object, Failure> {
    let mut pod = manifest(Kind::Pod, &format!("pod-{n}"), &format!("ns-{}", n / 100 % NAMESPACES));
    pod["metadata"]["labels"] =
        json!({"app": app, "shard": format!("s{}", n % 20), "pod-template-hash": "abcdef"});
    pod["spec"] = json!({"nodeName": format!("node-{node}"), "containers": []});
    let (a, b) = (node / 256, node % 256);
    let last = n / NODES + 2;
    pod["status"] = json!({"phase": "Running", "podIPs": [
        {"ip": format!("10.{a}.{b}.{last}")}, {"ip": format!("fd00:1:{node:x}::{last:x}")},
    ]});
    Ok(Kind::Pod.decode(pod)?)
}

fn pool(n: usize) -> Result<Object, Failure> {
    let range = json!({"start": format!("172.16.{}.0", n * 2), "end": format!("172.16.{}.255", n * 2 + 1)});
    let selector = json!({"matchLabels": {"role": "gateway"}});
    let kind = if n < POOLS * 3 / 4 { Kind::EgressPool } else { Kind::ExternalIPPool };
    let mut pool = manifest(kind, &format!("pool-{n}"), "");
    pool["spec"] = match kind {
        Kind::EgressPool => {
            json!({"ranges": [range], "nodeSelector": selector, "namespaces": {"names": ["*"]},
                                   "ports": {"blockSize": 256, "initialBlocks": 1}})
        }
        _ => json!({"ipRanges": [range], "nodeSelector": selector}),
    };
    Ok(kind.decode(pool)?)
}

/// Six in ten are namespaced, one cluster-wide, three Antrea's.
fn policy(n: usize) -> Result<Object, Failure> {
    let namespace = format!("ns-{}", n / 10 % NAMESPACES);
    let pods = json!({"matchLabels": {"shard": format!("s{}", n % 20)}});
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    let destinations = json!([
        {"cidr": format!("198.51.{}.0/24", n % 256), "ports": [{"port": 443}]},
        {"cidr": "203.0.113.0/24", "except": ["203.0.113.64/26"]},
    ]);
    let native = POOLS * 3 / 4;
    let (kind, spec) = match n % 10 {
        0..=5 => (
            Kind::EgressPolicy,
            json!({"podSelector": pods, "destinations": destinations, "pool": format!("pool-{}", n % native)}),
        ),
        6 => (
            Kind::ClusterEgressPolicy,
            json!({"namespaceSelector": here, "podSelector": pods, "destinations": destinations,
                   "pool": format!("pool-{}", n % native)}),
        ),
        _ => (
            Kind::Egress,
            json!({"appliedTo": {"namespaceSelector": here, "podSelector": pods},
                   "externalIPPool": format!("pool-{}", native + n / 10 % (POOLS - native))}),
        ),
    };
    let mut policy = manifest(kind, &format!("policy-{n}"), &namespace);
    policy["spec"] = spec;
    Ok(kind.decode(policy)?)
}

fn local(world: &World, n: usize) -> Local {
    let node = format!("node-{n}");
    let links: Vec<_> = world.pods_on(&node).flat_map(|(_, pod)| pod.addresses.clone()).collect();
    let wire = LocalWire {
        interface: "eth1".to_owned(),
        link: 3,
        mac: [2; 6],
        addresses: format!("172.16.255.{}/16", n + 1).parse().into_iter().collect(),
        primary: [].into(),
        carrier: true,
    };
    Local {
        node,
        unknown_pods: UnknownPods::Hold,
        steering: Steering::Overlay,
        overlay_mtu: 1450,
        underlay: Underlay {
            link: 2,
            address: underlay(n).parse().unwrap_or(std::net::IpAddr::from([127, 0, 0, 1])),
            mac: [2; 6],
            addresses: format!("{}/9", underlay(n)).parse().into_iter().collect(),
        },
        wires: if n < GATEWAYS { vec![wire] } else { Vec::new() },
        pod_links: links
            .into_iter()
            .map(|a| (a, PodLink { link: 9, mac: [3; 6], host_mac: [4; 6] }))
            .collect(),
        second_links: BTreeMap::new(),
        links: BTreeSet::new(),
        alive: (0..GATEWAYS).map(|g| format!("node-{g}")).collect::<BTreeSet<_>>(),
    }
}

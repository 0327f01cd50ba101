//! The programs in the kernel, run by BPF_PROG_TEST_RUN, with maps of their own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::programs::{SchedClassifier, TcAttachType, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader, Pod, include_bytes_aligned};
use egret_datapath::layout::{
    self, Addr, FlowKey, FragmentKey, LeaseKey, MappingKey, NetworkData, OwnerKey, ReturnKey, RuleData,
};
use egret_datapath::{FlowEvent, FlowEvents, REASONS};
use ipnet::IpNet;

use crate::names::mac_text;
use crate::pieces::{header_sum, joined};
use crate::support::ip;
use crate::world::{Interfaces, World, now};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tunnel.bpf.o"));

/// The object, or the one that scripts/mutants made.
fn object() -> Vec<u8> {
    std::env::var_os("EGRET_TEST_OBJECT").map_or_else(|| OBJECT.to_vec(), |path| std::fs::read(path).unwrap())
}

/// Small enough for a test to fill.
pub const MOST_FLOWS: u32 = 64;
/// Bytes for records of flows: the least that the kernel allows.
const RECORDS: u32 = 4096;

/// The loaded object.
pub struct Kernel {
    ebpf: Ebpf,
    pub on: Interfaces,
    refuses: bool,
    vlan: u32,
    segment: u32,
    overlay_comes_to: Addr,
    settings: Array<MapData, layout::Settings>,
    counters: PerCpuArray<MapData, layout::Counter>,
    inside: LpmTrie<MapData, NetworkData, u32>,
    nodes: HashMap<MapData, Addr, layout::Node>,
    pods: HashMap<MapData, Addr, layout::PodValue>,
    rules: LpmTrie<MapData, RuleData, layout::Rule>,
    egress: HashMap<MapData, Addr, layout::Egress>,
    served: HashMap<MapData, Addr, layout::Served>,
    leases: HashMap<MapData, LeaseKey, Addr>,
    flows: HashMap<MapData, FlowKey, layout::Flow>,
    returns: HashMap<MapData, ReturnKey, layout::ReturnFlow>,
    inbound: HashMap<MapData, FlowKey, u32>,
    mappings: HashMap<MapData, MappingKey, layout::Mapping>,
    pod_flows: HashMap<MapData, Addr, u32>,
    owners: HashMap<MapData, OwnerKey, u32>,
    fragments: HashMap<MapData, FragmentKey, layout::Fragment>,
    carried: HashMap<MapData, ReturnKey, layout::Carried>,
    complaints: PerCpuArray<MapData, layout::Budget>,
    pub events: FlowEvents,
    refusals: HashMap<MapData, layout::RefusalKey, layout::Refusal>,
    refusal_budget: PerCpuArray<MapData, layout::Budget>,
    sweep_state: Array<MapData, layout::Sweep>,
    suspects: Array<MapData, layout::Suspect>,
    tunnel: Array<MapData, Tunnel>,
    copies: Array<MapData, Copied>,
    pub fate: Array<MapData, Fate>,
}

/// The mirror of `struct tunnel` of tunnel.bpf.c.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    pub node: Addr,
    pub local: Addr,
    pub vni: u32,
    pub refuse: u32,
    /// Of a packet that was seen: its index in the list of verdicts.
    pub verdict: u32,
    /// Of a packet that is seen; 0: none.
    pub vlan: u32,
}

// SAFETY: repr(C), integers and bytes only, and the padding up to the alignment is a field.
unsafe impl Pod for Tunnel {}

/// The mirror of `struct copy` of tunnel.bpf.c.
#[repr(C)]
#[derive(Clone, Copy)]
struct Copied {
    length: u32,
    link: u32,
    bytes: [u8; 2048],
}

// SAFETY: repr(C), two integers and bytes, with nothing between.
unsafe impl Pod for Copied {}

/// The mirror of `struct fate` of tunnel.bpf.c.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    /// The second that it is for the programs.
    pub now: u64,
    /// What their random numbers come of; not zero.
    pub dice: u64,
}

// SAFETY: repr(C), two integers of the same size.
unsafe impl Pod for Fate {}

/// What a run did.
pub struct Outcome {
    pub verdict: u32,
    pub frame: Vec<u8>,
    pub tunnel: Option<(IpAddr, u32)>,
    pub counters: BTreeMap<String, u64>,
    /// Bytes of each IP packet, if it left in several.
    pub pieces: Vec<usize>,
}

impl Kernel {
    /// Loads into a fresh BPF file system, and makes the interfaces of a node in this thread's namespace.
    pub fn load(bpf: &Path) -> Self {
        Self::load_with(bpf, MOST_FLOWS)
    }

    /// The same with room for so many flows.
    pub fn load_with(bpf: &Path, most_flows: u32) -> Self {
        let on = interfaces();
        let mut ebpf = EbpfLoader::new()
            .default_map_pin_directory(bpf)
            .map_max_entries("flows", most_flows)
            .map_max_entries("returns", most_flows)
            .map_max_entries("mappings", most_flows)
            .map_max_entries("owners", most_flows)
            .map_max_entries("flow_events", RECORDS)
            .load(&object())
            .unwrap();
        for (name, program) in ebpf.programs_mut() {
            if !name.starts_with("with_tunnel_") && name != "sweep" && name != "to_pod" {
                continue;
            }
            let program: &mut SchedClassifier = program.try_into().unwrap();
            egret_datapath::load_program(program).unwrap();
        }
        Kernel {
            on,
            refuses: false,
            vlan: 0,
            segment: 0,
            overlay_comes_to: Addr::default(),
            settings: typed(&mut ebpf, "settings"),
            counters: typed(&mut ebpf, "counters"),
            inside: typed(&mut ebpf, "inside"),
            nodes: typed(&mut ebpf, "nodes"),
            pods: typed(&mut ebpf, "pods"),
            rules: typed(&mut ebpf, "rules"),
            egress: typed(&mut ebpf, "egress"),
            served: typed(&mut ebpf, "served"),
            leases: typed(&mut ebpf, "leases"),
            flows: typed(&mut ebpf, "flows"),
            returns: typed(&mut ebpf, "returns"),
            inbound: typed(&mut ebpf, "inbound"),
            mappings: typed(&mut ebpf, "mappings"),
            pod_flows: typed(&mut ebpf, "pod_flows"),
            owners: typed(&mut ebpf, "owners"),
            fragments: typed(&mut ebpf, "fragments"),
            carried: typed(&mut ebpf, "carried"),
            complaints: typed(&mut ebpf, "complaints"),
            events: FlowEvents::take(&mut ebpf).unwrap(),
            refusals: typed(&mut ebpf, "refusals"),
            refusal_budget: typed(&mut ebpf, "refusal_budget"),
            sweep_state: typed(&mut ebpf, "sweep_state"),
            suspects: typed(&mut ebpf, "suspects"),
            tunnel: typed(&mut ebpf, "tunnel"),
            copies: typed(&mut ebpf, "copies"),
            fate: typed(&mut ebpf, "fate"),
            ebpf,
        }
    }

    /// Makes the maps hold exactly this.
    pub fn fill(&mut self, world: &World) {
        self.refuses = world.kernel_refuses;
        self.vlan = world.vlan.into();
        self.segment = world.segment;
        self.overlay_comes_to = world.overlay_comes_to.map(Addr::from).unwrap_or_default();
        self.fate.set(0, Fate { now: now().into(), dice: 1 }, 0).unwrap();
        self.settings.set(0, world.settings, 0).unwrap();
        clear_trie(&mut self.inside);
        clear_trie(&mut self.rules);
        for net in &world.inside {
            let (prefix, addr) = mapped(net);
            self.inside.insert(&Key::new(prefix, NetworkData { addr }), 1, 0).unwrap();
        }
        for ((set, net), ports) in &world.rules {
            let (prefix, addr) = mapped(net);
            let mut rule = layout::Rule { count: ports.len() as u32, pad: 0, ports: Default::default() };
            for (slot, (protocol, first, last, egress)) in rule.ports.iter_mut().zip(ports) {
                *slot = layout::PortRule {
                    egress: egress.map(Addr::from).unwrap_or_default(),
                    first: *first,
                    last: *last,
                    protocol: *protocol,
                    action: u8::from(egress.is_some()),
                    pad: [0; 2],
                };
            }
            self.rules
                .insert(&Key::new(64 + prefix, RuleData { set: set.to_be_bytes(), addr }), rule, 0)
                .unwrap();
        }
        replace(&mut self.nodes, world.nodes.iter().map(|(a, v)| (Addr::from(*a), *v)));
        replace(&mut self.pods, world.pods.iter().map(|(a, v)| (Addr::from(*a), *v)));
        replace(&mut self.egress, world.egress.iter().map(|(a, v)| (Addr::from(*a), *v)));
        replace(&mut self.served, world.served.iter().map(|(a, v)| (Addr::from(*a), *v)));
        let leases = world.leases.iter().map(|((egress, block), node)| {
            (LeaseKey { egress: (*egress).into(), block: *block, pad: [0; 3] }, Addr::from(*node))
        });
        replace(&mut self.leases, leases);
        replace(&mut self.flows, world.flows.iter().map(|(k, v)| (*k, *v)));
        replace(&mut self.returns, world.returns.iter().map(|(k, v)| (*k, *v)));
        replace(&mut self.inbound, world.inbound.iter().map(|(k, v)| (*k, *v)));
        replace(&mut self.mappings, world.mappings.iter().map(|(k, v)| (*k, *v)));
        replace(&mut self.pod_flows, world.pod_flows.iter().map(|(a, v)| (Addr::from(*a), *v)));
        replace(&mut self.owners, world.owners.iter().map(|(k, v)| (*k, *v)));
        replace(&mut self.fragments, world.fragments.iter().map(|(k, v)| (*k, *v)));
        replace(&mut self.carried, world.carried.iter().map(|(k, v)| (*k, *v)));
        replace(&mut self.refusals, std::iter::empty());
        self.told();
        let spent = layout::Budget { second: now(), spent: world.complaints };
        let processors = aya::util::nr_cpus().unwrap();
        self.complaints.set(0, PerCpuValues::try_from(vec![spent; processors]).unwrap(), 0).unwrap();
        let spent = layout::Budget { second: now(), spent: world.refusals };
        self.refusal_budget.set(0, PerCpuValues::try_from(vec![spent; processors]).unwrap(), 0).unwrap();
    }

    /// What was told of flows since this was last asked.
    pub fn told(&mut self) -> Vec<FlowEvent> {
        std::iter::from_fn(|| self.events.read()).collect()
    }

    /// The maps that programs write, as they are now.
    pub fn read(&self, world: &World) -> World {
        World {
            flows: self.flows.iter().map(Result::unwrap).collect(),
            returns: self.returns.iter().map(Result::unwrap).collect(),
            inbound: self.inbound.iter().map(Result::unwrap).collect(),
            mappings: self.mappings.iter().map(Result::unwrap).collect(),
            owners: self.owners.iter().map(Result::unwrap).collect(),
            fragments: self.fragments.iter().map(Result::unwrap).collect(),
            carried: self.carried.iter().map(Result::unwrap).collect(),
            ..world.clone()
        }
    }

    /// Has a program meet what comes in by an interface.
    pub fn attach(&mut self, program: &str, interface: &str) {
        let classifier: &mut SchedClassifier =
            self.ebpf.program_mut(&format!("with_tunnel_{program}")).unwrap().try_into().unwrap();
        classifier.attach(interface, TcAttachType::Ingress).unwrap();
    }

    /// Runs a program on a frame that comes in, or goes out, by an interface.
    pub fn run(&mut self, program: &str, link: u32, came_by: Option<(IpAddr, u32)>, frame: &[u8]) -> Outcome {
        let local = self.overlay_comes_to;
        let tunnel = came_by.map(|(node, vni)| Tunnel { node: node.into(), local, vni, ..Tunnel::default() });
        let refuse = u32::from(self.refuses);
        self.tunnel.set(0, Tunnel { refuse, vlan: self.vlan, ..tunnel.unwrap_or_default() }, 0).unwrap();
        self.tunnel.set(1, Tunnel::default(), 0).unwrap();
        let before = self.counts();
        let (verdict, left) = self.execute(program, link, frame);
        let left_by = self.tunnel.get(&1, 0).unwrap();
        let counters = self
            .counts()
            .into_iter()
            .map(|(name, count)| (name.clone(), count - before[&name]))
            .filter(|(_, moved)| *moved > 0)
            .collect();
        let tunnel = (left_by.vni != 0).then(|| (left_by.node.into(), left_by.vni));
        let (frame, pieces) = self.joined(frame, left, verdict != DROPPED);
        Outcome { verdict, frame, tunnel, counters, pieces }
    }

    /// Runs a program once more, by the same tunnel as before. Returns its answer, and the frame as it left.
    pub fn execute(&mut self, program: &str, link: u32, frame: &[u8]) -> (u32, Vec<u8>) {
        // The other two have nothing to do with tunnels.
        let name = match program {
            "sweep" | "to_pod" => program.to_owned(),
            _ => format!("with_tunnel_{program}"),
        };
        let classifier: &mut SchedClassifier = self.ebpf.program_mut(&name).unwrap().try_into().unwrap();
        let mut context = [0; CONTEXT];
        context[IFINDEX..IFINDEX + 4].copy_from_slice(&link.to_ne_bytes());
        context[GSO_SIZE..GSO_SIZE + 4].copy_from_slice(&self.segment.to_ne_bytes());
        let mut out = vec![0; 4096];
        let result = classifier
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ctx_in: Some(&context),
                ..TestRunOptions::new()
            })
            .unwrap_or_else(|error| panic!("{program} of {} bytes {frame:02x?}: {error}", frame.len()));
        out.truncate(result.data_size_out as usize);
        (result.return_value, out)
    }

    /// The frame with the pieces before it that the program had copied, and how large each was. If the rest was dropped,
    /// they only make room for those of the next run.
    pub fn joined(&mut self, came: &[u8], frame: Vec<u8>, whole: bool) -> (Vec<u8>, Vec<usize>) {
        let mut pieces = Vec::new();
        for slot in 0.. {
            let Some(mut copy) = self.copies.get(&slot, 0).ok().filter(|copy| copy.length > 0) else { break };
            assert_eq!(copy.link, self.on.overlay, "copies are shortened there");
            pieces.push(copy.bytes[..copy.length as usize].to_vec());
            copy.length = 0;
            self.copies.set(slot, copy, 0).unwrap();
        }
        if pieces.is_empty() || !whole {
            return (frame, Vec::new());
        }
        pieces.push(frame);
        let sizes = pieces.iter().map(|piece| piece.len() - 14).collect();
        (joined(&pieces, header_sum(came)).unwrap_or_else(|wrong| panic!("{wrong}")), sizes)
    }

    /// Has the sweep judge every flow and every mapping. Returns how many flows went for their age, and how many for
    /// want of an owner.
    pub fn sweep(&mut self) -> (u32, u32) {
        let flows: Vec<_> = self.flows.keys().map(|key| layout::Suspect::flow(&key.unwrap())).collect();
        let mappings: Vec<_> =
            self.mappings.keys().map(|key| layout::Suspect::mapping(&key.unwrap())).collect();
        let mut gone = (0, 0);
        for (suspects, mappings) in [(flows, 0), (mappings, 1)] {
            for some in suspects.chunks(layout::SUSPECTS) {
                (0..).zip(some).for_each(|(index, suspect)| self.suspects.set(index, *suspect, 0).unwrap());
                let count = some.len() as u32;
                self.sweep_state
                    .set(0, layout::Sweep { count, mappings, ..layout::Sweep::default() }, 0)
                    .unwrap();
                self.execute("sweep", self.on.pod, &[0; 64]);
                let state = self.sweep_state.get(&0, 0).unwrap();
                gone = (gone.0 + state.expired, gone.1 + state.orphaned);
            }
        }
        gone
    }

    /// How many flows each pod has by the programs' count.
    pub fn flows_of_pods(&self) -> BTreeMap<IpAddr, u32> {
        let entries = self.pod_flows.iter().map(Result::unwrap);
        entries.map(|(pod, count)| (pod.into(), count)).filter(|(_, count)| *count > 0).collect()
    }

    /// How many entries each map holds that could grow.
    pub fn entries(&self) -> BTreeMap<&'static str, usize> {
        BTreeMap::from([
            ("inside", self.inside.keys().count()),
            ("nodes", self.nodes.keys().count()),
            ("pods", self.pods.keys().count()),
            ("rules", self.rules.keys().count()),
            ("egress", self.egress.keys().count()),
            ("served", self.served.keys().count()),
            ("leases", self.leases.keys().count()),
            ("flows", self.flows.keys().count()),
            ("returns", self.returns.keys().count()),
            ("inbound", self.inbound.keys().count()),
            ("mappings", self.mappings.keys().count()),
            ("owners", self.owners.keys().count()),
            ("fragments", self.fragments.keys().count()),
            ("carried", self.carried.keys().count()),
        ])
    }

    pub fn counts(&self) -> BTreeMap<String, u64> {
        let of = |index: u32| self.counters.get(&index, 0).unwrap().iter().map(|c| c.packets).sum();
        (0..).zip(REASONS).map(|(index, (name, _))| ((*name).to_owned(), of(index))).collect()
    }
}

/// What the kernel hears of a packet that is dropped.
const DROPPED: u32 = 2;
/// Size of `struct __sk_buff`, and where its `ifindex` is.
const CONTEXT: usize = 192;
const IFINDEX: usize = 40;
const GSO_SIZE: usize = 176;

fn typed<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> T {
    T::try_from(ebpf.take_map(name).unwrap()).unwrap()
}

fn replace<K: Pod, V: Pod>(map: &mut HashMap<MapData, K, V>, entries: impl Iterator<Item = (K, V)>) {
    let old: Vec<K> = map.keys().map(Result::unwrap).collect();
    old.iter().for_each(|key| map.remove(key).unwrap());
    entries.for_each(|(key, value)| map.insert(key, value, 0).unwrap());
}

fn clear_trie<K: Pod, V: Pod>(map: &mut LpmTrie<MapData, K, V>) {
    let old: Vec<Key<K>> = map.keys().map(Result::unwrap).collect();
    old.iter().for_each(|key| map.remove(key).unwrap());
}

/// Prefix and address over 128 bits, written down here once more: the code under test has its own.
fn mapped(net: &IpNet) -> (u32, [u8; 16]) {
    match net {
        IpNet::V4(v4) => (96 + u32::from(v4.prefix_len()), v4.network().to_ipv6_mapped().octets()),
        IpNet::V6(v6) => (u32::from(v6.prefix_len()), v6.network().octets()),
    }
}

/// Pairs whose other ends stay in the namespace; routes and neighbours are written by hand, so that nothing is asked.
fn interfaces() -> Interfaces {
    let mut index = BTreeMap::new();
    for (name, mtu) in [
        ("pod", 1500),
        ("otherpod", 1500),
        ("wire", 1500),
        ("otherwire", 9000),
        ("under", 1500),
        ("over", 1450),
    ] {
        ip(&format!("link add {name}0 type veth peer name {name}1"));
        ip(&format!("link set {name}0 mtu {mtu} up"));
        ip(&format!("link set {name}1 up"));
        index.insert(name, nix::net::if_::if_nametoindex(format!("{name}0").as_str()).unwrap());
    }
    ip(&format!("link set wire0 address {}", mac_text("wire")));
    for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{switch}"), "1").unwrap();
    }
    ip("addr add 10.0.0.1/24 dev under0");
    ip("addr add 10.10.0.101/24 dev wire0");
    ip("addr add fd00:10:10::101/64 dev wire0 nodad");
    // Less than its header is no multiple of eight, as pieces are.
    ip("route add 203.0.114.0/24 dev wire0 mtu lock 1499");
    for (router, any, unreachable) in
        [("10.10.0.1", "default", "192.0.2.0/24"), ("fd00:10:10::1", "::/0", "2001:db8:dead::/48")]
    {
        ip(&format!("neigh add {router} lladdr {} dev wire0 nud permanent", mac_text("router")));
        ip(&format!("route add {any} via {router} dev wire0"));
        ip(&format!("route add unreachable {unreachable}"));
    }
    Interfaces {
        pod: index["pod"],
        other_pod: index["otherpod"],
        wire: index["wire"],
        other_wire: index["otherwire"],
        underlay: index["under"],
        overlay: index["over"],
    }
}

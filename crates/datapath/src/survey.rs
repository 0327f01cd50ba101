//! Looking at a node without changing it, and trying what its kernel can do where nothing of the node is: in a network
//! namespace that goes with the thread that made it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::thread;

use egret_plan::tables::{Captured, Guard, LinkIndex, PortMatch, UnknownPods};
use ipnet::IpNet;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage};
use nix::sched::{CloneFlags, unshare};

use crate::attach::{Attach, Attachments, Role};
use crate::error::DatapathError;
use crate::guard::{self, GuardInput};
use crate::links::{self, facts};
use crate::{load, overlay};

/// Whether something could be done, or why not; absent: it was not tried, for want of something before it.
pub type Tried = Option<Result<(), String>>;

/// What a kernel can do of what the datapath needs.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// A directory beside that of the pins is on a BPF file system, and can be written.
    pub pins: Tried,
    /// Every map can be made and pinned, and every program passes the verifier.
    pub programs: Tried,
    /// A network namespace can be made; without one the rest is not tried.
    pub apart: Tried,
    /// The overlay device can be made, for an underlay of this MTU, and its settings be written.
    pub overlay: Tried,
    /// Programs can be attached by TCX (kernel 6.6 and later).
    pub tcx: Tried,
    /// Programs can be attached as filters of a clsact qdisc.
    pub clsact: Tried,
    /// The guard's rules can be put in force by `nft`.
    pub guard: Tried,
}

/// Tries what [`crate::Datapath::open`] does, without touching what is there: maps are pinned beside `pin_dir` and
/// removed again, everything else is in a network namespace of its own. `underlay_mtu` is in bytes, `underlay` tells
/// the overlay's family.
pub fn try_kernel(pin_dir: &Path, port: u16, underlay_mtu: u32, underlay: IpAddr) -> Trial {
    let beside = pin_dir.with_file_name(format!("egret-check-{}", std::process::id()));
    let tried = thread::scope(|scope| {
        // Nothing else holds the namespace: it goes with the thread, and with it all that was made in it.
        let apart = scope.spawn(|| try_apart(&beside, port, underlay_mtu, underlay));
        apart.join().unwrap_or_default()
    });
    // The kernel frees a map when its pin is gone. What cannot be removed was not made either.
    for directory in [load::maps_dir(&beside), load::links_dir(&beside), beside] {
        let _ = fs::remove_dir_all(directory);
    }
    tried
}

fn try_apart(pin_dir: &Path, port: u16, underlay_mtu: u32, underlay: IpAddr) -> Trial {
    let mut trial = Trial::default();
    let pins = words(load::prepare_pin_dir(pin_dir));
    let mut ebpf = pins.is_ok().then(|| words(load::load(pin_dir, TRIAL_FLOWS)));
    trial.pins = Some(pins);
    trial.programs = ebpf.as_ref().map(done);
    let apart = unshare(CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string());
    if apart.is_ok() {
        trial.guard = Some(words(guard::apply(None, &guard_input(port))));
        let made = make_overlay(port, underlay_mtu, underlay);
        if let (Some(Ok(ebpf)), Ok(link)) = (&mut ebpf, &made) {
            let mut attach = |how| {
                let mut attachments = Attachments::new(pin_dir, how, BTreeSet::new());
                let attached = attachments.attach(ebpf, *link, Role::Overlay);
                words(attached.and_then(|()| attachments.detach(*link, Role::Overlay)))
            };
            trial.tcx = Some(attach(Attach::Tcx));
            trial.clsact = Some(attach(Attach::Clsact));
        }
        trial.overlay = Some(done(&made));
    }
    trial.apart = Some(apart);
    trial
}

fn done<T>(result: &Result<T, String>) -> Result<(), String> {
    result.as_ref().map(drop).map_err(Clone::clone)
}

/// Small tables are as good a trial as large ones.
const TRIAL_FLOWS: u32 = 1024;

fn words<T>(result: Result<T, DatapathError>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

fn make_overlay(port: u16, underlay_mtu: u32, underlay: IpAddr) -> Result<LinkIndex, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let handle = words(links::connect())?;
        let mtu = underlay_mtu.saturating_sub(overlay::overhead(underlay));
        let wanted = overlay::Wanted { name: "egret-check", port, mtu };
        words(overlay::ensure(&handle, &wanted).await)
    })
}

/// A guard that has something of everything.
fn guard_input(vxlan_port: u16) -> GuardInput {
    let of =
        |first: Ipv4Addr, last: Ipv4Addr, ports| Captured { first: first.into(), last: last.into(), ports };
    let below = of(Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(127, 255, 255, 255), PortMatch::Any);
    let above = of(Ipv4Addr::new(128, 0, 0, 0), Ipv4Addr::BROADCAST, PortMatch::Tcp(443, 443));
    let pod: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    let network: IpNet = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 0), 24).into();
    GuardInput {
        guard: Guard {
            pod_networks: BTreeSet::from([network]),
            selected: BTreeMap::from([(pod, 1)]),
            captured: BTreeMap::from([(1, BTreeSet::from([below, above]))]),
            ..Guard::default()
        },
        inside: BTreeSet::from([network]),
        unknown_pods: UnknownPods::Hold,
        egress: BTreeSet::from([Ipv4Addr::new(198, 51, 100, 1).into()]),
        vxlan_port,
        ..GuardInput::default()
    }
}

/// What of a datapath is on this node already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// There are pinned maps.
    pub maps: bool,
    /// Why this version cannot go on with them.
    pub unusable: Option<String>,
    /// Interfaces with programs, and in which role.
    pub attached: BTreeSet<(LinkIndex, Role)>,
    /// The guard's table is in force.
    pub guard: bool,
}

/// Looks for a datapath below `pin_dir`.
pub fn installed(pin_dir: &Path) -> Installed {
    let maps = load::maps_dir(pin_dir).join("settings").exists();
    Installed {
        maps,
        unusable: load::check_pins(&load::maps_dir(pin_dir)).err().map(|error| error.to_string()),
        attached: Attachments::new(pin_dir, Attach::Auto, BTreeSet::new()).attached(),
        guard: guard::present(),
    }
}

/// One interface of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub link: LinkIndex,
    /// Its name.
    pub name: String,
    /// Its largest packet, in bytes.
    pub mtu: u32,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// It looks like the host's end of a pod's link.
    pub pod: bool,
    /// It can carry egress addresses.
    pub wire: bool,
    /// The UDP port, if it is a VXLAN device.
    pub vxlan_port: Option<u16>,
}

/// Every interface of the caller's network namespace.
///
/// # Errors
/// When the kernel does not answer.
pub fn interfaces() -> Result<Vec<Interface>, DatapathError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(DatapathError::io("runtime"))?.block_on(async {
        let handle = links::connect()?;
        let all = facts::links(&handle).await?;
        let mut addresses = facts::addresses(&handle).await?;
        let by_index: BTreeMap<_, _> = all.iter().map(|(facts, _)| (facts.index, facts.clone())).collect();
        let interface = |(facts, message): &(facts::LinkFacts, LinkMessage)| {
            let addresses = addresses.remove(&facts.index).unwrap_or_default();
            let outward = addresses.iter().any(links::leads_outside);
            let pod = links::looks_like_pod_link(facts, &by_index) && !outward;
            Interface {
                link: facts.index,
                name: facts.name.clone(),
                mtu: facts.mtu,
                pod,
                wire: !pod && outward && links::can_be_wire(facts, &by_index),
                vxlan_port: (facts.kind == Some(InfoKind::Vxlan)).then(|| vxlan_port(message)).flatten(),
                addresses,
            }
        };
        Ok(all.iter().map(interface).collect())
    })
}

fn vxlan_port(message: &LinkMessage) -> Option<u16> {
    let infos = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(data)) => data.iter().find_map(|value| match value {
            InfoVxlan::Port(port) => Some(*port),
            _ => None,
        }),
        _ => None,
    })
}

/// The names of all BPF maps in the kernel, as far as the kernel keeps them: 15 letters.
pub fn map_names() -> BTreeSet<String> {
    let maps = aya::maps::loaded_maps().filter_map(Result::ok);
    maps.filter_map(|map| map.name_as_str().map(str::to_owned)).collect()
}

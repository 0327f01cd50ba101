//! Loading the object: maps are adopted where they are pinned, programs are loaded anew at each start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aya::maps::{MapInfo, MapType};
use aya::programs::{ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::statfs::statfs;

use crate::error::{DatapathError, in_full};
use crate::layout;

/// The kernel's programs and maps, as compiled from bpf/egret.bpf.c.
pub static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/egret.bpf.o"));

/// Every program of the object.
pub const PROGRAMS: [&str; 9] = [
    "from_pod",
    "to_pod",
    "from_second",
    "from_parent",
    "from_overlay",
    "to_overlay",
    "from_wire",
    "from_underlay",
    "sweep",
];

const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Below the directory for pins: one file per map.
pub fn maps_dir(pin_dir: &Path) -> PathBuf {
    pin_dir.join("maps")
}

/// Below the directory for pins: one file per attachment.
pub fn links_dir(pin_dir: &Path) -> PathBuf {
    pin_dir.join("links")
}

/// Makes the directories for pins, and says why they cannot hold any.
pub fn prepare_pin_dir(pin_dir: &Path) -> Result<(), DatapathError> {
    for directory in [maps_dir(pin_dir), links_dir(pin_dir)] {
        fs::create_dir_all(&directory).map_err(|error| no_place(pin_dir, error.to_string()))?;
    }
    check_file_system(pin_dir).inspect_err(|_| {
        // Directories on an ordinary file system would only stand in the way of a later mount.
        for directory in [maps_dir(pin_dir), links_dir(pin_dir)] {
            let _ = fs::remove_dir(directory);
        }
    })
}

/// The directory is on a BPF file system.
pub fn check_file_system(pin_dir: &Path) -> Result<(), DatapathError> {
    let kind = statfs(pin_dir).map_err(|error| no_place(pin_dir, error.to_string()))?.filesystem_type();
    match kind.0 as i64 {
        BPF_FS_MAGIC => Ok(()),
        _ => Err(no_place(pin_dir, "no BPF file system".to_owned())),
    }
}

fn no_place(pin_dir: &Path, why: String) -> DatapathError {
    DatapathError::PinDir { path: pin_dir.to_owned(), why }
}

/// Loads the object with its maps pinned below `pin_dir`, and every program.
pub fn load(pin_dir: &Path, max_flows: u32) -> Result<Ebpf, DatapathError> {
    // Kernels before 5.11 count maps against this limit; later ones do not care.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    let maps = maps_dir(pin_dir);
    check_pins(&maps)?;
    let mut ebpf = EbpfLoader::new()
        .default_map_pin_directory(&maps)
        .map_max_entries("flows", max_flows)
        .map_max_entries("returns", max_flows)
        .map_max_entries("mappings", max_flows)
        .map_max_entries("owners", max_flows)
        .load(OBJECT)
        .map_err(|error| DatapathError::Load { object: "the object".to_owned(), why: in_full(&error) })?;
    check_pins(&maps)?;
    for name in PROGRAMS {
        load_program(program(&mut ebpf, name)?).map_err(|error| refused(name, &error))?;
    }
    Ok(ebpf)
}

/// Has the kernel verify and take a program. The verifier gives up when the thread has a signal pending, which on a machine
/// whose processors are all busy may last.
pub fn load_program(program: &mut SchedClassifier) -> Result<(), ProgramError> {
    const TRIES: u32 = 8;
    const PAUSE: Duration = Duration::from_millis(5);
    for passed in 1..TRIES {
        match program.load() {
            Err(ProgramError::LoadError { io_error, .. }) if io_error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(PAUSE * (1 << passed));
            }
            done => return done,
        }
    }
    program.load()
}

/// One program of the object.
pub fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier, DatapathError> {
    let program = ebpf.program_mut(name).ok_or_else(|| DatapathError::Load {
        object: format!("program {name}"),
        why: "the object does not have it".to_owned(),
    })?;
    program.try_into().map_err(|error| refused(name, &error))
}

fn refused(name: &str, error: &dyn std::error::Error) -> DatapathError {
    DatapathError::Load { object: format!("program {name}"), why: in_full(error) }
}

/// Type, size of the key and of the value of a map.
type Shape = (MapType, usize, usize);

fn shapes() -> BTreeMap<&'static str, Shape> {
    const PREFIX: usize = size_of::<u32>();
    const ADDR: usize = size_of::<layout::Addr>();
    BTreeMap::from([
        ("settings", (MapType::Array, 4, size_of::<layout::Settings>())),
        ("counters", (MapType::PerCpuArray, 4, size_of::<layout::Counter>())),
        ("inside", (MapType::LpmTrie, PREFIX + size_of::<layout::NetworkData>(), 4)),
        ("nodes", (MapType::Hash, ADDR, size_of::<layout::Node>())),
        ("pods", (MapType::Hash, ADDR, size_of::<layout::PodValue>())),
        ("rules", (MapType::LpmTrie, PREFIX + size_of::<layout::RuleData>(), size_of::<layout::Rule>())),
        ("egress", (MapType::Hash, ADDR, size_of::<layout::Egress>())),
        ("served", (MapType::Hash, ADDR, size_of::<layout::Served>())),
        ("carried", (MapType::LruHash, size_of::<layout::ReturnKey>(), size_of::<layout::Carried>())),
        ("leases", (MapType::Hash, size_of::<layout::LeaseKey>(), ADDR)),
        ("flows", (MapType::Hash, size_of::<layout::FlowKey>(), size_of::<layout::Flow>())),
        ("returns", (MapType::Hash, size_of::<layout::ReturnKey>(), size_of::<layout::ReturnFlow>())),
        ("inbound", (MapType::LruHash, size_of::<layout::FlowKey>(), 4)),
        ("pod_flows", (MapType::Hash, ADDR, 4)),
        ("mappings", (MapType::Hash, size_of::<layout::MappingKey>(), size_of::<layout::Mapping>())),
        ("owners", (MapType::Hash, size_of::<layout::OwnerKey>(), 4)),
        ("fragments", (MapType::LruHash, size_of::<layout::FragmentKey>(), size_of::<layout::Fragment>())),
        ("complaints", (MapType::PerCpuArray, 4, size_of::<layout::Budget>())),
        ("flow_events", (MapType::RingBuf, 0, 0)),
        ("untold", (MapType::PerCpuArray, 4, 8)),
        ("refusals", (MapType::LruHash, size_of::<layout::RefusalKey>(), size_of::<layout::Refusal>())),
        ("refusal_budget", (MapType::PerCpuArray, 4, size_of::<layout::Budget>())),
        ("sweep_state", (MapType::Array, 4, size_of::<layout::Sweep>())),
        ("suspects", (MapType::Array, 4, size_of::<layout::FlowKey>())),
    ])
}

/// A pinned map is adopted as it is; aya does not look at its shape.
pub fn check_pins(maps: &Path) -> Result<(), DatapathError> {
    for (name, (kind, key, value)) in shapes() {
        let path = maps.join(name);
        if !path.exists() {
            continue;
        }
        let info = MapInfo::from_pin(&path).map_err(|error| DatapathError::map(name, error))?;
        let found = (info.map_type().ok(), info.key_size() as usize, info.value_size() as usize);
        if found != (Some(kind), key, value) {
            let why = format!(
                "it is a {:?} of {} byte keys and {} byte values, and must be a {kind:?} of {key} and {value}",
                found.0, found.1, found.2
            );
            return Err(DatapathError::MapShape { path, why });
        }
    }
    Ok(())
}

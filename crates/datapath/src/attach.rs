//! Attaching programs to interfaces, so that a restarted agent replaces them without a gap.
//!
//! TCX links are pinned as `links/<interface index>-<program>`; the pins are the only memory of what is
//! attached. Where TCX is missing, clsact filters of a fixed priority and handle are replaced in place.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};
use aya::sys::SyscallError;
use aya::util::KernelVersion;
use egret_plan::tables::LinkIndex;

use crate::device;
use crate::error::{DatapathError, in_full};
use crate::load::{links_dir, program};

/// How programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// TCX where the kernel has it (6.6 and later), clsact else.
    #[default]
    Auto,
    /// TCX or nothing.
    Tcx,
    /// A clsact qdisc with filters.
    Clsact,
}

/// What an interface is to Egret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The host's end of a pod's link.
    Pod,
    /// The host's end of a pod's link into another network than the cluster's.
    Second,
    /// The parent of pods' macvlan interfaces in another network.
    Parent,
    /// The overlay device.
    Overlay,
    /// An interface towards the outside.
    Wire,
    /// The interface between nodes, where gateways are reached without a tunnel.
    Underlay,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 6] =
        [Role::Pod, Role::Second, Role::Parent, Role::Overlay, Role::Wire, Role::Underlay];

    /// The programs of the role, with the direction as the interface sees it.
    fn programs(self) -> &'static [(&'static str, TcAttachType)] {
        match self {
            Role::Pod => &[("from_pod", TcAttachType::Ingress), ("to_pod", TcAttachType::Egress)],
            Role::Second => &[("from_second", TcAttachType::Ingress)],
            Role::Parent => &[("from_parent", TcAttachType::Egress)],
            Role::Overlay => &[("from_overlay", TcAttachType::Ingress), ("to_overlay", TcAttachType::Egress)],
            Role::Wire => &[("from_wire", TcAttachType::Ingress)],
            Role::Underlay => &[("from_underlay", TcAttachType::Ingress)],
        }
    }

    fn of_program(program: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.programs().iter().any(|(name, _)| *name == program))
    }
}

/// Attachments of one datapath.
pub struct Attachments {
    pins: PathBuf,
    tcx: bool,
    /// With clsact only: nothing is pinned there.
    filters: BTreeSet<(LinkIndex, Role)>,
}

/// Priority of our clsact filters: before those that others add without saying a priority (49152 and down).
pub const CLSACT_PRIORITY: u16 = 0x4567;

/// Our filter's handle: unlike the priority it may be shared with nobody, and it tells the role.
pub fn clsact_handle(role: Role) -> u32 {
    match role {
        Role::Pod => 1,
        Role::Overlay => 2,
        Role::Wire => 3,
        Role::Underlay => 4,
        Role::Second => 5,
        Role::Parent => 6,
    }
}

impl Attachments {
    /// Attachments pinned below `pin_dir`, and the clsact filters that were found.
    pub fn new(pin_dir: &Path, attach: Attach, filters: BTreeSet<(LinkIndex, Role)>) -> Self {
        let tcx = match attach {
            Attach::Auto => {
                KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
            }
            Attach::Tcx => true,
            Attach::Clsact => false,
        };
        Attachments { pins: links_dir(pin_dir), tcx, filters }
    }

    /// Attaches the programs of a role, or replaces those of an earlier start. To do it again does no harm.
    pub fn attach(&mut self, ebpf: &mut Ebpf, link: LinkIndex, role: Role) -> Result<(), DatapathError> {
        for (name, direction) in role.programs() {
            let done = match self.tcx {
                true => self.attach_tcx(ebpf, link, name, *direction),
                false => attach_clsact(ebpf, link, role, name, *direction),
            };
            done.map_err(|why| DatapathError::Attach { program: (*name).to_owned(), link, why })?;
        }
        // Where the other way was used before, a packet must not meet the programs twice.
        if self.tcx {
            self.drop_filters(link, role);
        } else {
            self.drop_pins(link, role)?;
            self.filters.insert((link, role));
        }
        Ok(())
    }

    /// Gives the attachments of an earlier start the programs of this one. Those of an interface that is gone are
    /// forgotten, though another one may have its index by now.
    pub fn renew(&mut self, ebpf: &mut Ebpf, link: LinkIndex, role: Role) -> Result<(), DatapathError> {
        for (name, _) in role.programs() {
            let pin = replace(program(ebpf, name)?, &self.pin(link, name));
            let failed = |why| DatapathError::Attach { program: (*name).to_owned(), link, why };
            if matches!(pin.map_err(failed)?, Pin::Dead) {
                return self.detach(link, role);
            }
        }
        self.attach(ebpf, link, role)
    }

    /// Takes the programs of a role off an interface; one that is gone took its programs along.
    pub fn detach(&mut self, link: LinkIndex, role: Role) -> Result<(), DatapathError> {
        self.drop_filters(link, role);
        self.drop_pins(link, role)
    }

    fn drop_pins(&self, link: LinkIndex, role: Role) -> Result<(), DatapathError> {
        for (name, _) in role.programs() {
            let path = self.pin(link, name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(DatapathError::io(path.display().to_string())(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn drop_filters(&mut self, link: LinkIndex, role: Role) {
        if !self.filters.remove(&(link, role)) {
            return;
        }
        let Some(interface) = device::name(link) else { return };
        for (_, direction) in role.programs() {
            // A filter's value takes the filter away when it is dropped.
            drop(clsact_filter(&interface, role, *direction));
        }
    }

    /// What is attached, as far as it is known: of an interface that is gone the pin stays until it is detached.
    pub fn attached(&self) -> BTreeSet<(LinkIndex, Role)> {
        let files = fs::read_dir(&self.pins).into_iter().flatten().flatten();
        let pinned = files.filter_map(|file| {
            let name = file.file_name().into_string().ok()?;
            let (link, program) = name.split_once('-')?;
            Some((link.parse().ok()?, Role::of_program(program)?))
        });
        pinned.chain(self.filters.iter().copied()).collect()
    }

    fn pin(&self, link: LinkIndex, program: &str) -> PathBuf {
        self.pins.join(format!("{link}-{program}"))
    }

    fn attach_tcx(
        &self,
        ebpf: &mut Ebpf,
        link: LinkIndex,
        name: &str,
        direction: TcAttachType,
    ) -> Result<(), String> {
        let classifier = program(ebpf, name).map_err(|error| error.to_string())?;
        let path = self.pin(link, name);
        match replace(classifier, &path)? {
            Pin::Replaced => return Ok(()),
            Pin::Dead => fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?,
            Pin::Missing => {}
        }
        let interface = device::name(link).ok_or("no such interface")?;
        let order = TcAttachOptions::TcxOrder(LinkOrder::default());
        let id = classifier.attach_with_options(&interface, direction, order).map_err(|e| in_full(&e))?;
        let owned = classifier.take_link(id).map_err(|e| e.to_string())?;
        let owned: FdLink = owned.try_into().map_err(|e: LinkError| e.to_string())?;
        owned.pin(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(())
    }
}

/// What became of a pinned attachment.
enum Pin {
    /// It has the new program now, without a gap.
    Replaced,
    /// Its interface is gone.
    Dead,
    /// There was none.
    Missing,
}

fn replace(classifier: &mut SchedClassifier, path: &Path) -> Result<Pin, String> {
    let pinned = match PinnedLink::from_pin(path) {
        Ok(pinned) => pinned,
        Err(LinkError::SyscallError(SyscallError { io_error, .. }))
            if io_error.kind() == io::ErrorKind::NotFound =>
        {
            return Ok(Pin::Missing);
        }
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let old = SchedClassifierLink::try_from(FdLink::from(pinned)).map_err(|e| e.to_string())?;
    match classifier.attach_to_link(old) {
        Ok(id) => {
            // The pin holds the attachment; our own descriptor is not needed.
            drop(classifier.take_link(id).map_err(|e| e.to_string())?);
            Ok(Pin::Replaced)
        }
        Err(error) if os_error(&error) == Some(libc::ENOLINK) => Ok(Pin::Dead),
        Err(error) => Err(in_full(&error)),
    }
}

fn attach_clsact(
    ebpf: &mut Ebpf,
    link: LinkIndex,
    role: Role,
    name: &str,
    direction: TcAttachType,
) -> Result<(), String> {
    let interface = device::name(link).ok_or("no such interface")?;
    match tc::qdisc_add_clsact(&interface) {
        Err(error) if !exists(&error) => return Err(in_full(&error)),
        _ => {}
    }
    let classifier = program(ebpf, name).map_err(|error| error.to_string())?;
    let found = clsact_filter(&interface, role, direction).map_err(|e| e.to_string())?;
    let replaced = classifier.attach_to_link(found);
    let id = match replaced {
        Ok(id) => id,
        Err(_) => {
            let options = NlOptions {
                priority: CLSACT_PRIORITY,
                handle: clsact_handle(role).into(),
                ..NlOptions::default()
            };
            classifier
                .attach_with_options(&interface, direction, TcAttachOptions::Netlink(options))
                .map_err(|e| in_full(&e))?
        }
    };
    // Dropping it would take the filter away; it holds no descriptor.
    let _ = ManuallyDrop::new(classifier.take_link(id).map_err(|e| e.to_string())?);
    Ok(())
}

fn clsact_filter(interface: &str, role: Role, direction: TcAttachType) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(
        interface,
        direction,
        CLSACT_PRIORITY,
        TcHandle::from(clsact_handle(role)),
        None,
    )
}

fn exists(error: &TcError) -> bool {
    matches!(error, TcError::NetlinkError(error) if error.raw_os_error() == Some(libc::EEXIST))
}

fn os_error(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(SyscallError { io_error, .. }) => io_error.raw_os_error(),
        _ => None,
    }
}

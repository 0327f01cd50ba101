//! The inside of a container: a root of its own, with what the pod's volumes are, and no more privileges than it is granted.
//! Its network is the caller's. It has no other process ids, and no seccomp profile.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::container::{Mount, Spec};

/// Where the image `egret` has its program here: below `/usr` the machine's programs are, which are read only.
pub const PROGRAM: &str = "/egret";
/// What the machine gives to every image: `nft`, and the libraries.
const SYSTEM: [&str; 5] = ["usr", "bin", "sbin", "lib", "lib64"];
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Becomes the container that the file says. Returns only when that fails.
///
/// # Errors
/// What cannot be mounted, or started.
pub fn enter(file: &Path) -> Result<()> {
    let text = fs::read(file).with_context(|| file.display().to_string())?;
    let spec: Spec = serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
    unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace")?;
    remount("/".as_ref(), MsFlags::MS_PRIVATE | MsFlags::MS_REC)?;
    furnish(&spec)?;
    std::env::set_current_dir(&spec.root)?;
    nix::unistd::pivot_root(".", ".").context("pivot_root")?;
    umount2(".", MntFlags::MNT_DETACH).context("leave the machine's root")?;
    std::env::set_current_dir("/")?;
    let capabilities = spec.capabilities.iter().map(|name| format!(",+{}", name.to_lowercase()));
    let mut command = Command::new("/usr/bin/setpriv");
    command.arg(format!("--bounding-set=-all{}", capabilities.collect::<String>())).arg("--inh-caps=-all");
    if !spec.escalates {
        command.arg("--no-new-privs");
    }
    let (user, group) = spec.user;
    command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
    let error = command.args(&spec.command).env_clear().envs(&spec.environment).exec();
    Err(anyhow!(error).context("setpriv: cannot be started; install util-linux"))
}

/// Makes the root.
fn furnish(spec: &Spec) -> Result<()> {
    let root = &spec.root;
    mount_new("tmpfs", root, MsFlags::empty(), Some("mode=0755"))?;
    for name in SYSTEM.iter().chain(spec.program.is_none().then_some(&"etc")) {
        let (machine, own) = (Path::new("/").join(name), root.join(name));
        match fs::read_link(&machine) {
            Ok(target) => symlink(target, own)?,
            Err(_) if machine.is_dir() => bind(&machine, &own, true)?,
            Err(_) => {}
        }
    }
    if let Some(program) = &spec.program {
        bind(program, &root.join(PROGRAM.trim_start_matches('/')), true)?;
    }
    for directory in ["proc", "sys", "dev", "var", "run", "tmp"] {
        fs::create_dir_all(root.join(directory))?;
    }
    mount_new("proc", &root.join("proc"), MsFlags::empty(), None)?;
    bind(&root.join("proc/sys"), &root.join("proc/sys"), true)?;
    mount_new("sysfs", &root.join("sys"), MsFlags::MS_RDONLY, None)?;
    for device in DEVICES {
        bind(&Path::new("/dev").join(device), &root.join("dev").join(device), false)?;
    }
    for Mount { source, target, read_only } in &spec.mounts {
        let target = root.join(target.strip_prefix("/").unwrap_or(target));
        bind(source, &target, *read_only)?;
    }
    if spec.read_only {
        remount(root, MsFlags::MS_BIND | MsFlags::MS_RDONLY)?;
    }
    Ok(())
}

/// Mounts a file or directory where there is nothing yet, or one of its kind.
fn bind(source: &Path, target: &Path, read_only: bool) -> Result<()> {
    let context = || format!("{} at {}", source.display(), target.display());
    if !target.exists() {
        match source.is_dir() {
            true => fs::create_dir_all(target),
            false => fs::write(target, ""),
        }
        .with_context(context)?;
    }
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), target, None::<&str>, flags, None::<&str>).with_context(context)?;
    if read_only {
        remount(target, MsFlags::MS_BIND | MsFlags::MS_RDONLY)?;
    }
    Ok(())
}

fn remount(target: &Path, flags: MsFlags) -> Result<()> {
    let again = if flags.contains(MsFlags::MS_PRIVATE) { MsFlags::empty() } else { MsFlags::MS_REMOUNT };
    mount(None::<&str>, target, None::<&str>, flags | again, None::<&str>)
        .with_context(|| format!("remount {}", target.display()))
}

fn mount_new(kind: &str, target: &Path, flags: MsFlags, data: Option<&str>) -> Result<()> {
    mount(Some(kind), target, Some(kind), flags, data)
        .with_context(|| format!("{kind} at {}", target.display()))
}

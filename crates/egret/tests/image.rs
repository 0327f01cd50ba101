//! The container image, started from its layout with nothing else around it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);
const NODE: &str = r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "only"},
    "spec": {"podCIDRs": ["10.244.1.0/24"]},
    "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}"#;

/// An unpacked image.
struct Image {
    directory: PathBuf,
}

impl Image {
    fn unpacked() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("image-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&directory));
        let (layout, bundle) = (directory.join("layout"), directory.join("bundle"));
        let made = run(Command::new(root.join("scripts/image")).arg("dev").arg(&layout));
        print!("{made}");
        let version = env!("CARGO_PKG_VERSION");
        run(Command::new("umoci")
            .args(["unpack", "--image"])
            .arg(format!("{}:{version}", layout.display()))
            .arg(&bundle));
        let image = Self { directory };
        for place in ["store", "agent"] {
            let path = image.rootfs().join(place);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
            std::fs::write(path.join("node.json"), NODE).unwrap();
        }
        image
    }

    fn rootfs(&self) -> PathBuf {
        self.directory.join("bundle/rootfs")
    }

    /// Waits until what listens on this socket of the image says that it is ready.
    fn until_ready(&self, socket: &str, process: &mut Running) {
        let deadline = Instant::now() + SOON;
        loop {
            let ask = || -> std::io::Result<String> {
                let mut stream = UnixStream::connect(self.rootfs().join(socket))?;
                stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).map(|_| answer)
            };
            let answer = ask();
            if answer.as_ref().is_ok_and(|answer| answer.contains(" 200 ")) {
                return;
            }
            let ended = process.0.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                let mut said = String::new();
                drop(process.0.kill());
                process.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("{socket}: {answer:?}, {ended:?}\n{said}");
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{told}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A node's network and mounts as a runtime makes them for the chart's DaemonSet: the root and `/proc/sys` cannot be
/// written, the node's settings and BPF file system are there, and privileges are those of the chart (with the one that
/// it takes to get in).
const CONTAINER: &str = r#"
set -eu
root=$1; capabilities=$2; shift 2
ip link add eth0 type veth peer name peer
ip address add 192.0.2.1/24 dev eth0
ip link set eth0 up; ip link set peer up; ip link set lo up
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount --bind /proc/sys/net "$root/host/proc/sys/net"
mount -t tmpfs tmpfs "$root/dev"
: >"$root/dev/null"
mount --bind /dev/null "$root/dev/null"
mount -t sysfs sysfs "$root/sys"
mount -t bpf bpf "$root/sys/fs/bpf"
mount --bind "$root/agent" "$root/agent"
mount -o remount,bind,ro "$root"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec setpriv --no-new-privs --bounding-set="-all,+sys_chroot,+$capabilities" chroot "$root" /usr/bin/egret agent "$@"
"#;

#[test]
fn the_image_has_all_that_controller_and_agent_need() {
    let image = Image::unpacked();
    let rootfs = image.rootfs();
    let version = run(Command::new("chroot").arg(&rootfs).args(["/usr/bin/egret", "--version"]));
    assert_eq!(version.trim(), format!("egret {}", env!("CARGO_PKG_VERSION")));

    let mut controller =
        Running::start(Command::new("chroot").arg("--userspec=65532:65532").arg(&rootfs).args([
            "/usr/bin/egret",
            "controller",
            "--store",
            "/store",
            "--status-address",
            "unix:/store/socket",
        ]));
    image.until_ready("store/socket", &mut controller);

    let capabilities = egret_lab::kubernetes::agent_capabilities().unwrap().join(",+").to_lowercase();
    let mut agent = Running::start(
        Command::new("unshare")
            .args(["--mount", "--net", "sh", "-c", CONTAINER, "sh"])
            .arg(&rootfs)
            .arg(&capabilities)
            .args(["--store", "/agent", "--node", "only", "--listen", "unix:/agent/socket"]),
    );
    image.until_ready("agent/socket", &mut agent);
    // Its guard is in force, which nft of the image has put there.
    let netns = format!("--net=/proc/{}/ns/net", agent.0.id());
    run(Command::new("nsenter").args([&netns, "nft", "list", "table", "inet", "egret"]));
    let forwards =
        run(Command::new("nsenter").args([&netns, "cat", "/proc/sys/net/ipv4/conf/egret0/forwarding"]));
    assert_eq!(forwards.trim(), "1");
}

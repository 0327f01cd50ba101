//! A network namespace with an API server and an agent in it. All of it ends with the test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use egret_lab::kubernetes::Alone;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

pub struct Place {
    server: Alone,
    directory: PathBuf,
}

impl Place {
    /// Works on a thread that has network and mounts of its own, and with it every process that it starts.
    pub fn run(work: impl FnOnce(&Place) + Send + 'static) {
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
            let none: Option<&str> = None;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            let name = format!("size-{}", std::process::id());
            let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            drop(std::fs::remove_dir_all(&directory));
            let bpf = directory.join("bpf");
            std::fs::create_dir_all(&bpf).unwrap();
            mount(Some("bpf"), &bpf, Some("bpf"), MsFlags::empty(), Some("mode=0700")).unwrap();
            let interface = |name: &str, address: &str| {
                [
                    format!("link add {name} type veth peer name {name}-peer"),
                    format!("address add {address} dev {name}"),
                    format!("link set {name} up"),
                    format!("link set {name}-peer up"),
                ]
            };
            let lines = [interface("eth0", "10.0.0.1/8"), interface("eth1", "192.0.63.240/18")];
            for line in [["link set lo up".to_owned()].as_slice(), &lines.concat()].concat() {
                let done = Command::new("ip").args(line.split(' ')).status().unwrap();
                assert!(done.success(), "ip {line}: {done}");
            }
            // Pods are made here before any controller could make service accounts for them.
            let server = Alone::start(&directory, &["--disable-admission-plugins=ServiceAccount"]).unwrap();
            work(&Place { server, directory });
        });
        if let Err(failed) = thread.join() {
            std::panic::resume_unwind(failed);
        }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.server.kubeconfig()
    }

    /// Starts the agent of a node.
    pub fn agent(&self, node: &str) -> Agent {
        let log = self.directory.join("agent.log");
        let process = Command::new(env!("CARGO_BIN_EXE_egret"))
            // as the DaemonSet has it
            .envs([("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "65536")])
            .args(["agent", "--store", "kubernetes", "--node", node, "--kubeconfig"])
            .arg(self.kubeconfig())
            .arg("--pin-dir")
            .arg(self.directory.join("bpf").join(node))
            .arg("--copy")
            .arg(self.directory.join("copy"))
            .arg("--listen")
            .arg(format!("unix:{}", self.directory.join("agent.sock").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Agent { process, log }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.directory.join("bpf"), nix::mount::MntFlags::MNT_DETACH);
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// A running agent. It ends with this value.
pub struct Agent {
    process: Child,
    log: PathBuf,
}

impl Agent {
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

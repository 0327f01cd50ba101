//! A lab for one test, driven by the command line as a person would, and hosts to speak from and to.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for a busy machine; nothing waits this long when all is well.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Longer than any answer takes in a lab: what has not come by then was dropped.
pub const SILENCE: Duration = Duration::from_millis(1500);

/// Two gateways, two nodes without wire; one node of each CNI shape and masquerade.
pub const SMALL: &str = include_str!("small.yaml");

/// Seed 003's high-availability example, as it stands.
pub const ANTREA_HA: &str = include_str!("../../../lab/demo/antrea-ha.yaml");

/// Labs share the machine's two processors. Most wait most of the time, and stand side by side; those with an API server,
/// and those that make much traffic, are alone.
const PLACES: u8 = 2;
static FREE: Mutex<u8> = Mutex::new(PLACES);
static FREED: Condvar = Condvar::new();

/// Room for a lab beside others.
struct Room(u8);

impl Room {
    fn wait(places: u8) -> Room {
        let free = FREE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut free =
            FREED.wait_while(free, |free| *free < places).unwrap_or_else(|poisoned| poisoned.into_inner());
        *free -= places;
        Room(places)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += self.0;
        FREED.notify_all();
    }
}

/// Where a lab's objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// In a directory of manifests.
    Directory,
    /// In a real API server, which `make kubernetes` builds.
    Kubernetes,
    /// There as well; and Egret is installed there, by its DaemonSet and its Deployment.
    Installed,
}

impl Store {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Store::Directory => &["--store", "directory"],
            Store::Kubernetes => &["--store", "kubernetes"],
            Store::Installed => &["--store", "kubernetes", "--installed"],
        }
    }
}

/// Makes each scenario, a function of the store, a test on either store.
macro_rules! on_both_stores {
    ($($scenario:ident),+ $(,)?) => {
        mod directory {
            $(#[test] fn $scenario() { super::$scenario($crate::harness::Store::Directory); })+
        }
        mod kubernetes {
            $(#[test] fn $scenario() { super::$scenario($crate::harness::Store::Kubernetes); })+
        }
    };
}
pub(crate) use on_both_stores;

/// A running lab. Taken down when dropped; prints its whole state if the test fails.
pub struct Lab {
    name: String,
    _room: Option<Room>,
}

impl Lab {
    /// Starts a lab of this topology.
    pub fn up(name: &str, topology: &str) -> Lab {
        Self::up_on(Store::Directory, name, topology)
    }

    /// Starts a lab of this topology, its objects in this store.
    pub fn up_on(store: Store, name: &str, topology: &str) -> Lab {
        match store {
            Store::Directory => Self::in_room(name, 1).start(store, topology),
            Store::Kubernetes | Store::Installed => Self::not_up(name).start(store, topology),
        }
    }

    /// Starts a lab that needs the machine for itself.
    pub fn up_alone(name: &str, topology: &str) -> Lab {
        Self::not_up(name).start(Store::Directory, topology)
    }

    /// The place for a lab that the test starts otherwise, alone.
    pub fn not_up(name: &str) -> Lab {
        Self::in_room(name, PLACES)
    }

    fn in_room(name: &str, places: u8) -> Lab {
        Lab { name: name.to_owned(), _room: Some(Room::wait(places)) }
    }

    /// Starts a lab beside this one.
    pub fn beside(&self, store: Store, name: &str, topology: &str) -> Lab {
        Lab { name: name.to_owned(), _room: None }.start(store, topology)
    }

    fn start(self, store: Store, topology: &str) -> Lab {
        self.rise(store, topology);
        self
    }

    /// Starts this lab.
    #[track_caller]
    pub fn rise(&self, store: Store, topology: &str) {
        self.rise_with(store, topology, &[]);
    }

    /// Starts this lab, with more on its command line.
    #[track_caller]
    pub fn rise_with(&self, store: Store, topology: &str, more: &[&str]) {
        let file = self.file("topology", topology);
        self.egret(&[&["up", "-f", file.to_str().unwrap()], store.arguments(), more].concat());
    }

    /// Writes a file for this lab's command line to read.
    pub fn file(&self, what: &str, text: &str) -> PathBuf {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{what}.yaml", self.name));
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs `egret lab --name NAME ...` and returns what it did.
    pub fn try_egret(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_egret"))
            .args(["lab", "--name", &self.name])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs `egret lab --name NAME ...`, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn egret(&self, arguments: &[&str]) -> String {
        let output = self.try_egret(arguments);
        assert!(
            output.status.success(),
            "egret lab {arguments:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Applies manifests and waits until they are in force.
    #[track_caller]
    pub fn apply(&self, manifests: &str) {
        // each text is a file of its own: applying a file again replaces what it held
        let kind =
            manifests.lines().find_map(|line| line.trim_start_matches("- ").strip_prefix("apiVersion: "));
        let file = self.file(&kind.unwrap_or("manifests").replace('/', "-"), manifests);
        self.egret(&["apply", file.to_str().unwrap()]);
    }

    /// Makes a pod and waits until the plan knows it.
    #[track_caller]
    pub fn pod(&self, namespace: &str, name: &str, node: &str, label: &str) -> Host {
        self.egret(&["pod", name, "-n", namespace, "--node", node, "-l", label]);
        self.host(name)
    }

    /// The host of that name (for a pod: its name without namespace).
    #[track_caller]
    pub fn host(&self, name: &str) -> Host {
        let hosts = self.hosts();
        let ends = format!("/{name}");
        let host =
            hosts.as_array().into_iter().flatten().find(|host| {
                host["name"].as_str().is_some_and(|known| known == name || known.ends_with(&ends))
            });
        let Some(host) = host else { panic!("no host {name} in {hosts:#}") };
        Host {
            namespace: host["namespace"].as_str().unwrap().to_owned(),
            addresses: strings(&host["addresses"]),
            pids: host["pids"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect(),
        }
    }

    /// `lab hosts -o json`.
    #[track_caller]
    pub fn hosts(&self) -> Value {
        serde_json::from_str(&self.egret(&["hosts", "-o", "json"])).unwrap()
    }

    /// Packets that left with a wrong source.
    #[track_caller]
    pub fn leaks(&self) -> Vec<Value> {
        serde_json::from_str(&self.egret(&["leaks", "-o", "json"])).unwrap()
    }

    /// No packet left with a wrong source.
    #[track_caller]
    pub fn assert_no_leak(&self) {
        let leaks = self.leaks();
        assert!(
            leaks.is_empty(),
            "{} packets with a wrong source: {:#?}",
            leaks.len(),
            &leaks[..leaks.len().min(5)]
        );
    }

    /// Kills the processes of a node: its agent, and the controller if it is there. No goodbye. Returns when they are gone:
    /// who heals the node sooner would find them there.
    pub fn kill_programs(&self, node: &str) {
        let begun = Instant::now();
        for pid in self.programs(node) {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            while egret_lab::process::started(pid.as_raw()).is_some() {
                assert!(begun.elapsed() < DEADLINE, "{node}: process {pid} does not end");
                std::thread::yield_now();
            }
        }
    }

    /// Its agent, and the controller if it is there; in an installed lab, what its kubelet has started.
    fn programs(&self, node: &str) -> Vec<i64> {
        if !self.directory().join("nodes").exists() {
            return self.host(node).pids;
        }
        let containers = self.directory().join("nodes").join(node).join("containers");
        let read = |path: PathBuf| serde_json::from_slice::<Value>(&std::fs::read(path).ok()?).ok();
        let files = std::fs::read_dir(&containers).into_iter().flatten().flatten();
        files.filter_map(|file| read(file.path())?["pid"].as_i64()).collect()
    }

    /// Where the lab keeps its state.
    pub fn directory(&self) -> PathBuf {
        Path::new("/run/egret/lab").join(&self.name)
    }

    /// The node's counters that are not zero, by reason.
    #[track_caller]
    pub fn counters(&self, node: &str) -> std::collections::BTreeMap<String, u64> {
        let metrics = self.metrics(node);
        metrics
            .lines()
            .filter_map(|line| {
                let (reason, count) =
                    line.strip_prefix("egret_packets_total{reason=\"")?.split_once("\"} ")?;
                Some((reason.to_owned(), count.parse::<f64>().ok()? as u64)).filter(|(_, count)| *count > 0)
            })
            .collect()
    }

    /// What the node's agent answers to `/metrics`.
    #[track_caller]
    pub fn metrics(&self, node: &str) -> String {
        fn ask(mut stream: impl Read + Write) -> String {
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        }
        if self.directory().join("nodes").exists() {
            return self.host(node).wait(|| {
                let stream = TcpStream::connect("127.0.0.1:9917").unwrap();
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                ask(stream)
            });
        }
        let socket = self.directory().join("run").join(format!("agent-{node}.sock"));
        let stream =
            std::os::unix::net::UnixStream::connect(&socket).unwrap_or_else(|e| panic!("{socket:?}: {e}"));
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        ask(stream)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_state();
        }
        let output = self.try_egret(&["down"]);
        if !output.status.success() {
            eprintln!("lab down: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

impl Lab {
    fn print_state(&self) {
        for arguments in [&["hosts"][..], &["leaks"]] {
            let output = self.try_egret(arguments);
            eprintln!("--- lab {arguments:?}\n{}", String::from_utf8_lossy(&output.stdout));
        }
        let logs = std::fs::read_dir(self.directory().join("log")).into_iter().flatten().flatten();
        for log in logs {
            let text = std::fs::read_to_string(log.path()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("--- {}\n{}", log.path().display(), lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// A host of a lab.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its network namespace.
    pub namespace: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its processes.
    pub pids: Vec<i64>,
}

impl Host {
    /// Runs `work` in the host's network namespace, on a thread of its own.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let file = std::fs::File::open(Path::new("/run/netns").join(&self.namespace)).unwrap();
        std::thread::spawn(move || {
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
    }

    /// Runs `work` in the host's network namespace and waits for it.
    #[track_caller]
    pub fn wait<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.run(work).join().unwrap()
    }

    /// The source address that a TCP server at `server` sees.
    pub fn tcp_source(&self, server: SocketAddr) -> std::io::Result<IpAddr> {
        self.wait(move || {
            let mut stream = TcpStream::connect_timeout(&server, SILENCE)?;
            stream.set_read_timeout(Some(SILENCE))?;
            read_address(&mut stream)
        })
    }

    /// A connection that is meant to last, to a server that tells sources, and the source that it saw.
    pub fn connect(&self, server: SocketAddr) -> (TcpStream, IpAddr) {
        self.wait(move || {
            let mut stream = TcpStream::connect_timeout(&server, DEADLINE).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let source = read_address(&mut stream).unwrap();
            (stream, source)
        })
    }

    /// The source address that a UDP server at `server` sees.
    pub fn udp_source(&self, server: SocketAddr) -> std::io::Result<IpAddr> {
        self.wait(move || {
            let socket = UdpSocket::bind(if server.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" })?;
            socket.set_read_timeout(Some(SILENCE))?;
            socket.send_to(b"who am I?", server)?;
            let mut buffer = [0; 64];
            let size = socket.recv(&mut buffer)?;
            parse(&buffer[..size])
        })
    }

    /// The same of a client that asks again when nothing comes back, as those of DNS do: a datagram on its way to a
    /// gateway that has just died is lost.
    pub fn udp_source_asking_again(&self, server: SocketAddr) -> std::io::Result<IpAddr> {
        const AGAIN: Duration = Duration::from_millis(200);
        self.wait(move || {
            let socket = UdpSocket::bind(if server.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" })?;
            socket.set_read_timeout(Some(AGAIN))?;
            let begun = Instant::now();
            loop {
                socket.send_to(b"who am I?", server)?;
                let mut buffer = [0; 64];
                match socket.recv(&mut buffer) {
                    Err(_) if begun.elapsed() < DEADLINE => {}
                    size => return parse(&buffer[..size?]),
                }
            }
        })
    }

    /// Runs a program of the machine in the host.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new("ip").args(["netns", "exec", &self.namespace, program]).args(arguments).output().unwrap()
    }

    /// A server that tells each client, over TCP and UDP, which address it sees. It ends with the lab.
    pub fn serve_sources(&self, port: u16) {
        let (ready, is_ready) = std::sync::mpsc::channel();
        self.run(move || {
            let tcp = TcpListener::bind(("::", port)).unwrap();
            let udp = UdpSocket::bind(("::", port)).unwrap();
            let told = std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
                    let _ = udp.send_to(peer.ip().to_canonical().to_string().as_bytes(), peer);
                }
            });
            ready.send(()).unwrap();
            for stream in tcp.incoming() {
                let Ok(mut stream) = stream else { break };
                let Ok(peer) = stream.peer_addr() else { continue };
                std::thread::spawn(move || {
                    let _ = writeln!(stream, "{}", peer.ip().to_canonical());
                    let mut buffer = [0; 4096];
                    while let Ok(size @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..size]).is_err() {
                            break;
                        }
                    }
                });
            }
            let _ = told.join();
        });
        is_ready.recv_timeout(DEADLINE).unwrap();
    }
}

/// Reads the line with which a server of [`Host::serve_sources`] greets.
pub fn read_address(stream: &mut TcpStream) -> std::io::Result<IpAddr> {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    parse(&line)
}

fn parse(text: &[u8]) -> std::io::Result<IpAddr> {
    let text = String::from_utf8_lossy(text);
    text.parse()
        .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, format!("no address: {text:?}")))
}

/// One answer and the next go both ways on this connection.
#[track_caller]
pub fn assert_echoes(stream: &mut TcpStream, text: &str) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(text.as_bytes(), back);
}

//! What people see: which pod had a port when, what is refused and why, and who serves an address.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::families::{FAR, FOUR, at, pool};
use crate::harness::{DEADLINE, Host, Lab, SILENCE, SMALL, Store, on_both_stores};

const SERVER: u16 = 7000;
/// All ports that the node has, and each pod may use them all.
const PORTS: usize = 64;

/// Tells each client the address and port that it sees, and holds the connection until it is closed.
fn serve_ends(outside: &Host) {
    let (ready, is_ready) = channel();
    outside.run(move || {
        let server = TcpListener::bind(("0.0.0.0", SERVER)).unwrap();
        ready.send(()).unwrap();
        for stream in server.incoming() {
            let Ok(mut stream) = stream else { break };
            std::thread::spawn(move || {
                let peer = stream.peer_addr().unwrap();
                let _ = writeln!(stream, "{peer}");
                let _ = stream.read(&mut [0; 64]);
            });
        }
    });
    is_ready.recv_timeout(DEADLINE).unwrap();
}

/// A connection, and the egress address and port that the other end sees.
fn connect(pod: &Host) -> std::io::Result<(TcpStream, SocketAddr)> {
    pod.wait(|| {
        let stream = TcpStream::connect_timeout(&at(FAR[0], SERVER), SILENCE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        Ok((stream, line.trim().parse().unwrap()))
    })
}

/// `egret lab flows --follow`, read line by line.
struct Follow {
    child: Child,
    lines: Receiver<Value>,
    seen: Vec<Value>,
}

impl Follow {
    fn begin(name: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_egret"))
            .args([
                "lab", "--name", name, "flows", "--follow", "--pod", "nat/", "--since", "1s", "-o", "json",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = say.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// The event of this kind of a pod.
    #[track_caller]
    fn until(&mut self, event: &str, pod: &str) -> Value {
        let is = |line: &Value| line["event"] == event && line["pod"] == pod;
        let begun = Instant::now();
        loop {
            if let Some(found) = self.seen.iter().find(|line| is(line)) {
                return found.clone();
            }
            let left = DEADLINE.saturating_sub(begun.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("no {event} of {pod}: {error}: {:#?}", self.seen),
            }
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The second that is now, when it is over: times are asked for to the second.
fn second() -> String {
    let now = Timestamp::now().as_second();
    while Timestamp::now().as_second() == now {
        // Nobody tells the time but the clock.
        std::thread::sleep(Duration::from_millis(20));
    }
    Timestamp::from_second(now).unwrap().to_string()
}

/// The pods that had this egress end then, the exit code, and all that was said.
fn who(lab: &Lab, end: SocketAddr, at: &str) -> (Vec<String>, i32, String) {
    let output = lab.try_egret(&["who", &end.to_string(), "--at", at, "-o", "json"]);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {text}"));
    let pods = told["flows"].as_array().unwrap().iter().map(|flow| flow["pod"].as_str().unwrap().to_owned());
    (pods.collect(), output.status.code().unwrap(), text)
}

#[track_caller]
fn assert_who(lab: &Lab, end: SocketAddr, at: &str, pods: &[&str], code: i32) {
    let (found, exit, text) = who(lab, end, at);
    assert_eq!(
        (found, exit),
        (pods.iter().map(|pod| (*pod).to_owned()).collect(), code),
        "{end} at {at}: {text}"
    );
}

fn a_port_is_known_by_the_pod_that_had_it_then(store: Store) {
    let lab = Lab::up_on(store, "t-who", SMALL);
    let ports =
        "ports: { blockSize: 64, initialBlocks: 1, maxBlocks: 1, podShare: 1 }, timeouts: { tcpClosed: 1 }";
    lab.apply(&pool("four", "nat", FOUR, ports));
    serve_ends(&lab.host("outside-2"));
    let [first, second_pod] = ["first", "second"].map(|name| lab.pod("nat", name, "node-1", "app=nat"));
    let before = second();
    let mut follow = Follow::begin("t-who");

    let (held, end) = connect(&first).unwrap();
    let opened = follow.until("opened", "nat/first");
    assert_eq!(opened["egress"], end.to_string(), "{opened:#}");
    assert_eq!(opened["to"], at(FAR[0], SERVER).to_string(), "{opened:#}");
    assert_eq!((&opened["node"], &opened["policy"]), (&"node-1".into(), &"ClusterEgressPolicy four".into()));
    let of_first = second();

    // The others are all taken by another pod, and what it asks for besides is refused.
    let mut taken = Vec::new();
    let refused = loop {
        match connect(&second_pod) {
            Ok((stream, other)) => {
                assert_ne!(other, end);
                taken.push(stream);
            }
            Err(error) => break error,
        }
        assert!(taken.len() < PORTS, "more connections than ports");
    };
    assert_eq!(taken.len(), PORTS - 1, "{refused}");
    let told = follow.until("refused", "nat/second");
    assert_eq!(
        (&told["reason"], &told["to"]),
        (&"TOLD_NO_PORT".into(), &at(FAR[0], SERVER).to_string().into()),
        "{told:#}"
    );

    drop(held);
    follow.until("closed", "nat/first");
    let (_held, heir) = connect(&second_pod).unwrap();
    assert_eq!(heir, end, "the only port that is free");
    second();
    let of_second = second();

    let check = |lab: &Lab| {
        assert_who(lab, end, &of_first, &["nat/first"], 0);
        assert_who(lab, end, &of_second, &["nat/second"], 0);
        assert_who(lab, SocketAddr::new(end.ip(), 1), &of_second, &[], 1);
    };
    check(&lab);
    let open: Vec<Value> =
        serde_json::from_str(&lab.egret(&["flows", "--address", &end.to_string(), "-o", "json"])).unwrap();
    let seen: Vec<_> =
        open.iter().map(|flow| (flow["pod"].as_str().unwrap(), flow["state"].as_str().unwrap())).collect();
    assert_eq!(seen, [("nat/first", "closed"), ("nat/second", "open")], "{open:#?}");

    // A new agent goes on with the log, and knows what was opened before it.
    lab.egret(&["roll"]);
    check(&lab);
    drop(taken);
    follow.until("closed", "nat/second");

    let (addresses, gateways) = status(&lab);
    assert_eq!(addresses[0]["address"], FOUR);
    let active = addresses[0]["active"][0].as_str().unwrap();
    assert!(["node-4", "node-5"].contains(&active), "{addresses:#}");
    assert_eq!(addresses[0]["why"], "it comes first of 2", "{addresses:#}");
    assert_eq!(addresses[0]["leased"], PORTS, "{addresses:#}");
    assert!(gateways.as_array().unwrap().iter().all(|gateway| gateway["ready"] == true), "{gateways:#}");

    // Who does not answer is named, and hides nobody else.
    lab.egret(&["fault", "node-2", "power-off"]);
    let output = lab.try_egret(&["flows", "--pod", "nat/second"]);
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{out}{error}");
    assert!(out.contains("nat/second") && error.contains("node node-2 has is not known"), "{out}{error}");
    assert_who(&lab, end, &of_first, &["nat/first"], 0);
    assert_who(&lab, end, &before, &[], 3);
    lab.egret(&["fault", active, "power-off"]);
    let begun = Instant::now();
    let other = if active == "node-4" { "node-5" } else { "node-4" };
    loop {
        let (addresses, _) = status(&lab);
        let why = addresses[0]["why"].as_str().unwrap();
        let active_now: Vec<_> = addresses[0]["active"].as_array().into_iter().flatten().collect();
        if active_now.iter().any(|name| *name == other) && why.contains(active) {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "{addresses:#}");
    }
    lab.assert_no_leak();
}

/// Addresses and gateways as `egret status` tells them.
fn status(lab: &Lab) -> (Value, Value) {
    let mut status: Value = serde_json::from_str(&lab.egret(&["status", "-o", "json"])).unwrap();
    (status["addresses"].take(), status["gateways"].take())
}

on_both_stores!(a_port_is_known_by_the_pod_that_had_it_then);

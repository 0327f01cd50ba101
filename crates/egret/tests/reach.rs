//! How agents in a cluster are asked: against a server that speaks as an API server does where `kubectl exec` ends. A real one
//! would need a kubelet behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Message, accept_hdr};

const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;

const FLOW: &str = r#"{"flow":{"state":"open","protocol":"TCP","pod":"prod/web","from":"10.244.1.10:41000","egress":"10.10.0.11:33072","to":"198.51.100.9:443","opened":"2026-11-22T01:00:01Z"}}"#;

fn agent(name: &str, node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "egret-system"},
        "spec": {"nodeName": node, "containers": [{"name": "agent", "args": ["agent", "--flow-log=/log/flows", "--pin-dir=/pins"]}]},
        "status": {"phase": "Running"}})
}

/// What is asked by plain requests.
fn objects(path: &str) -> Value {
    if path.contains("/pods") {
        let pods = [agent("agent-a", "node-a"), agent("agent-b", "node-b"), agent("agent-c", "node-c")];
        return json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods});
    }
    let names = ["node-a", "node-b", "node-c", "node-d"];
    let items = names.map(|name| {
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": name}})
    });
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {}, "items": items})
}

fn answer(mut stream: TcpStream, body: &Value, code: &str) {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {code}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes());
}

/// What runs in the pod: one node answers, one fails, at one it is forbidden.
#[allow(clippy::result_large_err, reason = "the type is the library's")]
fn run_in_pod(stream: TcpStream, pod: &str) {
    let speak = |_: &Request, mut response: Response| {
        response.headers_mut().insert("sec-websocket-protocol", "v5.channel.k8s.io".parse().unwrap());
        Ok(response)
    };
    let mut socket = accept_hdr(stream, speak).unwrap();
    let mut say = |channel: u8, text: &str| {
        socket.send(Message::binary([&[channel], text.as_bytes()].concat())).unwrap();
    };
    if pod == "agent-a" {
        // Lines do not end where messages do.
        let (one, other) = FLOW.split_at(40);
        say(STDOUT, one);
        say(STDOUT, &format!("{other}\n\n"));
        say(STDOUT, "{\"end\":{\"from\":\"2026-11-22T00:00:00Z\"}}\n");
        say(STATUS, &json!({"metadata": {}, "status": "Success"}).to_string());
    } else {
        say(STDERR, "egret: /log/flows: there is no log of flows\n");
        say(STATUS, &json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode"}).to_string());
    }
    let _ = socket.close(None);
    while socket.read().is_ok() {}
}

fn serve(server: TcpListener) -> Receiver<String> {
    let (tell, asked) = channel();
    std::thread::spawn(move || {
        for stream in server.incoming().map_while(Result::ok) {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                let seen = stream.peek(&mut bytes).unwrap();
                let line =
                    String::from_utf8_lossy(&bytes[..seen]).lines().next().unwrap_or_default().to_owned();
                let _ = tell.send(line.clone());
                let path = line.split(' ').nth(1).unwrap_or_default();
                match path.split_once("/exec?") {
                    Some((pod, _)) if pod.ends_with("agent-c") => {
                        let why = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 403,
                            "reason": "Forbidden", "message": "pods \"agent-c\" is forbidden: cannot create resource \"pods/exec\""});
                        drain(&stream);
                        answer(stream, &why, "403 Forbidden");
                    }
                    Some((pod, _)) => run_in_pod(stream, pod.rsplit('/').next().unwrap()),
                    None => {
                        drain(&stream);
                        answer(stream, &objects(path), "200 OK");
                    }
                }
            });
        }
    });
    asked
}

/// Reads a request without body to its end.
fn drain(stream: &TcpStream) {
    let mut lines = BufReader::new(stream.take(8192)).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
}

fn egret(kubeconfig: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_egret"))
        .args(words)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn agents_are_asked_in_their_pods_and_who_does_not_answer_is_named() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let kubeconfig =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("reach-{}.yaml", std::process::id()));
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": format!("http://{}", server.local_addr().unwrap())}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}], "users": [{"name": "a", "user": {}}]});
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let asked = serve(server);

    let output =
        egret(&kubeconfig, &["flows", "--pod", "prod/web", "--since", "2026-11-22T00:30:00Z", "-o", "json"]);
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{out}{error}");
    let flows: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {out}{error}"));
    assert_eq!((&flows[0]["node"], &flows[0]["pod"]), (&"node-a".into(), &"prod/web".into()), "{flows:#}");
    assert_eq!(flows.as_array().unwrap().len(), 1);
    for words in [
        "what node node-b has is not known: /log/flows: there is no log of flows",
        "what node node-c has is not known: pod egret-system/agent-c cannot be asked",
        "what node node-d has is not known: no agent's pod runs there",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(!error.contains("node-a"), "{error}");
    let exec = asked.try_iter().find(|line| line.contains("agent-a/exec")).unwrap();
    for words in [
        "flows",
        "--local",
        "--lines",
        "--pod%3Dprod%2Fweb",
        "--flow-log%3D%2Flog%2Fflows",
        "--pin-dir%3D%2Fpins",
    ] {
        assert!(exec.contains(&format!("command={words}")), "{words}: {exec}");
    }

    let one = egret(&kubeconfig, &["flows", "--node", "node-a"]);
    assert_eq!(one.status.code(), Some(0), "{}", String::from_utf8_lossy(&one.stderr));
    assert!(String::from_utf8_lossy(&one.stdout).contains("10.10.0.11:33072"));
    let none = egret(&kubeconfig, &["flows", "--node", "node-x"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("--node node-x"), "{none:?}");
    std::fs::remove_file(kubeconfig).unwrap();
}

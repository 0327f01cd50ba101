//! A cluster as people have it: pods are wired and masqueraded by the CNI project's own plugins, Services are kube-proxy's.
//! One node has ptp, and iptables for both; its neighbour bridge, and nftables for both; the gateways as well.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::harness::{ANTREA_HA, Host, Lab, SILENCE, SMALL, Store, assert_echoes, read_address};
use crate::local_traffic;

const SERVICES: &str = include_str!("cluster.yaml");
pub const FAR: &str = "198.51.100.10:7000";
const WEB: &str = "10.10.0.11";
/// Where the Service is reached from outside, and what its pods leave by.
pub const SIP: &str = "10.10.0.40";
pub const SIP_FRONTEND: &str = "10.10.0.40:1100";
const DNS: &str = "10.96.0.10:53";
const API_SERVER: &str = "10.96.0.1:443";
/// Who asks without end asks once in this time.
const PACE: Duration = Duration::from_millis(2);

pub fn at(server: &str) -> SocketAddr {
    server.parse().unwrap()
}

/// Both kinds of pod network and of kube-proxy, on nodes and on gateways.
pub fn networks() -> String {
    let ptp = "    cni: ptp\n    plugins: true\n    proxy: iptables\n";
    let bridge = "    cni: bridge\n    plugins: true\n    proxy: nftables\n";
    SMALL.replace("    cni: ptp\n", ptp).replace("    cni: bridge\n", bridge)
}

/// What a host is called by: its first address.
fn own(host: &Host) -> &str {
    host.addresses[0].split('/').next().unwrap()
}

#[test]
fn with_cni_plugins_and_kube_proxy_pods_leave_by_their_address_and_services_work() {
    let lab = Lab::up_on(Store::Kubernetes, "t-cluster", &networks());
    let outside = lab.host("outside-2");
    outside.serve_sources(7000);
    lab.apply(ANTREA_HA);
    let webs = ["node-1", "node-2"].map(|node| (node, early(&lab, &outside, node)));
    let free = ["node-1", "node-2"].map(|node| lab.pod("free", &format!("free-{node}"), node, "app=free"));
    let phones = ["node-2", "node-4", "node-5"]
        .map(|node| lab.pod("telephony", &format!("phone-{node}"), node, "app=phone"));
    phones.iter().for_each(|phone| phone.serve_sources(1100));
    let dns = lab.pod("kube-system", "dns", "node-2", "k8s-app=kube-dns");
    dns.serve_sources(53);
    lab.apply(SERVICES);
    give_the_service_its_address(&lab);

    selected_pods_leave_by_their_address_and_others_by_their_node(&webs, &free);
    services_of_the_cluster_are_inside(&lab, &webs, &free);
    the_service_is_reached_at_the_address_by_which_its_pods_leave(&lab, &phones);
    local_traffic::the_address_is_held_where_the_services_pods_are(&lab, &phones[0]);
    nothing_is_lost_in_a_rolling_update(&lab, &webs);
    gateways_fail(&lab, &webs, &free, &phones);
    lab.assert_no_leak();
}

#[test]
fn clusters_of_one_plugin_and_one_kind_of_proxy_work() {
    for (network, proxy) in [("ptp", "iptables"), ("bridge", "nftables")] {
        let lab = Lab::not_up("t-uniform");
        lab.rise_with(Store::Kubernetes, SMALL, &["--network", network, "--proxy", proxy]);
        lab.host("outside-2").serve_sources(7000);
        lab.apply(ANTREA_HA);
        lab.kubectl(&["create", "namespace", "telephony"]);
        lab.apply(SERVICES);
        let webs =
            ["node-1", "node-2"].map(|node| (node, lab.pod("prod", &format!("web-{node}"), node, "app=web")));
        let free =
            ["node-1", "node-2"].map(|node| lab.pod("free", &format!("free-{node}"), node, "app=free"));
        let dns = lab.pod("kube-system", "dns", "node-2", "k8s-app=kube-dns");
        dns.serve_sources(53);
        for node in ["node-1", "node-2"] {
            let node = lab.host(node);
            let has = |program: &str, words: &[&str]| node.command(program, words).status.success();
            assert_eq!(has("ip", &["link", "show", "cni0"]), network == "bridge", "{network}");
            assert_eq!(has("nft", &["list", "table", "ip", "kube-proxy"]), proxy == "nftables", "{proxy}");
            assert_eq!(
                has("iptables", &["-t", "nat", "-L", "KUBE-SERVICES"]),
                proxy == "iptables",
                "{proxy}"
            );
        }
        selected_pods_leave_by_their_address_and_others_by_their_node(&webs, &free);
        // Whom the server sees is the plugin's matter: bridge masquerades what goes to another node.
        for pod in webs.iter().map(|(_, web)| web).chain(&free) {
            pod.udp_source_asking_again(at(DNS)).unwrap();
        }
        lab.assert_no_leak();
    }
}

/// A pod that sends from the moment when its plugin has made its link, long before anybody knows the pod.
fn early(lab: &Lab, outside: &Host, node: &str) -> Host {
    let port: u16 = if node == "node-1" { 7101 } else { 7102 };
    let (report, seen) = std::sync::mpsc::channel();
    outside.run(move || {
        let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
        while let Ok((_, peer)) = socket.recv_from(&mut [0; 64]) {
            if report.send(peer.ip().to_string()).is_err() {
                break;
            }
        }
    });
    // By the guard as long as the link has no program yet, and then by the program.
    let held = || {
        let by_program = lab.counters(node).get("DROP_UNKNOWN_POD").copied().unwrap_or_default();
        by_program + guard_drops(lab, node, "unknown")
    };
    let before = held();
    let name = format!("web-{node}");
    let send =
        format!("exec 3<>/dev/udp/198.51.100.10/{port}; while :; do echo early >&3 || :; done 2>/dev/null");
    let pod = [
        "pod", &name, "-n", "prod", "--node", node, "-l", "app=web", "--", "timeout", "20", "bash", "-c",
        &send,
    ];
    lab.egret(&pod);
    let pod = lab.host(&name);
    assert_eq!(seen.recv_timeout(SILENCE * 4).unwrap(), WEB, "the first packet that came out of {node}");
    for pid in &pod.pids {
        // Its own process group's head may have taken the other along.
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(*pid).unwrap()),
            nix::sys::signal::Signal::SIGKILL,
        );
    }
    assert!(held() > before, "nothing was sent before {node} knew the pod");
    assert!(seen.try_iter().all(|source| source == WEB));
    pod
}

/// What the guard of a node has dropped.
fn guard_drops(lab: &Lab, node: &str, reason: &str) -> u64 {
    let metrics = lab.metrics(node);
    let name = format!("egret_guard_dropped_packets_total{{reason=\"{reason}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
    count.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

/// As kube-vip does it, or whoever gives Services their addresses.
fn give_the_service_its_address(lab: &Lab) {
    let status = format!("{{\"status\": {{\"loadBalancer\": {{\"ingress\": [{{\"ip\": \"{SIP}\"}}]}}}}}}");
    lab.kubectl(&[
        "patch",
        "service",
        "sip",
        "-n",
        "telephony",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ]);
}

fn selected_pods_leave_by_their_address_and_others_by_their_node(webs: &[(&str, Host)], free: &[Host]) {
    for (node, web) in webs {
        assert_eq!(web.tcp_source(at(FAR)).unwrap().to_string(), WEB, "TCP on {node}");
        assert_eq!(web.udp_source(at(FAR)).unwrap().to_string(), WEB, "UDP on {node}");
    }
    for (free, node) in free.iter().zip(["10.0.0.1", "10.0.0.2"]) {
        assert_eq!(free.tcp_source(at(FAR)).unwrap().to_string(), node, "masqueraded by the plugin");
    }
}

/// kube-proxy chooses the pod behind a Service after Egret has seen the packet: what goes to a Service is no pod's way out.
fn services_of_the_cluster_are_inside(lab: &Lab, webs: &[(&str, Host)], free: &[Host]) {
    let held = || webs.iter().map(|(node, _)| guard_drops(lab, node, "captured")).sum::<u64>();
    let before = held();
    let selected = webs.iter().map(|(_, web)| web);
    for pod in selected.chain(free) {
        let source = pod.udp_source_asking_again(at(DNS)).unwrap().to_string();
        assert_eq!(source, own(pod), "DNS by UDP");
        assert_eq!(pod.tcp_source(at(DNS)).unwrap().to_string(), own(pod), "DNS by TCP");
        // Behind this one is a host that is neither node nor pod.
        let connected = pod.wait(|| TcpStream::connect_timeout(&at(API_SERVER), SILENCE).map(drop));
        connected.unwrap_or_else(|error| panic!("{} to the API server: {error}", own(pod)));
    }
    assert_eq!(held(), before, "the guard holds nothing of it");
}

fn the_service_is_reached_at_the_address_by_which_its_pods_leave(lab: &Lab, phones: &[Host]) {
    let client = lab.host("outside-1");
    for phone in phones {
        assert_eq!(phone.tcp_source(at(FAR)).unwrap().to_string(), SIP, "TCP of {}", own(phone));
        assert_eq!(phone.udp_source(at(FAR)).unwrap().to_string(), SIP, "UDP of {}", own(phone));
    }
    lab.until("the Service to be reached", || {
        client.tcp_source(at(SIP_FRONTEND)).map(drop).map_err(|error| error.to_string())
    });
    // Each pod of the three is met sooner or later; the one that answers sees a node.
    for _ in 0..12 {
        let told = [client.tcp_source(at(SIP_FRONTEND)), client.udp_source_asking_again(at(SIP_FRONTEND))];
        for source in told {
            let source = source.expect("an answer by externalTrafficPolicy Cluster").to_string();
            assert!(source.starts_with("10.0.0.") || source.starts_with("10.244."), "{source}");
        }
    }
    let (mut inbound, _) = client.connect(at(SIP_FRONTEND));
    let (mut outbound, source) = phones[0].connect(at(FAR));
    assert_eq!(source.to_string(), SIP);
    for _ in 0..3 {
        assert_echoes(&mut inbound, "from outside to the Service");
        assert_echoes(&mut outbound, "from its pod to the outside");
    }
    let leases =
        lab.kubectl(&["get", "egressaddress", "10-10-0-40", "-o", "jsonpath={.spec.leases[*].firstPort}"]);
    let size = lab.kubectl(&["get", "egressaddress", "10-10-0-40", "-o", "jsonpath={.spec.blockSize}"]);
    let size: u16 = size.trim().parse().unwrap();
    let holds = |first: &str| (first.parse::<u16>().unwrap()..).take(size.into()).any(|port| port == 1100);
    assert!(!leases.is_empty() && !leases.split(' ').any(holds), "1100 is leased: {leases}");
}

/// Asks without end, and counts what comes of it: the source of each answer, or that there was none.
struct Asking {
    /// Who asks goes on for as long as these are held.
    stop: [Sender<()>; 2],
    heard: Receiver<Option<String>>,
    threads: Vec<JoinHandle<()>>,
}

impl Asking {
    /// By one UDP socket, and by one new TCP connection after the other.
    fn new(pod: &Host) -> Asking {
        let (say, heard) = std::sync::mpsc::channel();
        // The next question is due after the pace, and none when it is stopped.
        let goes_on = |stop: &Receiver<()>, pace| stop.recv_timeout(pace) == Err(RecvTimeoutError::Timeout);
        let ((stop_one, one), (stop_other, other)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let said = say.clone();
        let datagrams = pod.run(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect(at(FAR)).unwrap();
            socket.set_read_timeout(Some(SILENCE)).unwrap();
            let mut buffer = [0; 64];
            while goes_on(&one, PACE) {
                let answer = socket.send(b"who am I?").and_then(|_| socket.recv(&mut buffer));
                let source = answer.ok().map(|size| String::from_utf8_lossy(&buffer[..size]).into_owned());
                let _ = said.send(source);
            }
        });
        let connections = pod.run(move || {
            while goes_on(&other, PACE * 10) {
                let stream = TcpStream::connect_timeout(&at(FAR), SILENCE).and_then(|mut stream| {
                    stream.set_read_timeout(Some(SILENCE))?;
                    read_address(&mut stream)
                });
                let _ = say.send(stream.ok().map(|source| source.to_string()));
            }
        });
        Asking { stop: [stop_one, stop_other], heard, threads: vec![datagrams, connections] }
    }

    /// Every answer, or that there was none.
    fn stop(self) -> Vec<Option<String>> {
        drop(self.stop);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.heard.iter().collect()
    }
}

pub fn nothing_is_lost_in_a_rolling_update(lab: &Lab, webs: &[(&str, Host)]) {
    let asking: Vec<Asking> = webs.iter().map(|(_, web)| Asking::new(web)).collect();
    lab.egret(&["roll"]);
    for ((node, _), asking) in webs.iter().zip(asking) {
        let heard = asking.stop();
        let wrong: Vec<_> = heard.iter().filter(|heard| heard.as_deref() != Some(WEB)).collect();
        assert!(heard.len() > 100, "{node}: {} only", heard.len());
        assert!(
            wrong.is_empty(),
            "{node}: {} of {} lost or wrong: {:?}",
            wrong.len(),
            heard.len(),
            wrong.first()
        );
        println!("rolling update, {node}: {} answers, 0 lost, 0 wrong", heard.len());
    }
}

fn gateways_fail(lab: &Lab, webs: &[(&str, Host)], free: &[Host], phones: &[Host]) {
    let mut held: Vec<TcpStream> = webs.iter().map(|(_, web)| web.connect(at(FAR)).0).collect();
    held.push(phones[0].connect(at(FAR)).0);
    let (holder, other) = local_traffic::holder_and_other(lab);
    lab.egret(&["fault", holder, "power-off"]);
    held.iter_mut().for_each(|stream| assert_echoes(stream, "the gateway is dead"));
    for (node, web) in webs {
        assert_eq!(web.udp_source_asking_again(at(FAR)).unwrap().to_string(), WEB, "{node} without {holder}");
    }
    local_traffic::reached_with_the_clients_address(lab);

    // Now there is none: what a policy selects stays, and is not the plugins' to masquerade either.
    lab.egret(&["fault", other, "cut", "eth1"]);
    for (node, web) in webs {
        assert!(web.tcp_source(at(FAR)).is_err(), "TCP of {node} left without a gateway");
        assert!(web.udp_source(at(FAR)).is_err(), "UDP of {node} left without a gateway");
    }
    for (free, node) in free.iter().zip(["10.0.0.1", "10.0.0.2"]) {
        assert_eq!(free.tcp_source(at(FAR)).unwrap().to_string(), node, "the ordinary way needs no gateway");
    }
    lab.egret(&["fault", other, "heal"]);
    lab.egret(&["fault", holder, "heal"]);
    held.iter_mut().for_each(|stream| assert_echoes(stream, "and both are back"));
}

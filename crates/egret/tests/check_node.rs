//! `egret check node` on this machine's kernel, in a network namespace of a test's own. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What is done in a fresh network and mount namespace before the check, and the findings. `$BPF` is a BPF file system.
fn check(name: &str, before: &str) -> (Vec<Value>, i32) {
    let directory =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("check-{name}-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&directory));
    for part in ["bpf", "cni"] {
        std::fs::create_dir_all(directory.join(part)).unwrap();
    }
    std::fs::write(directory.join("cni/10-net.conflist"), r#"{"plugins": [{"type": "bridge"}]}"#).unwrap();
    let script = format!(
        "set -e
        mount -t bpf bpf $BPF
        ip link set lo up
        ip link add eth0 type veth peer name far
        ip addr add 192.0.2.1/24 dev eth0
        ip link set eth0 up; ip link set far up
        sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=2
        PIN=$BPF/egret
        {before}
        set +e
        $RUN $EGRET check node -o json --address 192.0.2.1 --pin-dir $PIN --cni-dir $CNI; code=$?
        # Whatever was tried is gone.
        ls $BPF | grep -v '[.]debug' >&2; nft list tables >&2; ip -br link show type vxlan | grep -v flannel >&2
        exit $code"
    );
    let output = Command::new("unshare")
        .args(["--net", "--mount", "bash", "-c", &script])
        .env("EGRET", env!("CARGO_BIN_EXE_egret"))
        .env("BPF", directory.join("bpf"))
        .env("CNI", directory.join("cni"))
        .output()
        .unwrap();
    let left = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(left.trim().is_empty(), "left behind, or failed: {left}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    std::fs::remove_dir_all(PathBuf::from(&directory)).unwrap();
    (report["findings"].as_array().unwrap().clone(), output.status.code().unwrap())
}

/// What has to be mended.
fn failures(findings: &[Value]) -> BTreeSet<&str> {
    let bad = findings.iter().filter(|finding| finding["verdict"] == "failure");
    bad.map(|finding| finding["lookedAt"].as_str().unwrap()).collect()
}

#[test]
fn this_kernel_carries_the_datapath_and_nothing_is_left_of_the_trial() {
    let (findings, code) = check("sound", "");
    let of = |what: &str| {
        let finding = findings.iter().find(|finding| finding["lookedAt"] == what);
        finding.unwrap_or_else(|| panic!("{what}: {findings:#?}"))
    };
    for what in [
        "kernel",
        "capabilities",
        "BPF file system",
        "BPF programs and maps",
        "overlay device",
        "attachment of programs",
        "guard",
        "MTU",
        "UDP port 8474",
        "forwarding",
        "rp_filter",
        "CNI",
        "Egret's datapath",
    ] {
        assert_eq!(of(what)["verdict"], "ok", "{:#}", of(what));
    }
    assert!(failures(&findings).is_empty() && code == 0, "{findings:#?}");
}

#[test]
fn faults_of_a_node_are_found_by_name() {
    let network = "ip link add flannel.1 type vxlan id 1 dstport 8474 dev eth0
        ip link set eth0 mtu 1300
        sed -i s/bridge/macvlan/ $CNI/10-net.conflist";
    let machine = "umount $BPF
        ip addr flush dev eth0
        RUN='setpriv --bounding-set -net_raw env PATH=/none'";
    for (name, before, expected) in [
        ("network", network, ["CNI", "MTU", "UDP port 8474", "overlay device"]),
        ("machine", machine, ["BPF file system", "capabilities", "guard", "underlay"]),
    ] {
        let (findings, code) = check(name, before);
        assert_eq!(failures(&findings), expected.into(), "{name}: {findings:#?}");
        assert_eq!(code, 1, "{name}");
    }
}

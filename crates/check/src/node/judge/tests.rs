//! Facts in, findings out.

use std::collections::BTreeSet;

use egret_datapath::{Installed, Interface, Trial, Tried};

use super::super::{Cni, Facts, SIGNS};
use super::judge;
use crate::{Finding, Verdict};

fn interface(name: &str, mtu: u32, address: &str) -> Interface {
    let addresses = if address.is_empty() { vec![] } else { vec![address.parse().unwrap()] };
    Interface { name: name.to_owned(), mtu, addresses, pod: address.is_empty(), ..Interface::default() }
}

/// A node that is as it must be.
fn sound() -> Facts {
    Facts {
        kernel: "6.1.0-40-amd64".to_owned(),
        btf: true,
        lacking: BTreeSet::new(),
        trial: Trial {
            pins: Some(Ok(())),
            programs: Some(Ok(())),
            apart: Some(Ok(())),
            overlay: Some(Ok(())),
            tcx: Some(Ok(())),
            clsact: Some(Ok(())),
            guard: Some(Ok(())),
        },
        installed: Installed::default(),
        interfaces: Ok(vec![interface("eth0", 1500, "192.0.2.1/24"), interface("veth1", 1450, "")]),
        address: Some("192.0.2.1".parse().unwrap()),
        overlay: "egret0".to_owned(),
        port: 8474,
        port_taken: false,
        forwards: [Some(true), None],
        rp_filter: Some(2),
        cni_dir: "/etc/cni/net.d".to_owned(),
        cni: vec![Cni {
            file: "10-net.conflist".to_owned(),
            plugins: vec!["bridge".to_owned(), "portmap".to_owned()],
        }],
        traces: BTreeSet::new(),
    }
}

fn interfaces(facts: &mut Facts) -> &mut Vec<Interface> {
    facts.interfaces.as_mut().unwrap()
}

fn no() -> Tried {
    Some(Err("Operation not permitted".to_owned()))
}

#[test]
fn of_a_node_as_it_must_be_nothing_is_to_be_mended() {
    let findings = judge(&sound());
    let bad: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict != Verdict::Ok).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert_eq!(findings.len(), 14, "{findings:#?}");
}

/// One fault each: what is looked at, how bad it is, and a word of what was found or of the cure.
#[test]
fn each_fault_is_found_and_nothing_else() {
    use Verdict::{Failure, Warning};
    type Fault = fn(&mut Facts);
    let table: &[(&str, Verdict, &str, Fault)] = &[
        ("kernel", Failure, "6.1 or later", |f| f.kernel = "5.15.0-91-generic".to_owned()),
        ("kernel", Warning, "without BTF", |f| f.btf = false),
        ("kernel", Warning, "no version", |f| f.kernel.clear()),
        ("capabilities", Failure, "BPF", |f| f.lacking = BTreeSet::from(["BPF".to_owned()])),
        ("BPF file system", Failure, "mount -t bpf", |f| f.trial.pins = no()),
        ("BPF programs and maps", Failure, "not permitted", |f| f.trial.programs = no()),
        ("network namespace", Warning, "CAP_SYS_ADMIN", |f| f.trial.apart = no()),
        ("overlay device", Failure, "modprobe vxlan", |f| f.trial.overlay = no()),
        ("attachment of programs", Failure, "neither by TCX", |f| {
            (f.trial.tcx, f.trial.clsact) = (no(), no())
        }),
        ("guard", Failure, "nftables", |f| f.trial.guard = no()),
        ("MTU", Failure, "1330 or more", |f| interfaces(f)[0].mtu = 1329),
        ("MTU", Warning, "veth1 (1500)", |f| interfaces(f)[1].mtu = 1500),
        ("underlay", Failure, "--address", |f| f.address = None),
        ("underlay", Failure, "192.0.2.7", |f| f.address = Some("192.0.2.7".parse().unwrap())),
        ("interfaces", Failure, "netlink", |f| f.interfaces = Err("netlink".to_owned())),
        ("UDP port 8474", Failure, "ss -lunp", |f| f.port_taken = true),
        ("UDP port 8474", Failure, "flannel.1", |f| {
            let device = Interface { vxlan_port: Some(8474), ..interface("flannel.1", 1450, "10.0.0.0/32") };
            interfaces(f).push(device);
        }),
        ("forwarding", Warning, "ip_forward=1", |f| f.forwards[0] = Some(false)),
        ("rp_filter", Warning, "strict", |f| f.rp_filter = Some(1)),
        ("CNI", Warning, "/etc/cni/net.d", |f| f.cni.clear()),
        ("CNI", Warning, "names no plugin", |f| f.cni[0].plugins.clear()),
        ("CNI", Warning, "not tried", |f| f.cni[0].plugins[0] = "calico".to_owned()),
        ("CNI", Failure, "no veth pair", |f| f.cni[0].plugins[0] = "macvlan".to_owned()),
        ("Egret's datapath", Failure, "another version", |f| {
            f.installed.unusable = Some("made by another version".to_owned());
        }),
        ("Egret's datapath", Warning, "guard is not", |f| f.installed.maps = true),
        ("Egret's datapath", Warning, "maps are not", |f| f.installed.guard = true),
        ("other egress systems", Warning, "antrea-egress0", |f| f.traces = BTreeSet::from([SIGNS[0]])),
    ];
    for (what, verdict, word, fault) in table {
        let mut facts = sound();
        fault(&mut facts);
        let findings = judge(&facts);
        let bad: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict != Verdict::Ok).collect();
        let [bad] = bad.as_slice() else { panic!("{what}, {word}: {bad:#?}") };
        assert_eq!((bad.looked_at.as_str(), bad.verdict), (*what, *verdict), "{word}: {bad:#?}");
        let cure = bad.cure.as_deref().unwrap_or_default();
        assert!(!cure.is_empty() && (bad.found.contains(word) || cure.contains(word)), "{word}: {bad:#?}");
    }
}

#[test]
fn what_egret_has_made_itself_and_a_kernel_without_tcx_are_well() {
    let mut facts = sound();
    facts.trial.tcx = no();
    facts.port_taken = true;
    facts.installed = Installed { maps: true, guard: true, ..Installed::default() };
    interfaces(&mut facts)
        .push(Interface { vxlan_port: Some(8474), ..interface("egret0", 1450, "10.0.0.0/32") });
    let bad: Vec<Finding> =
        judge(&facts).into_iter().filter(|finding| finding.verdict != Verdict::Ok).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

//! What a node's facts mean.

use egret_datapath::{Interface, Trial, Tried, overlay_overhead};

use super::look::underlay;
use super::{Cni, Facts, Trace};
use crate::{Finding, some};

/// The oldest kernel that has what the programs use.
pub(crate) const OLDEST_KERNEL: (u32, u32) = (6, 1);
/// IPv6 needs links that carry this (RFC 8200 section 5), so the kernel has no IPv6 on smaller ones.
const IPV6_MTU: u32 = 1280;
/// Plugins whose pods have a veth pair that ends on the node, alone or on a bridge, and whose packets nobody else redirects.
const KNOWN_CNI: [&str; 4] = ["bridge", "flannel", "kindnet", "ptp"];
/// Plugins whose pods have no such link.
const LINKLESS_CNI: [&str; 6] = ["host-device", "ipvlan", "macvlan", "sriov", "tap", "vlan"];

/// Judges a node.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![kernel(facts), capabilities(facts)];
    findings.extend(trial(facts));
    findings.extend(mtu(facts));
    findings.extend([port(facts), forwarding(facts), rp_filter(facts), cni(facts), installed(facts)]);
    findings.extend(others(facts));
    findings
}

/// The first two numbers of a kernel's release.
pub(crate) fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    numbers.next().zip(numbers.next())
}

fn kernel(facts: &Facts) -> Finding {
    let Facts { kernel, btf, .. } = facts;
    match kernel_version(kernel) {
        Some(version) if version < OLDEST_KERNEL => Finding::failure(
            "kernel",
            kernel,
            "boot a kernel of version 6.1 or later: older ones were never tried",
        ),
        Some(_) if *btf => Finding::ok("kernel", format!("{kernel}, with BTF")),
        Some(_) => Finding::warning(
            "kernel",
            format!("{kernel}, without BTF"),
            "boot a kernel that has /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF), as all distributions' have",
        ),
        None => {
            Finding::warning("kernel", format!("{kernel:?} is no version"), "see that it is 6.1 or later")
        }
    }
}

fn capabilities(facts: &Facts) -> Finding {
    let lacking: Vec<String> = facts.lacking.iter().cloned().collect();
    match lacking.is_empty() {
        true => Finding::ok("capabilities", "this process has all that an agent needs"),
        false => Finding::failure(
            "capabilities",
            format!("this process does not have {}", lacking.join(", ")),
            "run this as root on the node; in a container, add the capabilities of the agents' DaemonSet",
        ),
    }
}

fn trial(facts: &Facts) -> Vec<Finding> {
    let trial = &facts.trial;
    // What was not tried has its reason in what failed before it.
    let tried = |what: &str, result: &Tried, well: &str, cure: &str| {
        result.as_ref().map(|result| match result {
            Ok(()) => Finding::ok(what, well),
            Err(why) => Finding::failure(what, why, cure),
        })
    };
    let pins = tried(
        "BPF file system",
        &trial.pins,
        "maps and links can be pinned there",
        "mount -t bpf bpf /sys/fs/bpf, and have it mounted at every start; systemd does",
    );
    let programs = tried(
        "BPF programs and maps",
        &trial.programs,
        "the kernel takes every map and program",
        "use a kernel of 6.1 or later, and give this process CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
    );
    let apart = trial.apart.as_ref().and_then(|apart| apart.as_ref().err()).map(|why| {
        let found = format!("none can be made to try device, attachment and guard in: {why}");
        Finding::warning(
            "network namespace",
            found,
            "give this process CAP_SYS_ADMIN, which root on the node has",
        )
    });
    let overlay = tried(
        "overlay device",
        &trial.overlay,
        "a VXLAN device can be made and set up",
        "load the kernel's module vxlan (modprobe vxlan), and see the MTU below",
    );
    let guard = tried(
        "guard",
        &trial.guard,
        "nft puts its rules in force",
        "install nft 1.0 or later (apt-get install nftables), and load the kernel's module nf_tables",
    );
    [pins, programs, apart, overlay, attachment(trial), guard].into_iter().flatten().collect()
}

fn attachment(trial: &Trial) -> Option<Finding> {
    const WHAT: &str = "attachment of programs";
    Some(match (trial.tcx.as_ref()?, trial.clsact.as_ref()?) {
        (Ok(()), _) => Finding::ok(WHAT, "by TCX"),
        (Err(tcx), Ok(())) => {
            Finding::ok(WHAT, format!("by clsact; not by TCX, which begins with Linux 6.6: {tcx}"))
        }
        (Err(tcx), Err(clsact)) => Finding::failure(
            WHAT,
            format!("neither by TCX ({tcx}) nor by clsact ({clsact})"),
            "use a kernel of 6.6 or later, or load the modules sch_ingress and cls_bpf",
        ),
    })
}

fn mtu(facts: &Facts) -> Vec<Finding> {
    const WHAT: &str = "MTU";
    let interfaces = match &facts.interfaces {
        Ok(interfaces) => interfaces,
        Err(why) => return vec![Finding::failure("interfaces", why, "run this as root on the node")],
    };
    let found = facts.address.and_then(|address| Some((address, underlay(interfaces, address)?)));
    let Some((address, underlay)) = found else {
        let found = match facts.address {
            Some(address) => format!("no interface has the node's address {address}"),
            None => "there is no default route by which the node's address could be told".to_owned(),
        };
        let cure = "name the node's InternalIP by --address";
        return vec![Finding::failure("underlay", found, cure)];
    };
    let carried = underlay.mtu.saturating_sub(overlay_overhead(address));
    let place = format!(
        "underlay {} ({address}) has {}, so the overlay carries {carried}",
        underlay.name, underlay.mtu
    );
    if carried < IPV6_MTU {
        let least = IPV6_MTU + overlay_overhead(address);
        let cure = format!(
            "give {} an MTU of {least} or more: the overlay device has IPv6, which needs {IPV6_MTU}",
            underlay.name
        );
        return vec![Finding::failure(WHAT, place, cure)];
    }
    let largest = |interface: &&Interface| interface.pod && interface.mtu > carried;
    let over: Vec<String> = interfaces
        .iter()
        .filter(largest)
        .map(|interface| format!("{} ({})", interface.name, interface.mtu))
        .collect();
    vec![match over.is_empty() {
        true => Finding::ok(WHAT, place),
        false => Finding::warning(
            WHAT,
            format!("{place}; pods' links with more: {}", some(&over)),
            format!(
                "nothing is lost for TCP, whose segments are made to fit; so that datagrams need no second try, set the \
                 pods' MTU to {carried} in the CNI's configuration, or the underlay's to {}",
                interfaces.iter().filter(largest).map(|interface| interface.mtu).max().unwrap_or(0)
                    + overlay_overhead(address)
            ),
        ),
    }]
}

fn port(facts: &Facts) -> Finding {
    let what = format!("UDP port {}", facts.port);
    let device = facts
        .interfaces
        .as_deref()
        .unwrap_or_default()
        .iter()
        .find(|interface| interface.vxlan_port == Some(facts.port));
    match device {
        Some(device) if device.name == facts.overlay => {
            Finding::ok(what, format!("has Egret's own {}", device.name))
        }
        Some(device) => Finding::failure(
            what,
            format!("the VXLAN device {} has it", device.name),
            format!("give {} another port: the overlay's is the same on every node", device.name),
        ),
        None if facts.port_taken => Finding::failure(
            what,
            "a socket of this node has it",
            format!("`ss -lunp sport = :{}` names the process: give it another port", facts.port),
        ),
        None => Finding::ok(what, "free"),
    }
}

fn forwarding(facts: &Facts) -> Finding {
    let names = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
    let off: Vec<&str> = names
        .into_iter()
        .zip(facts.forwards)
        .filter_map(|(name, forwards)| (forwards == Some(false)).then_some(name))
        .collect();
    match off.as_slice() {
        [] => Finding::ok("forwarding", "on; of its own device the agent sets it itself"),
        // A cluster of one family has the other off, and a node that forwards nothing has no pods yet.
        off => Finding::warning(
            "forwarding",
            format!("{} = 0: the kernel forwards nothing of pods that no policy selects", off.join(" and ")),
            format!(
                "if pods have addresses of that family: sysctl -w {}=1, and keep it in /etc/sysctl.d",
                off.join("=1 ")
            ),
        ),
    }
}

fn rp_filter(facts: &Facts) -> Finding {
    const WHAT: &str = "rp_filter";
    match facts.rp_filter {
        Some(1) => Finding::warning(
            WHAT,
            "net.ipv4.conf.all.rp_filter = 1 (strict): Egret's own packets are redirected before the kernel asks, but \
             this was tried with 0 and 2 only",
            "sysctl -w net.ipv4.conf.all.rp_filter=2, and keep it in /etc/sysctl.d",
        ),
        Some(value) => Finding::ok(WHAT, format!("net.ipv4.conf.all.rp_filter = {value}")),
        None => Finding::ok(WHAT, "the kernel has none"),
    }
}

fn cni(facts: &Facts) -> Finding {
    const WHAT: &str = "CNI";
    let Some(first) = facts.cni.first() else {
        return Finding::warning(
            WHAT,
            format!("no configuration in {}", facts.cni_dir),
            "install the cluster's network first, or name its directory by --cni-dir",
        );
    };
    let Cni { file, plugins } = first;
    let Some(main) = plugins.first() else {
        let cure = "correct it, or take it away: the container runtime takes the first file of the directory";
        return Finding::warning(WHAT, format!("{file} names no plugin"), cure);
    };
    let place = format!("{} of {file}", plugins.join(", "));
    if KNOWN_CNI.contains(&main.as_str()) {
        return Finding::ok(WHAT, place);
    }
    if LINKLESS_CNI.contains(&main.as_str()) {
        return Finding::failure(
            WHAT,
            format!("{place}: its pods have no veth pair that ends on the node"),
            "use a network whose pods have one (bridge, ptp, flannel, kindnet); of others Egret sees no packet",
        );
    }
    Finding::warning(
        WHAT,
        format!("{place}: was not tried with Egret"),
        "try it on one node; packets to the outside of selected pods are taken at the pod's link, so what this network \
         enforces in the kernel's forward path does not see them",
    )
}

fn installed(facts: &Facts) -> Finding {
    const WHAT: &str = "Egret's datapath";
    let installed = &facts.installed;
    if let Some(why) = &installed.unusable {
        let cure = "uninstall the old version on this node (egret agent --uninstall) before this one starts";
        return Finding::failure(WHAT, why, cure);
    }
    match (installed.maps, installed.guard) {
        (false, false) => Finding::ok(WHAT, "none is here yet"),
        (true, true) => {
            let links = installed.attached.len();
            Finding::ok(
                WHAT,
                format!("is here, of a version that goes on with this one; {links} attachments"),
            )
        }
        (true, false) => Finding::warning(
            WHAT,
            "its maps are here, and its guard is not: what programs do not take leaves by the ordinary way",
            "start the agent, which puts it in force; or take the rest away by egret agent --uninstall",
        ),
        (false, true) => Finding::warning(
            WHAT,
            "its guard is here, and its maps are not",
            "start the agent with the --pin-dir it had; or take the rest away by egret agent --uninstall",
        ),
    }
}

fn others(facts: &Facts) -> Vec<Finding> {
    const WHAT: &str = "other egress systems";
    if facts.traces.is_empty() {
        return vec![Finding::ok(WHAT, "none has left a trace on this node")];
    }
    let finding = |Trace { sign, system }: &Trace| {
        Finding::warning(
            WHAT,
            format!("{system}: {sign}"),
            "of the pods that a policy of Egret selects, it must select none: take its policies away first, or have Egret \
             only observe them (--dialect SYSTEM=observe)",
        )
    };
    facts.traces.iter().map(finding).collect()
}

#[cfg(test)]
mod tests;

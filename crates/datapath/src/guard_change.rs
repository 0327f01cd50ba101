//! From one guard to the next with what differs only, so that a pod that comes or goes costs no more where there
//! are a thousand policies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use egret_plan::tables::{Guard, RuleSetId};
use ipnet::IpNet;

use crate::captured::{self, Family};
use crate::guard::{GuardInput, departing, held, pod_rules};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The transaction that makes `new` of `old`; empty if nothing differs, `None` if only a new table will do.
pub fn script(old: &GuardInput, new: &GuardInput) -> Option<String> {
    let same_content = |(set, ranges)| new.guard.captured.get(set).is_none_or(|now| now == ranges);
    if old.vxlan_port != new.vxlan_port || !old.guard.captured.iter().all(same_content) {
        return None;
    }
    let mut text = String::new();
    for family in FAMILIES {
        networks(&mut text, family, "pods", &old.guard.pod_networks, &new.guard.pod_networks);
        networks(&mut text, family, "inside", &old.inside, &new.inside);
        let (jumps, jumps_now) = (jumps(family, &old.guard), jumps(family, &new.guard));
        chains(&mut text, family, &old.guard, &new.guard);
        elements(&mut text, family, "free", &old.guard.free, &new.guard.free);
        let (selected, selected_now) =
            (old.guard.selected.keys().copied().collect(), new.guard.selected.keys().copied().collect());
        elements(&mut text, family, "selected", &selected, &selected_now);
        elements(&mut text, family, "egress", &held(old), &held(new));
        let departing = departing(family, new).join(", ");
        if !departing.is_empty() {
            let _ = writeln!(text, "add element inet egret departed{} {{ {departing} }}", family.digit());
        }
        verdicts(&mut text, family, &jumps, &jumps_now);
        old_chains(&mut text, family, &old.guard, &new.guard);
        if old.unknown_pods != new.unknown_pods {
            let digit = family.digit();
            let rules = pod_rules(family, new.unknown_pods);
            let _ = write!(
                text,
                "flush chain inet egret pod{digit}\ntable inet egret {{\n  chain pod{digit} {{\n{rules}  }}\n}}\n"
            );
        }
    }
    Some(text)
}

/// Networks that join may overlap others, which only the set as a whole can sort out.
fn networks(text: &mut String, family: Family, name: &str, old: &BTreeSet<IpNet>, new: &BTreeSet<IpNet>) {
    let of_family = |nets: &BTreeSet<IpNet>| -> Vec<String> {
        nets.iter().filter(|net| family.has(net.addr())).map(|net| net.trunc().to_string()).collect()
    };
    let (old, new) = (of_family(old), of_family(new));
    if old != new {
        let set = format!("inet egret {name}{}", family.digit());
        let _ = writeln!(text, "flush set {set}");
        if !new.is_empty() {
            let _ = writeln!(text, "add element {set} {{ {} }}", new.join(", "));
        }
    }
}

fn elements(text: &mut String, family: Family, name: &str, old: &BTreeSet<IpAddr>, new: &BTreeSet<IpAddr>) {
    for (word, of, without) in [("delete", old, new), ("add", new, old)] {
        let list: Vec<String> =
            of.difference(without).filter(|address| family.has(**address)).map(ToString::to_string).collect();
        if !list.is_empty() {
            let _ = writeln!(
                text,
                "{word} element inet egret {name}{} {{ {} }}",
                family.digit(),
                list.join(", ")
            );
        }
    }
}

/// Selected pods with the rule set whose chain they meet.
pub fn jumps(family: Family, guard: &Guard) -> BTreeMap<IpAddr, RuleSetId> {
    let captures =
        |set: &RuleSetId| guard.captured.get(set).is_some_and(|ranges| captures_any(family, ranges));
    let of_family = guard.selected.iter().filter(|(pod, set)| family.has(**pod) && captures(set));
    of_family.map(|(pod, set)| (*pod, *set)).collect()
}

fn verdicts(
    text: &mut String,
    family: Family,
    old: &BTreeMap<IpAddr, RuleSetId>,
    new: &BTreeMap<IpAddr, RuleSetId>,
) {
    for (word, of, without) in [("delete", old, new), ("add", new, old)] {
        let list: Vec<String> = of
            .iter()
            .filter(|(pod, set)| without.get(pod) != Some(set))
            .map(|(pod, set)| format!("{pod} : jump {}", captured::chain_name(family, *set)))
            .collect();
        if !list.is_empty() {
            let _ = writeln!(
                text,
                "{word} element inet egret captured{} {{ {} }}",
                family.digit(),
                list.join(", ")
            );
        }
    }
}

fn chains(text: &mut String, family: Family, old: &Guard, new: &Guard) {
    let mut block = String::new();
    for (set, ranges) in new.captured.iter().filter(|(set, _)| !old.captured.contains_key(set)) {
        captured::chain(&mut block, family, *set, ranges);
    }
    if !block.is_empty() {
        let _ = write!(text, "table inet egret {{\n{block}}}\n");
    }
}

fn old_chains(text: &mut String, family: Family, old: &Guard, new: &Guard) {
    for (set, ranges) in old.captured.iter().filter(|(set, _)| !new.captured.contains_key(set)) {
        if captures_any(family, ranges) {
            let name = captured::chain_name(family, *set);
            let _ = writeln!(text, "flush chain inet egret {name}\ndelete chain inet egret {name}");
            for part in captured::sets_of(family, ranges) {
                let _ = writeln!(text, "delete set inet egret {name}_{part}");
            }
        }
    }
}

fn captures_any(family: Family, ranges: &BTreeSet<egret_plan::tables::Captured>) -> bool {
    ranges.iter().any(|range| family.has(range.first))
}

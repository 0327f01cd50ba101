//! The lab keeps its house in order.

use std::process::Command;

use crate::harness::{ANTREA_HA, Lab, SMALL, Store, on_both_stores};

on_both_stores!(two_labs_stand_side_by_side_and_leave_nothing,);

fn traces(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (program, arguments) in [
        ("ip", &["netns", "list"][..]),
        ("ip", &["-o", "link"]),
        ("cat", &["/proc/mounts"]),
        ("ps", &["-eo", "pid,args"]),
    ] {
        let output = Command::new(program).args(arguments).output().unwrap();
        let own = std::process::id().to_string();
        found.extend(
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .filter(|line| line.contains(name) && !line.trim_start().starts_with(&own))
                .map(|line| format!("{program}: {line}")),
        );
    }
    found
}

fn two_labs_stand_side_by_side_and_leave_nothing(store: Store) {
    // Names that no other test has: the next lab may be up when traces are looked for.
    let [first_name, second_name] = match store {
        Store::Directory => ["t-dir-one", "t-dir-two"],
        Store::Kubernetes => ["t-kube-one", "t-kube-two"],
        Store::Installed => ["t-inst-one", "t-inst-two"],
    };
    let one = Lab::not_up(first_name);
    one.rise(store, SMALL);
    let two = one.beside(store, second_name, SMALL);
    for lab in [&one, &two] {
        lab.apply(ANTREA_HA);
        lab.host("outside-1").serve_sources(7000);
        let pod = lab.pod("prod", "web", "node-1", "app=web");
        assert_eq!(pod.tcp_source("10.10.0.200:7000".parse().unwrap()).unwrap().to_string(), "10.10.0.11");
    }
    let (first, second) = (one.directory(), two.directory());
    drop(two);
    assert_eq!(traces(second_name), Vec::<String>::new());
    assert!(!second.exists(), "{second:?}");
    let pod = one.host("web");
    assert_eq!(
        pod.tcp_source("10.10.0.200:7000".parse().unwrap()).unwrap().to_string(),
        "10.10.0.11",
        "the other lab lives on"
    );
    drop(one);
    assert_eq!(traces(first_name), Vec::<String>::new());
    assert!(!first.exists(), "{first:?}");
}

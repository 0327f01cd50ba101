//! Bad input names file, object, field and cure, and harms nothing that worked.

use crate::harness::{ANTREA_HA, Lab, SMALL};

#[test]
fn a_broken_manifest_changes_nothing_and_the_others_still_apply() {
    let lab = Lab::up("t-bad", SMALL);
    lab.apply(ANTREA_HA);
    lab.host("outside-1").serve_sources(7000);
    let server = "10.10.0.200:7000".parse().unwrap();
    let pod = lab.pod("prod", "web", "node-1", "app=web");
    assert_eq!(pod.tcp_source(server).unwrap().to_string(), "10.10.0.11");

    let broken = "
apiVersion: crd.antrea.io/v1alpha2
kind: ExternalIPPool
metadata: { name: broken }
spec: { ipRanges: 7, nodeSelector: {} }
---
apiVersion: egret.dev/v1alpha1
kind: EgressPool
metadata: { name: good }
spec:
  ranges: [{ cidr: 10.10.0.64/28 }]
  namespaces: { names: [batch] }
---
apiVersion: egret.dev/v1alpha1
kind: EgressPolicy
metadata: { name: good, namespace: batch }
spec: { podSelector: {}, pool: good }
";
    let file = lab.file("broken", broken);
    let output = lab.try_egret(&["apply", file.to_str().unwrap()]);
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    for word in ["t-bad-broken", "ExternalIPPool", "broken", "ipRanges"] {
        assert!(said.contains(word), "{word} is not named in:\n{said}");
    }
    let batch = lab.pod("batch", "job", "node-2", "app=batch");
    assert_eq!(batch.tcp_source(server).unwrap().to_string(), "10.10.0.64", "the good documents of the file");
    assert_eq!(pod.tcp_source(server).unwrap().to_string(), "10.10.0.11", "what worked before");
    lab.assert_no_leak();
}

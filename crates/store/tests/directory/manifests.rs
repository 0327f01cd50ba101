//! What people write.

use std::path::Path;
use std::time::{Duration, Instant};

use egret_api::Object;

use crate::place::{Place, names, namespace, node, only, policy};

const HA_POOL: &str = "- apiVersion: crd.antrea.io/v1alpha2
  kind: ExternalIPPool
  metadata:
    name: external-ip-pool
  spec:
    ipRanges:
    - start: 10.10.0.11  # 10.10.0.11-10.10.0.20 can be used as Egress IPs
      end: 10.10.0.20
    nodeSelector: {}     # All Nodes can be Egress Nodes
";

const HA_EGRESSES: &str = "apiVersion: crd.antrea.io/v1alpha2
kind: Egress
metadata:
  name: egress-prod-web
spec:
  appliedTo:
    namespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: prod
    podSelector:
      matchLabels:
        app: web
  externalIPPool: external-ip-pool
---
apiVersion: crd.antrea.io/v1alpha2
kind: Egress
metadata:
  name: egress-staging-web
spec:
  appliedTo:
    namespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: staging
    podSelector:
      matchLabels:
        app: web
  externalIPPool: external-ip-pool
status:
  egressNode: node01
";

#[test]
fn the_high_availability_example_is_read_as_it_stands() {
    let place = Place::new("seed");
    let store = place.open();
    place.write("ha.yaml", &format!("{HA_POOL}---\n{HA_EGRESSES}").replace('\n', "\r\n"));
    let snapshot = store.snapshot();
    assert_eq!(snapshot.problems, []);
    assert_eq!(
        names(&snapshot),
        ["Egress egress-prod-web", "Egress egress-staging-web", "ExternalIPPool external-ip-pool"]
    );
    let Object::Egress(staging) = &*snapshot.objects[1] else { panic!("not an Egress") };
    assert_eq!(staging.status, None, "a status in a manifest is not ours");
}

#[test]
fn several_documents_lists_sequences_and_foreign_kinds() {
    let place = Place::new("shapes");
    let store = place.open();
    place.write("deep/er/pods.yml", "kind: PodList\napiVersion: v1\nitems:\n- metadata: {name: a}\n");
    place.write(
        "list.json",
        r#"{"kind":"List","apiVersion":"v1","items":[{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"x"}}]}"#,
    );
    place
        .write("mixed.yaml", &format!("# none\n---\n{}---\nkind: Service\napiVersion: v1\n", namespace("y")));
    place.write("notes.txt", "not a manifest");
    place.write(".hidden.yaml", "[");
    let snapshot = store.snapshot();
    assert_eq!(snapshot.problems, []);
    assert_eq!(names(&snapshot), ["Namespace x", "Namespace y", "Pod default/a"]);
}

#[test]
fn of_nodes_and_pods_only_what_is_read_can_be_wrong() {
    let place = Place::new("bulk");
    let store = place.open();
    place.write(
        "a.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, creationTimestamp: null}\nspec:\n  nodeName: node-1\n  \
         containers: [{name: c, resources: {limits: {cpu: 2}}}]\nstatus: {podIPs: [{ip: 10.0.0.1}]}\n---\n\
         apiVersion: v1\nkind: Node\nmetadata: {name: node-1}\nspec: {podCIDR: 10.0.0.0/24}\n\
         status: {capacity: {cpu: 4}, addresses: [{type: InternalIP, address: 192.0.2.1}]}\n",
    );
    let snapshot = store.snapshot();
    assert_eq!(snapshot.problems, []);
    let Object::Pod(pod) = &*snapshot.objects[1] else { panic!("not a pod") };
    assert_eq!(pod.spec.as_ref().unwrap().node_name.as_deref(), Some("node-1"));
}

#[test]
fn a_broken_object_keeps_what_was_in_force_and_names_object_field_and_cure() {
    let place = Place::new("broken-object");
    let store = place.open();
    place.write("a.yaml", &format!("{}---\n{}", policy("a", "pool: one"), namespace("x")));
    let before = store.snapshot();
    place.write("a.yaml", &format!("{}---\n{}", policy("a", "pol: one"), namespace("y")));
    let after = store.snapshot();
    assert_eq!(names(&before), ["Namespace x", "EgressPolicy prod/a"]);
    assert_eq!(
        names(&after),
        ["Namespace y", "EgressPolicy prod/a"],
        "the neighbour applies, the broken one stays"
    );
    assert_eq!(after.objects[1], before.objects[1]);
    assert_ne!(after.objects_digest, before.objects_digest);
    let [problem] = &after.problems[..] else { panic!("{:?}", after.problems) };
    assert_eq!((problem.file.as_path(), problem.document), (Path::new("a.yaml"), 1));
    assert_eq!(problem.object.as_deref(), Some("EgressPolicy prod/a"));
    assert_eq!(problem.field.as_deref(), Some("spec.pol"));
    assert!(problem.message.starts_with("unknown field"), "{problem}");
    place.write("a.yaml", &policy("a", "pool: two"));
    let cured = store.snapshot();
    assert_eq!((names(&cured), cured.problems.len()), (vec!["EgressPolicy prod/a".to_owned()], 0));
}

#[test]
fn text_that_cannot_be_parsed_keeps_what_was_in_force() {
    let place = Place::new("broken-text");
    let store = place.open();
    place.write("a.yaml", &format!("{}---\n{}", namespace("x"), namespace("y")));
    store.snapshot();
    place.write("a.yaml", &format!("{}---\nkind: [\n---\n{}", namespace("x"), namespace("z")));
    let snapshot = store.snapshot();
    assert_eq!(names(&snapshot), ["Namespace x", "Namespace y", "Namespace z"]);
    assert_eq!((snapshot.problems.len(), snapshot.problems[0].document), (1, 2));
    std::fs::write(place.0.join(".bytes"), [0xff, 0xfe]).unwrap();
    std::fs::rename(place.0.join(".bytes"), place.0.join("a.yaml")).unwrap();
    let snapshot = store.snapshot();
    assert_eq!((names(&snapshot).len(), snapshot.problems.len()), (3, 1));
    place.write("a.yaml", &namespace("x"));
    let snapshot = store.snapshot();
    assert_eq!((names(&snapshot).len(), snapshot.problems.len()), (1, 0));
    std::fs::remove_file(place.0.join("a.yaml")).unwrap();
    let snapshot = store.snapshot();
    assert_eq!((names(&snapshot).len(), snapshot.problems.len()), (0, 0), "what is removed is gone");
}

#[test]
fn an_object_that_cannot_be_in_force_keeps_the_one_that_can() {
    let place = Place::new("invalid");
    let store = place.open();
    let asking = |address: &str| policy("a", &format!("pool: one, address: {address}"));
    place.write("a.yaml", &asking("192.0.2.300"));
    let snapshot = store.snapshot();
    assert_eq!(names(&snapshot), ["EgressPolicy prod/a"], "the planner tells its author by a condition");
    assert_eq!(snapshot.problems[0].field.as_deref(), Some("spec.address"));
    place.write("a.yaml", &asking("192.0.2.3"));
    let valid = store.snapshot();
    assert_eq!(valid.problems, []);
    place.write("a.yaml", &asking("192.0.2.400"));
    let snapshot = store.snapshot();
    assert_eq!((snapshot.objects, snapshot.problems.len()), (valid.objects, 1));
}

#[test]
fn what_was_accepted_outlives_the_process() {
    let place = Place::new("accepted");
    let mut controller = place.open();
    controller.keep_accepted();
    place.write("a.yaml", &format!("{}---\n{}", policy("a", "pool: one"), namespace("x")));
    let before = controller.snapshot();
    assert_eq!(place.open().snapshot().objects, before.objects);
    place.write("a.yaml", &format!("{}---\n{}", policy("a", "pol: one"), namespace("x")));
    controller.snapshot();
    for text in [policy("a", "pol: two") + "---\n" + &namespace("x"), "kind: [".to_owned()] {
        place.write("a.yaml", &text);
        controller.snapshot();
        let late = place.open();
        assert_eq!(names(&late.snapshot()), names(&before), "{text}");
        assert_eq!(late.snapshot().problems.len(), 1);
    }
    place.write("a.yaml", &namespace("x"));
    controller.snapshot();
    assert_eq!(names(&place.open().snapshot()), ["Namespace x"]);
    assert_eq!(std::fs::read_dir(place.0.join(".egret/accepted")).unwrap().count(), 0);
}

#[test]
fn all_readers_agree_on_the_digest_whatever_they_hold() {
    let place = Place::new("digest");
    let old = place.open();
    place.write("a.yaml", &namespace("x"));
    old.snapshot();
    place.write("a.yaml", "kind: [");
    assert_eq!(old.snapshot().objects_digest, place.open().snapshot().objects_digest);
    let before = old.snapshot().objects_digest;
    old.write_record(&node("n", true)).unwrap();
    assert_eq!(old.snapshot().objects_digest, before, "records are not people's");
}

#[test]
fn the_first_of_two_files_wins() {
    let place = Place::new("duplicate");
    let store = place.open();
    place.write("b.yaml", &policy("a", "pool: second"));
    place.write("a.yaml", &format!("{}---\n{}", policy("a", "pool: first"), policy("a", "pool: third")));
    let snapshot = store.snapshot();
    let Object::EgressPolicy(policy) = only(&snapshot) else { panic!("{:?}", names(&snapshot)) };
    assert_eq!(policy.spec.pool, "first");
    let files: Vec<_> = snapshot.problems.iter().map(|p| (p.file.to_str().unwrap(), p.document)).collect();
    assert_eq!(files, [("a.yaml", 2), ("b.yaml", 1)]);
}

#[test]
fn mistakes_are_told_from_things_that_are_not_ours() {
    let place = Place::new("mistakes");
    let store = place.open();
    for (text, field) in [
        ("apiVersion: egret.dev/v1\nkind: EgressPool\nmetadata: {name: a}\n", "apiVersion"),
        ("apiVersion: egret.dev/v1alpha1\nkind: EgressPolcy\nmetadata: {name: a}\n", "kind"),
        ("apiVersion: egret.dev/v1alpha1\nkind: EgressNode\nmetadata: {name: a}\nspec: {}\n", "kind"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {generateName: a}\n", "metadata.name"),
        ("metadata: {name: a}\n", "kind"),
        (
            "apiVersion: egret.dev/v1alpha1\nkind: EgressPool\nmetadata: {name: a}\nspec: {ranges: [{cidr: 4}]}\n",
            "spec.ranges[0].cidr",
        ),
        (
            "apiVersion: crd.antrea.io/v1beta1\nkind: Egress\nmetadata: {name: a}\nspec: {appliedTo: {podSelector: {matchLabels: [a]}}}\n",
            "spec.appliedTo.podSelector.matchLabels",
        ),
    ] {
        place.write("a.yaml", text);
        let snapshot = store.snapshot();
        assert_eq!(snapshot.problems.len(), 1, "{text}");
        assert_eq!(snapshot.problems[0].field.as_deref(), Some(field), "{text}{:?}", snapshot.problems);
    }
    place.write("a.yaml", "apiVersion: crd.antrea.io/v1beta1\nkind: Tier\nmetadata: {name: a}\n");
    assert_eq!(store.snapshot().problems, []);
}

#[tokio::test]
async fn a_file_being_written_in_place_is_read_when_it_has_settled() {
    let place = Place::new("settle");
    let mut store = place.open();
    std::fs::write(place.0.join("a.yaml"), format!("{}---\n{}", namespace("x"), namespace("y"))).unwrap();
    assert_eq!(names(&store.snapshot()).len(), 2);
    let written = Instant::now();
    std::fs::write(place.0.join("a.yaml"), namespace("x")).unwrap();
    let early = names(&store.snapshot()).len();
    // A machine that was busy elsewhere for so long may rightly have seen it settled.
    assert!(early == 2 || written.elapsed() > Duration::from_millis(20), "perhaps the rest is still to come");
    let names = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            store.changed().await;
            let names = names(&store.snapshot());
            if names.len() == 1 {
                return names;
            }
        }
    })
    .await;
    assert_eq!(names.unwrap(), ["Namespace x"]);
}

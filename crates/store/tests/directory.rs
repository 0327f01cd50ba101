//! The directory store, as people and Egret's own processes use it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use egret_api::{EgressNode, EgressNodeSpec, Kind, Object, ObjectKey};
use egret_store::{Changes, Directory, Progress, Recorder, Snapshot, Store};
use serde_json::json;

/// A directory of its own, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("egret-store-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        Self(path)
    }
    fn open(&self) -> Directory {
        Directory::open(&self.0, "test").unwrap()
    }
    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Another file each time, as editors do it that write a copy and rename it.
        let temporary = self.0.join(".new");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(&temporary, &path).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn only(snapshot: &Snapshot) -> &Object {
    assert_eq!(snapshot.objects.len(), 1, "{:?}", names(snapshot));
    &snapshot.objects[0]
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot.objects.iter().map(|object| object.key().to_string()).collect()
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
}

fn policy(name: &str, pool: &str) -> String {
    format!(
        "apiVersion: egret.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {{name: {name}, namespace: prod}}\n\
         spec: {{podSelector: {{}}, {pool}}}\n"
    )
}

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

fn node(name: &str, ready: bool) -> Object {
    Object::EgressNode(Box::new(EgressNode::new(name, EgressNodeSpec { ready, ..EgressNodeSpec::default() })))
}

#[test]
fn records_and_statuses_are_read_back() {
    let place = Place::new("records");
    let store = place.open();
    place.write("p.yaml", &policy("a", "pool: one"));
    store.write_record(&node("node-1", true)).unwrap();
    let key = ObjectKey { kind: Kind::EgressPolicy, namespace: "prod".into(), name: "a".into() };
    store.write_status(&key, &json!({"address": "192.0.2.1", "conditions": []})).unwrap();
    for store in [&store, &place.open()] {
        let snapshot = store.snapshot();
        assert_eq!(snapshot.problems, []);
        let [policy, record] = &snapshot.objects[..] else { panic!("{:?}", names(&snapshot)) };
        let Object::EgressPolicy(policy) = &**policy else { panic!("not a policy") };
        assert_eq!(policy.status.as_ref().unwrap().address.as_deref(), Some("192.0.2.1"));
        assert_eq!(**record, node("node-1", true));
    }
    std::fs::rename(place.0.join("p.yaml"), place.0.join("p.off")).unwrap();
    assert_eq!(store.snapshot().stale_statuses, [key.clone()].into());
    std::fs::rename(place.0.join("p.off"), place.0.join("p.yaml")).unwrap();
    assert_eq!(store.snapshot().stale_statuses, [].into());
    assert_eq!(Store::origin(&store, &key).as_deref(), Some("p.yaml"));
    store.delete_status(&key).unwrap();
    store.delete_record(&node("node-1", true).key()).unwrap();
    let snapshot = store.snapshot();
    let Object::EgressPolicy(policy) = only(&snapshot) else { panic!("{:?}", names(&snapshot)) };
    assert_eq!(policy.status, None);
    let left = std::fs::read_dir(place.0.join(".egret/tmp")).unwrap().count();
    assert_eq!(left, 0, "no temporary file stays behind");
}

#[test]
fn a_record_is_a_manifest_of_its_kind() {
    let place = Place::new("record-text");
    let store = place.open();
    store.write_record(&node("n", true)).unwrap();
    let text = std::fs::read_to_string(place.0.join(".egret/records/EgressNode/n.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), node("n", true).encode().unwrap());
    // Whose a record is is told by its file as well: two files of one name would be each other's end.
    place.write(".egret/records/EgressNode/m.json", &text);
    let snapshot = place.open().snapshot();
    assert_eq!((names(&snapshot), snapshot.problems.len()), (vec!["EgressNode n".to_owned()], 1));
}

#[tokio::test]
async fn a_broken_record_stays_as_it_was() {
    let place = Place::new("broken-record");
    let mut store = place.open();
    store.write_record(&node("n", true)).unwrap();
    store.snapshot();
    place.write(".egret/records/EgressNode/n.json", "{");
    // What others write of records is looked at when the watch has told it.
    let told = tokio::time::timeout(SOON, async {
        while store.snapshot().problems.is_empty() {
            store.changed().await;
        }
    })
    .await;
    let snapshot = store.snapshot();
    assert!(told.is_ok(), "{:?}", names(&snapshot));
    assert_eq!((names(&snapshot), snapshot.problems.len()), (vec!["EgressNode n".to_owned()], 1));
}

#[test]
fn names_cannot_lead_out_of_the_directory() {
    let place = Place::new("names");
    let store = place.open();
    for name in ["../a.yaml", "/tmp/a.yaml", ".egret/a.yaml", "a.txt", ""] {
        assert!(store.write_manifest(name, "").is_err(), "{name}");
    }
    assert!(store.write_record(&node("../../a", true)).is_err());
    store.write_manifest("team/a.yaml", &namespace("x")).unwrap();
    assert_eq!(names(&store.snapshot()), ["Namespace x"]);
    store.remove_manifest("team/a.yaml").unwrap();
    store.remove_manifest("team/a.yaml").unwrap();
    assert!(store.snapshot().objects.is_empty());
}

#[test]
fn a_directory_that_is_gone_changes_nothing() {
    let place = Place::new("gone");
    let store = place.open();
    place.write("a.yaml", &namespace("x"));
    store.snapshot();
    std::fs::remove_dir_all(&place.0).unwrap();
    let snapshot = store.snapshot();
    assert_eq!((names(&snapshot), snapshot.problems.len()), (vec!["Namespace x".to_owned()], 1));
}

#[tokio::test]
async fn changes_wake_and_a_dropped_wait_loses_nothing() {
    let place = Place::new("watch");
    let mut store = place.open();
    let recorder = store.recorder();
    let soon = Duration::from_secs(5);
    place.write("new/a.yaml", &namespace("x"));
    tokio::time::timeout(soon, store.changed()).await.unwrap();
    recorder.write_record(&node("n", false)).await.unwrap();
    // Dropped at its first await, over and over, until the change has come through.
    tokio::time::timeout(soon, async {
        while tokio::time::timeout(Duration::from_millis(1), store.changed()).await.is_err() {}
    })
    .await
    .unwrap();
    let progress = Progress { observed_objects: "a".into(), addresses: "b".into() };
    recorder.write_progress(&progress).await.unwrap();
    tokio::time::timeout(soon, store.changed()).await.unwrap();
    assert_eq!(store.progress(), Some(progress));
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata:\n  name: sip\n  namespace: prod\n  annotations: {kube-vip.io/egress: 'true'}\n\
    spec: {type: LoadBalancer, selector: {app: sip}, ports: [{port: 5060, protocol: UDP, targetPort: 99999999}]}\n\
    status: {loadBalancer: {ingress: [{ip: 192.0.2.7}]}, conditions: [{type: Theirs}]}\n";

#[test]
fn of_a_services_status_only_our_conditions_are_ours() {
    let place = Place::new("service");
    let store = place.open();
    place.write("sip.yaml", SERVICE);
    let key = ObjectKey { kind: Kind::Service, namespace: "prod".into(), name: "sip".into() };
    let told = json!({"type": "egret.dev/EgressReady", "status": "True", "reason": "Ready", "message": "",
        "lastTransitionTime": "2026-01-01T12:00:00Z"});
    store.write_status(&key, &json!({"conditions": [told]})).unwrap();
    // The address changes hands: what somebody else writes is read anew.
    place.write("sip.yaml", &SERVICE.replace("192.0.2.7", "192.0.2.8"));
    let snapshot = store.snapshot();
    assert_eq!(snapshot.problems, []);
    let status = snapshot.objects[0].encode().unwrap()["status"].clone();
    assert_eq!(status, json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.8"}]}, "conditions": [told]}));
    assert!(snapshot.stale_statuses.is_empty());
    place.write("sip.yaml", &SERVICE.replace("'true'", "'false'"));
    assert_eq!(store.snapshot().stale_statuses, [key].into(), "it is no policy any more");
}

/// Sooner than everything is looked at again.
const SOON: Duration = Duration::from_secs(7);

/// What somebody who follows a store has made of what he was told.
#[derive(Default)]
struct Follower(Snapshot);

impl Follower {
    fn told(&mut self, changes: Changes) {
        let keys = changes.applied.iter().map(|object| object.key());
        let both: Vec<_> = keys.filter(|key| changes.deleted.contains(key)).collect();
        assert_eq!(both, [], "told as applied and as deleted");
        self.0.update(changes);
    }

    fn has_all_of(&self, snapshot: &Snapshot) -> bool {
        let said = |of: &Snapshot| {
            let digests = (of.objects_digest.clone(), of.addresses_digest.clone());
            (of.objects.clone(), of.problems.clone(), digests, of.stale_statuses.clone())
        };
        said(&self.0) == said(snapshot)
    }
}

/// One of many things that may happen to a directory; `dice` is any number.
fn happen(place: &Place, store: &Directory, dice: u64) {
    let pick = |shift: u64, of: u64| (dice >> shift) % of;
    let file = ["a.yaml", "b.yaml", "team/c.json", "team/d.yml", "other/e.yaml"][pick(8, 5) as usize];
    let name = format!("p{}", pick(16, 4));
    let key = ObjectKey { kind: Kind::EgressPolicy, namespace: "prod".into(), name: name.clone() };
    let gone = |path: PathBuf| drop(std::fs::remove_file(path));
    match pick(0, 16) {
        0..=3 => {
            let second = format!("p{}", pick(24, 4));
            let text = policy(&name, "pool: one") + "---\n" + &policy(&second, "pool: two");
            place.write(file, &text);
        }
        4 => place.write(file, "kind: ["),
        5 => place.write(file, &policy(&name, "pol: one")),
        6 => gone(place.0.join(file)),
        7 => drop(std::fs::rename(place.0.join("team"), place.0.join("band"))),
        8 => drop(std::fs::rename(place.0.join("band"), place.0.join("team"))),
        9 => drop(std::fs::remove_dir_all(place.0.join("other"))),
        10 => store.write_record(&node(&name, pick(24, 2) == 0)).unwrap(),
        11 => store.delete_record(&node(&name, true).key()).unwrap(),
        12 => store.write_status(&key, &json!({"address": "192.0.2.1", "conditions": []})).unwrap(),
        13 => store.write_status(&key, &json!({"address": pick(24, 200)})).unwrap(),
        14 => store.delete_status(&key).unwrap(),
        _ => place.write(&format!(".egret/records/EgressNode/{name}.json"), "{"),
    }
}

#[tokio::test]
async fn who_is_told_changes_has_at_the_end_what_who_reads_everything_has() {
    for seed in 1..=24_u64 {
        let place = Place::new(&format!("changes-{seed}"));
        let (asked, mut watching) = (place.open(), place.open());
        let (mut asks, mut watches) = (Follower::default(), Follower::default());
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for turn in 0..40 {
            // xorshift64
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            happen(&place, &asked, dice);
            if turn % 3 == 0
                && let Some(changes) = asked.news()
            {
                asks.told(changes);
            }
        }
        // Who did not read a file while it was whole cannot say what is in force of it: all is mended at the end.
        for (file, name) in [("a.yaml", "p0"), ("b.yaml", "p0"), ("team/c.json", "p1")] {
            place.write(file, &policy(name, "pool: one"));
        }
        for file in ["team/d.yml", "band/c.json", "band/d.yml", "other/e.yaml"] {
            drop(std::fs::remove_file(place.0.join(file)));
        }
        for name in ["p0", "p1", "p2", "p3"] {
            asked.write_record(&node(name, false)).unwrap();
        }
        let all = place.open().snapshot();
        let deadline = tokio::time::Instant::now() + SOON;
        while !asks.has_all_of(&all) {
            asked.news().into_iter().for_each(|changes| asks.told(changes));
            assert!(tokio::time::Instant::now() < deadline, "seed {seed}: {:#?}\n{all:#?}", asks.0);
        }
        assert!(asks.has_all_of(&asked.snapshot()), "seed {seed}: {:#?}", asks.0);
        while !watches.has_all_of(&all) {
            let changes = tokio::time::timeout_at(deadline, watching.changes()).await;
            watches.told(changes.unwrap_or_else(|_| panic!("seed {seed}: {:#?}\n{all:#?}", watches.0)));
        }
    }
}

/// What happens, how, and what there is then.
type Step<'a> = (&'a str, &'a dyn Fn(), &'a [&'a str]);

#[tokio::test]
async fn what_others_write_is_told_before_everything_is_looked_at_again() {
    let place = Place::new("told");
    let (writer, mut store) = (place.open(), place.open());
    let mut follower = Follower::default();
    follower.told(store.changes().await);
    let steps: [Step; 8] = [
        ("a manifest", &|| place.write("a.yaml", &namespace("a")), &["Namespace a"]),
        (
            "another in a new directory",
            &|| place.write("new/b.yaml", &namespace("b")),
            &["Namespace a", "Namespace b"],
        ),
        (
            "one of two changes",
            &|| place.write("new/b.yaml", &namespace("c")),
            &["Namespace a", "Namespace c"],
        ),
        (
            "a directory moves out of sight",
            &|| std::fs::rename(place.0.join("new"), place.0.join(".off")).unwrap(),
            &["Namespace a"],
        ),
        (
            "it comes back",
            &|| std::fs::rename(place.0.join(".off"), place.0.join("new")).unwrap(),
            &["Namespace a", "Namespace c"],
        ),
        ("a manifest goes", &|| std::fs::remove_file(place.0.join("a.yaml")).unwrap(), &["Namespace c"]),
        ("a record", &|| writer.write_record(&node("n", true)).unwrap(), &["Namespace c", "EgressNode n"]),
        ("a record goes", &|| writer.delete_record(&node("n", true).key()).unwrap(), &["Namespace c"]),
    ];
    let soon = tokio::time::Instant::now() + SOON;
    for (what, step, expected) in steps {
        step();
        while names(&follower.0) != expected {
            let changes = tokio::time::timeout_at(soon, store.changes()).await;
            follower.told(changes.unwrap_or_else(|_| panic!("{what}: {:?}", names(&follower.0))));
        }
    }
}

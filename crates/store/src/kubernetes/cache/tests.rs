//! The cache against a server's events.

use serde_json::json;

use egret_api::Object;

use super::*;

const ALL: Keep = Keep { statuses: true, texts: true, addresses: false };

fn policy(name: &str, version: u64, spec: Value) -> Value {
    json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPolicy", "spec": spec,
        "metadata": {
            "name": name, "namespace": "prod", "resourceVersion": version.to_string(), "generation": 1, "uid": "u",
            "annotations": {"a": "b"},
        },
    })
}

fn good(name: &str, version: u64) -> Value {
    policy(name, version, json!({"podSelector": {}, "pool": "pool"}))
}

fn pod(name: &str, node: &str, address: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "prod", "resourceVersion": "1"},
        "spec": {"nodeName": node, "containers": [{"name": "main"}]},
        "status": {"podIPs": [{"ip": address}], "qosClass": "BestEffort"},
    })
}

/// A cache of policies and pods, of which each kind has been listed.
fn listed(keep: Keep, objects: &[(Kind, Value)]) -> Cache {
    let mut cache = Cache::new(keep, [Kind::EgressPolicy, Kind::Pod]);
    for kind in [Kind::EgressPolicy, Kind::Pod] {
        cache.begin(kind);
        for (_, object) in objects.iter().filter(|(of, _)| *of == kind) {
            cache.apply(kind, object.clone());
        }
        cache.listed(kind);
    }
    cache
}

fn told(cache: &mut Cache) -> (Vec<String>, Vec<String>) {
    let changes = cache.take().unwrap_or_default();
    let applied = changes.applied.iter().map(|object| object.key().name).collect();
    (applied, changes.deleted.into_iter().map(|key| key.name).collect())
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn it_is_complete_when_every_kind_was_listed_or_is_not_served() {
    let mut cache = Cache::new(ALL, [Kind::EgressPolicy, Kind::Egress]);
    cache.begin(Kind::EgressPolicy);
    cache.apply(Kind::EgressPolicy, good("a", 1));
    assert!(!cache.is_complete(), "half a list");
    cache.listed(Kind::EgressPolicy);
    assert_eq!(cache.awaited().collect::<Vec<_>>(), [Kind::Egress]);
    let problem =
        problem(&key("x"), Fault { key: None, field: None, message: "m".into(), cure: "c".into() }, false);
    cache.missing(Kind::Egress, problem.clone());
    assert!(cache.is_complete());
    assert_eq!(cache.take().unwrap().problems, [problem]);
    cache.begin(Kind::Egress);
    cache.listed(Kind::Egress);
    assert_eq!(cache.take().unwrap().problems, [], "the definition is there now");
}

fn key(name: &str) -> ObjectKey {
    ObjectKey { kind: Kind::EgressPolicy, namespace: "prod".into(), name: name.into() }
}

#[test]
fn what_is_never_read_is_no_change() {
    let mut cache = listed(ALL, &[(Kind::EgressPolicy, good("a", 1))]);
    assert_eq!(told(&mut cache), (names(&["a"]), names(&[])));
    let mut again = good("a", 2);
    again["metadata"]["annotations"]["a"] = "c".into();
    again["metadata"]["managedFields"] = json!([{}]);
    cache.apply(Kind::EgressPolicy, again);
    assert!(cache.take().is_none());
}

#[test]
fn a_list_that_breaks_off_takes_nothing_away() {
    let mut cache = listed(ALL, &[(Kind::EgressPolicy, good("a", 1)), (Kind::EgressPolicy, good("b", 2))]);
    cache.take();
    // 410 Gone: everything is listed again, and the server dies in the middle of it.
    cache.begin(Kind::EgressPolicy);
    cache.apply(Kind::EgressPolicy, good("b", 3));
    assert!(cache.take().is_none());
    cache.begin(Kind::EgressPolicy);
    cache.apply(Kind::EgressPolicy, good("b", 3));
    cache.apply(Kind::EgressPolicy, good("c", 4));
    cache.listed(Kind::EgressPolicy);
    assert_eq!(told(&mut cache), (names(&["c"]), names(&["a"])));
}

#[test]
fn one_object_that_cannot_be_read_harms_no_other_and_stays_as_it_was() {
    let mut cache = listed(ALL, &[(Kind::EgressPolicy, good("a", 1)), (Kind::EgressPolicy, good("b", 2))]);
    cache.take();
    cache.apply(
        Kind::EgressPolicy,
        policy("a", 3, json!({"podSelector": {}, "pool": "pool", "destinations": [{"cidr": 4}]})),
    );
    cache.apply(Kind::EgressPolicy, policy("b", 4, json!({"podSelector": {}, "pool": "other"})));
    let changes = cache.take().unwrap();
    assert_eq!(changes.applied.len(), 1);
    let [problem] = &changes.problems[..] else { panic!("{:?}", changes.problems) };
    assert_eq!(problem.object.as_deref(), Some("EgressPolicy prod/a"));
    assert_eq!(problem.field.as_deref(), Some("spec.destinations[0].cidr"));
    assert!(problem.to_string().contains("stays in force as it was"), "{problem}");
    let uncopied = cache.take_uncopied();
    let copied =
        |name: &str| uncopied.iter().find(|(key, _)| key.name == name).and_then(|(_, text)| text.as_deref());
    assert!(copied("a").is_some_and(|text| text.contains(r#""pool":"pool""#)), "{uncopied:?}");
    cache.apply(Kind::EgressPolicy, good("a", 5));
    let changes = cache.take().unwrap();
    assert_eq!((changes.applied.len(), changes.problems.len()), (1, 0), "cured");
}

#[test]
fn what_passes_the_schema_and_cannot_be_in_force_is_told_only_if_nothing_better_is() {
    let bad = |version| {
        policy("a", version, json!({"podSelector": {}, "pool": "pool", "destinations": [{"cidr": "x"}]}))
    };
    let mut fresh = listed(ALL, &[(Kind::EgressPolicy, bad(1))]);
    assert_eq!(told(&mut fresh).0, ["a"], "so that its status can say what is wrong");
    let mut cache = listed(ALL, &[(Kind::EgressPolicy, good("a", 1))]);
    cache.take();
    cache.apply(Kind::EgressPolicy, bad(2));
    let changes = cache.take().unwrap();
    assert_eq!((changes.applied.len(), changes.problems.len()), (0, 1));
    cache.delete(Kind::EgressPolicy, &bad(3));
    let changes = cache.take().unwrap();
    assert_eq!((changes.deleted.len(), changes.problems.len()), (1, 0));
}

#[test]
fn what_was_written_is_known_before_the_server_repeats_it() {
    let record = |revision: u64, version: u64| {
        json!({
            "metadata": {"name": "192-0-2-11", "resourceVersion": version.to_string()},
            "spec": {
                "address": "192.0.2.11", "pool": "EgressPool/pool", "claims": [], "candidates": [], "blockSize": 1024,
                "leases": [], "revision": revision,
            },
        })
    };
    let mut cache = Cache::new(ALL, [Kind::EgressAddress]);
    cache.begin(Kind::EgressAddress);
    cache.listed(Kind::EgressAddress);
    cache.wrote(Kind::EgressAddress, record(1, 10));
    cache.wrote(Kind::EgressAddress, record(2, 12));
    let revision = |changes: Changes| match &*changes.applied[0] {
        Object::EgressAddress(record) => record.spec.revision,
        other => panic!("{other:?}"),
    };
    assert_eq!(revision(cache.take().unwrap()), 2);
    // The watch is behind: this is what was written before.
    cache.apply(Kind::EgressAddress, record(1, 10));
    assert!(cache.take().is_none());
    cache.delete(Kind::EgressAddress, &record(1, 11));
    assert!(cache.take().is_none());
    cache.apply(Kind::EgressAddress, record(2, 12));
    assert!(cache.take().is_none());
    cache.apply(Kind::EgressAddress, record(3, 14));
    assert_eq!(revision(cache.take().unwrap()), 3);
    assert_eq!(
        cache.version(&ObjectKey {
            kind: Kind::EgressAddress,
            namespace: String::new(),
            name: "192-0-2-11".into()
        }),
        Some(14)
    );
    // A server that was restored from a backup counts from lower again; its list is the truth.
    cache.begin(Kind::EgressAddress);
    cache.apply(Kind::EgressAddress, record(1, 5));
    cache.listed(Kind::EgressAddress);
    assert_eq!(revision(cache.take().unwrap()), 1);
}

#[test]
fn an_agent_and_who_sees_everything_agree_on_what_the_agent_sees() {
    let (policies, own) = ((Kind::EgressPolicy, good("a", 1)), (Kind::Pod, pod("a", "node-1", "10.244.1.2")));
    let other = (Kind::Pod, pod("b", "node-2", "10.244.2.2"));
    let agent = Keep::default();
    let mut everything = listed(ALL, &[policies.clone(), own.clone(), other.clone()]);
    let mut first = listed(agent, &[own, policies.clone()]);
    let mut second = listed(agent, &[other, policies]);
    let seen = |cache: &mut Cache| cache.take().unwrap().objects_digest;
    let (all, one, two) = (seen(&mut everything), seen(&mut first), seen(&mut second));
    assert_eq!(
        [everything.objects_digest_at("node-1"), everything.objects_digest_at("node-2")],
        [one.clone(), two.clone()]
    );
    assert!(all != one && one != two && all != two);
    // A status is the controller's; what people wrote is the same.
    let mut with_status = good("a", 2);
    with_status["status"] = json!({"address": "192.0.2.11", "conditions": []});
    everything.apply(Kind::EgressPolicy, with_status);
    assert_eq!(everything.take().unwrap().applied.len(), 1);
    assert_eq!(everything.objects_digest_at("node-1"), one);
    // A pod that moves, and one that goes.
    everything.apply(Kind::Pod, pod("a", "node-2", "10.244.1.2"));
    second.apply(Kind::Pod, pod("a", "node-2", "10.244.1.2"));
    assert_eq!(everything.objects_digest_at("node-2"), seen(&mut second));
    everything.delete(Kind::Pod, &pod("a", "node-2", "10.244.1.2"));
    assert_eq!(everything.objects_digest_at("node-2"), two);
}

#[test]
fn what_was_restored_is_no_news_when_the_server_says_the_same() {
    let mut before = listed(
        Keep { statuses: false, ..ALL },
        &[
            (Kind::EgressPolicy, good("a", 1)),
            (Kind::EgressPolicy, good("b", 2)),
            (Kind::Pod, pod("p", "node-1", "10.244.1.2")),
        ],
    );
    before.take();
    let mut cache = Cache::new(Keep { statuses: false, ..ALL }, [Kind::EgressPolicy, Kind::Pod]);
    for (key, text) in before.take_uncopied() {
        cache.apply(key.kind, serde_json::from_str(&text.unwrap()).unwrap());
    }
    assert!(!cache.is_complete());
    assert_eq!(told(&mut cache), (names(&["p", "a", "b"]), names(&[])));
    cache.begin(Kind::EgressPolicy);
    cache.apply(Kind::EgressPolicy, good("a", 9));
    cache.listed(Kind::EgressPolicy);
    assert_eq!(told(&mut cache), (names(&[]), names(&["b"])));
}

#[test]
fn a_definition_that_is_gone_takes_nothing_along() {
    let mut cache = listed(ALL, &[(Kind::EgressPolicy, good("a", 1))]);
    cache.take();
    let problem =
        problem(&key("x"), Fault { key: None, field: None, message: "m".into(), cure: "c".into() }, false);
    cache.missing(Kind::EgressPolicy, problem);
    let changes = cache.take().unwrap();
    assert_eq!((changes.deleted.len(), changes.problems.len()), (0, 1));
}

fn address(version: u64, leases: Value) -> Value {
    json!({
        "metadata": {"name": "192-0-2-9", "resourceVersion": version.to_string()},
        "spec": {"address": "192.0.2.9", "pool": "EgressPool/p", "claims": [], "candidates": [], "blockSize": 1024,
                 "leases": leases, "revision": 1},
    })
}

fn leased() -> Value {
    json!([{"node": "node-1", "firstPort": 1024, "revision": 1}])
}

/// A cache that has this record.
fn with_address(keep: Keep, record: Value) -> Cache {
    let mut cache = Cache::new(keep, [Kind::EgressAddress]);
    cache.begin(Kind::EgressAddress);
    cache.apply(Kind::EgressAddress, record);
    cache.listed(Kind::EgressAddress);
    cache.take();
    cache
}

fn lost(cache: &mut Cache) -> (usize, Vec<String>) {
    let changes = cache.take().unwrap_or_default();
    (changes.deleted.len(), changes.lost.into_iter().map(|key| key.name).collect())
}

#[test]
fn a_record_with_leases_that_is_removed_stays_in_force_until_its_writer_says_otherwise() {
    let digest = |cache: &Cache| cache.digests.addresses;
    let mut cache = with_address(Keep::default(), address(1, leased()));
    let before = digest(&cache);
    cache.delete(Kind::EgressAddress, &address(2, leased()));
    assert_eq!(lost(&mut cache), (0, names(&["192-0-2-9"])));
    assert_eq!(digest(&cache), before);
    // Its definition is back, and lists nothing.
    cache.begin(Kind::EgressAddress);
    cache.listed(Kind::EgressAddress);
    assert_eq!(digest(&cache), before);
    let key = ObjectKey { kind: Kind::EgressAddress, namespace: String::new(), name: "192-0-2-9".into() };
    assert_eq!(cache.version(&key), None, "it is to be written without a version");
    cache.apply(Kind::EgressAddress, address(1, leased()));
    assert_eq!(lost(&mut cache), (0, names(&[])), "written again");
    assert_eq!(digest(&cache), before);
    cache.apply(Kind::EgressAddress, address(5, json!([])));
    cache.delete(Kind::EgressAddress, &address(6, json!([])));
    assert_eq!(lost(&mut cache), (1, names(&[])), "who empties it first means it");
}

#[test]
fn what_a_definition_took_along_unseen_is_lost_and_what_a_list_lacks_otherwise_is_gone() {
    for (missing, expected) in [(true, (0, names(&["192-0-2-9"]))), (false, (1, names(&[])))] {
        let mut cache = with_address(Keep::default(), address(1, leased()));
        if missing {
            let fault = Fault { key: None, field: None, message: "m".into(), cure: "c".into() };
            cache.missing(Kind::EgressAddress, problem(&key("x"), fault, false));
        }
        cache.begin(Kind::EgressAddress);
        cache.listed(Kind::EgressAddress);
        assert_eq!(lost(&mut cache), expected, "missing: {missing}");
    }
}

#[test]
fn who_decides_lets_nobody_else_remove_an_address_and_removes_it_itself() {
    let keep = Keep { addresses: true, ..Keep::default() };
    let mut cache = with_address(keep, address(1, json!([])));
    cache.delete(Kind::EgressAddress, &address(2, json!([])));
    assert_eq!(lost(&mut cache), (0, names(&["192-0-2-9"])));
    cache.deleted(&ObjectKey {
        kind: Kind::EgressAddress,
        namespace: String::new(),
        name: "192-0-2-9".into(),
    });
    assert_eq!(lost(&mut cache), (1, names(&[])));
}

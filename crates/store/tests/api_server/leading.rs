//! Of several controllers one leads.

use std::time::Duration;

use egret_store::{Progress, Recorder, Scope, Store};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::server::{SOON, Server};

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_another_follows_when_it_ends_or_dies() {
    let server = Server::start("leading").await;
    server
        .apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "egret-system"}})])
        .await;
    let [first, second] = [server.store(Scope::Cluster).await, server.store(Scope::Cluster).await];
    let term = first.store.lead("first").await.unwrap();
    let waits = timeout(Duration::from_secs(5), second.store.lead("second")).await;
    assert!(waits.is_err(), "two lead at once");
    let progress = Progress { observed_objects: "a".into(), addresses: "b".into() };
    first.store.recorder().write_progress(&progress).await.unwrap();
    assert_eq!(second.store.progress().await.unwrap(), Some(progress));
    // Told to end: the other one is at work at once.
    let begun = Instant::now();
    term.end().await;
    let mut term = timeout(SOON, second.store.lead("second")).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Killed: dropping a term stops renewing it, and says nothing to the server.
    let held = timeout(Duration::from_secs(4), term.lost()).await;
    assert!(held.is_err(), "a term that is renewed lasts");
    drop(term);
    let begun = Instant::now();
    let _term = timeout(SOON, first.store.lead("first")).await.unwrap().unwrap();
    let took = begun.elapsed();
    assert!(took <= Duration::from_secs(15), "{took:?}");
    eprintln!("the other controller led {took:.1?} after the first one died");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_renew_decides_no_longer() {
    let mut server = Server::start("lost").await;
    server
        .apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "egret-system"}})])
        .await;
    let store = server.store(Scope::Cluster).await;
    let mut term = store.store.lead("only").await.unwrap();
    server.kill();
    let begun = Instant::now();
    timeout(SOON, term.lost()).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "before another one may take it: {:?}",
        begun.elapsed()
    );
    server.restart();
    timeout(SOON, store.store.lead("only")).await.unwrap().unwrap();
}

/// A Lease as another holder renews it, by its own clock.
async fn renew(api: &Api<Lease>, second: i64) {
    let spec = LeaseSpec {
        holder_identity: Some("another".into()),
        lease_duration_seconds: Some(2),
        renew_time: Some(MicroTime(Timestamp::from_second(second).unwrap())),
        ..LeaseSpec::default()
    };
    let lease = Lease {
        metadata: serde_json::from_value(json!({"name": "egret-controller"})).unwrap(),
        spec: Some(spec),
    };
    let params = PatchParams::apply("another").force();
    api.patch("egret-controller", &params, &Patch::Apply(&lease)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_by_years_neither_end_a_term_nor_make_one_last() {
    let server = Server::start("clocks").await;
    server
        .apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "egret-system"}})])
        .await;
    let api: Api<Lease> = Api::namespaced(server.admin().await, "egret-system");
    // One year each time: of 1970, long run out by any clock here; of 2100, never to run out.
    for first in [0, 4_102_444_800_i64] {
        let store = server.store(Scope::Cluster).await;
        renew(&api, first).await;
        let lead = store.store.lead("here");
        tokio::pin!(lead);
        for turn in 1..=3 {
            let ours = timeout(Duration::from_secs(1), &mut lead).await;
            assert!(ours.is_err(), "one that is renewed, by a clock of {first} s, was taken");
            renew(&api, first + turn).await;
        }
        let begun = Instant::now();
        let term = timeout(SOON, &mut lead).await.unwrap().unwrap();
        let took = begun.elapsed();
        assert!((1..=7).contains(&took.as_secs()), "by a clock of {first} s: led after {took:?}");
        drop(term);
    }
}

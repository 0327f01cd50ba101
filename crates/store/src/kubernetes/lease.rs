//! Who of several controllers decides: the one that holds the Lease. Nothing on the packet path depends on it.
//!
//! A Lease has run out when it has not been renewed for its time by the clock of who looks; what time its holder
//! wrote into it does not matter, so clocks may differ.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::words::{chain, code, refused};
use crate::StoreError;
use crate::seam::Progress;

/// Name of the Lease, in this process's namespace.
const NAME: &str = "egret-controller";
/// A Lease that is not renewed for this long is free.
const DURATION: Duration = Duration::from_secs(10);
/// Who could not renew for this long decides no longer. Less than the above, so that two never decide at once.
const DEADLINE: Duration = Duration::from_secs(7);
/// It is renewed, and looked at, so often.
const RENEW: Duration = Duration::from_secs(2);
/// Writes that met are tried again after this.
const AGAIN: Duration = Duration::from_millis(100);
/// One request may take this long.
const ANSWER: Duration = Duration::from_secs(3);
/// Annotations that say how far the holder has come.
const OBSERVED: &str = "egret.dev/observed-objects";
const ADDRESSES: &str = "egret.dev/addresses";

/// What to do about a Lease.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is free: take it.
    Take,
    /// It is ours: renew it.
    Renew,
    /// It is another's.
    Wait,
}

/// The version of the Lease that was seen last, and when that began.
#[derive(Default)]
struct Watchful {
    seen: Option<(String, Instant)>,
}

impl Watchful {
    /// What to do about a Lease that is read now.
    fn decide(&mut self, lease: Option<&Lease>, own: &str, now: Instant) -> Step {
        let Some(lease) = lease else { return Step::Take };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if holder == own {
            return Step::Renew;
        }
        let renewed = format!("{holder} {:?}", spec.renew_time.map(|time| time.0));
        let since = match &self.seen {
            Some((seen, since)) if *seen == renewed => *since,
            _ => {
                self.seen = Some((renewed, now));
                now
            }
        };
        let lasts = spec
            .lease_duration_seconds
            .and_then(|s| u64::try_from(s).ok())
            .map_or(DURATION, Duration::from_secs);
        match holder.is_empty() || now.duration_since(since) >= lasts {
            true => Step::Take,
            false => Step::Wait,
        }
    }
}

/// A time in which this process decides.
pub struct Term {
    renewing: JoinHandle<()>,
    lost: watch::Receiver<bool>,
    client: Client,
    own: String,
}

impl Term {
    /// Resolves when this process may decide no longer.
    pub async fn lost(&mut self) {
        // Its sender is gone: nobody renews any more.
        let _ = self.lost.wait_for(|lost| *lost).await;
    }

    /// Lets another one lead at once.
    pub async fn end(self) {
        self.renewing.abort();
        let api: Api<Lease> = Api::default_namespaced(self.client.clone());
        let release = async {
            let mut lease = api.get(NAME).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.own) {
                spec.holder_identity = Some(String::new());
                api.replace(NAME, &PostParams::default(), &lease).await?;
            }
            Ok::<(), kube::Error>(())
        };
        if let Ok(Err(error)) = timeout(ANSWER, release).await {
            tracing::debug!("the lease is left to run out: {}", chain(&error));
        }
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Waits until the Lease is this process's.
pub(crate) async fn lead(client: Client, own: &str) -> Result<Term, StoreError> {
    let api: Api<Lease> = Api::default_namespaced(client.clone());
    let mut watchful = Watchful::default();
    let mut complained = String::new();
    loop {
        match attempt(&api, &mut watchful, own, &mut None).await {
            Ok(true) => break,
            Ok(false) => complained.clear(),
            Err(error) => {
                // Passing or not, it may be cured at any time.
                let error = refused("take", format!("Lease {NAME}"), &error).to_string();
                if error != complained {
                    tracing::warn!("{error}");
                    complained = error;
                }
            }
        }
        sleep(RENEW).await;
    }
    let (sender, lost) = watch::channel(false);
    let renewing = tokio::spawn(renew(api, own.to_owned(), sender));
    Ok(Term { renewing, lost, client, own: own.to_owned() })
}

/// Renews until that fails for too long, or another has the Lease.
async fn renew(api: Api<Lease>, own: String, lost: watch::Sender<bool>) {
    let (mut watchful, mut last) = (Watchful::default(), None);
    let mut renewed = Instant::now();
    let mut pause = RENEW;
    while renewed.elapsed() < DEADLINE {
        sleep(std::mem::replace(&mut pause, RENEW)).await;
        let begun = Instant::now();
        match timeout(ANSWER, attempt(&api, &mut watchful, &own, &mut last)).await {
            Ok(Ok(true)) => renewed = begun,
            Ok(Ok(false)) => break,
            // How far we are was written at the same time.
            Ok(Err(error)) if code(&error) == Some(409) => pause = AGAIN,
            Ok(Err(error)) => tracing::warn!("the lease is not renewed: {}", chain(&error)),
            Err(_) => tracing::warn!("the lease is not renewed: no answer for {} s", ANSWER.as_secs()),
        }
    }
    // Nobody may be listening any more.
    let _ = lost.send(true);
}

/// Takes or renews the Lease, if it is free or ours; false if it is another's. `last` is the Lease as it was written
/// last: as long as it is that, it need not be read.
async fn attempt(
    api: &Api<Lease>,
    watchful: &mut Watchful,
    own: &str,
    last: &mut Option<Lease>,
) -> kube::Result<bool> {
    let lease = match last.take() {
        Some(lease) => Some(lease),
        None => api.get_opt(NAME).await?,
    };
    let step = watchful.decide(lease.as_ref(), own, Instant::now());
    if step == Step::Wait {
        return Ok(false);
    }
    let written = match lease {
        Some(lease) => api.replace(NAME, &PostParams::default(), &held(lease, own, step == Step::Take)).await,
        None => {
            let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, ..Lease::default() };
            api.create(&PostParams::default(), &held(lease, own, true)).await
        }
    };
    match written {
        Ok(written) => {
            *last = Some(written);
            Ok(true)
        }
        // Its version is another by now: another was quicker, or we wrote how far we are.
        Err(error) if code(&error) == Some(409) && step == Step::Take => Ok(false),
        Err(error) => Err(error),
    }
}

/// The Lease as this process holds it.
fn held(mut lease: Lease, own: &str, take: bool) -> Lease {
    let now = MicroTime(Timestamp::now());
    let spec = lease.spec.get_or_insert_default();
    if take {
        let before = spec.lease_transitions.unwrap_or_default();
        *spec = LeaseSpec {
            acquire_time: Some(now.clone()),
            holder_identity: Some(own.to_owned()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            lease_transitions: Some(before.saturating_add(1)),
            ..LeaseSpec::default()
        };
    }
    spec.renew_time = Some(now);
    lease
}

/// Says how far the holder has come.
pub(crate) async fn write_progress(client: &Client, progress: &Progress) -> Result<(), StoreError> {
    let api: Api<Lease> = Api::default_namespaced(client.clone());
    let annotations = json!({OBSERVED: progress.observed_objects, ADDRESSES: progress.addresses});
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    let params = PatchParams::default();
    match timeout(ANSWER, api.patch_metadata(NAME, &params, &patch)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(refused("annotate", format!("Lease {NAME}"), &error)),
        Err(_) => Err(StoreError::Api {
            action: "annotate",
            object: format!("Lease {NAME}"),
            words: format!("no answer for {} s", ANSWER.as_secs()),
            cure: "it is tried again",
        }),
    }
}

/// How far the holder says it has come.
pub(crate) async fn progress(client: &Client) -> Result<Option<Progress>, StoreError> {
    let api: Api<Lease> = Api::default_namespaced(client.clone());
    let lease = api.get_metadata_opt(NAME).await;
    let lease = lease.map_err(|error| refused("read", format!("Lease {NAME}"), &error))?;
    let annotations = lease.and_then(|lease| lease.metadata.annotations).unwrap_or_default();
    let of = |name: &str| annotations.get(name).cloned();
    Ok(of(OBSERVED)
        .zip(of(ADDRESSES))
        .map(|(observed_objects, addresses)| Progress { observed_objects, addresses }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, second: i64) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(10),
            renew_time: Some(MicroTime(Timestamp::from_second(second).unwrap())),
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    #[test]
    fn a_lease_is_free_when_nobody_has_it_or_gave_it_up() {
        let now = Instant::now();
        assert_eq!(Watchful::default().decide(None, "a", now), Step::Take);
        assert_eq!(Watchful::default().decide(Some(&lease("", 0)), "a", now), Step::Take);
        assert_eq!(Watchful::default().decide(Some(&lease("a", 0)), "a", now), Step::Renew);
    }

    #[test]
    fn it_runs_out_by_the_clock_of_who_looks() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watchful = Watchful::default();
        // Whatever the holder's clock says: long ago, or tomorrow.
        assert_eq!(watchful.decide(Some(&lease("b", 5)), "a", at(0)), Step::Wait);
        assert_eq!(watchful.decide(Some(&lease("b", 5)), "a", at(9)), Step::Wait);
        assert_eq!(watchful.decide(Some(&lease("b", 4_000_000_000)), "a", at(9)), Step::Wait);
        assert_eq!(watchful.decide(Some(&lease("b", 4_000_000_000)), "a", at(18)), Step::Wait);
        assert_eq!(watchful.decide(Some(&lease("b", 4_000_000_000)), "a", at(19)), Step::Take);
    }

    #[test]
    fn taking_counts_and_renewing_does_not() {
        let taken = held(lease("b", 5), "a", true).spec.unwrap();
        assert_eq!((taken.holder_identity.as_deref(), taken.lease_transitions), (Some("a"), Some(1)));
        let renewed = held(Lease { spec: Some(taken.clone()), ..Lease::default() }, "a", false).spec.unwrap();
        assert_eq!((renewed.lease_transitions, &renewed.acquire_time), (Some(1), &taken.acquire_time));
        assert!(renewed.renew_time >= taken.renew_time);
    }
}

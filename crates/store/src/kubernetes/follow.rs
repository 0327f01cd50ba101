//! Follows one kind of an API server: lists it, watches it, and begins again when that breaks off.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use egret_api::Kind;
use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use kube::{Api, Client};
use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::scope::Scope;
use super::shared::Shared;
use super::words;
use crate::Problem;

/// A kind that is not served is looked for again after this, and after twice as long each time.
const LOOK_FIRST: Duration = Duration::from_secs(1);
const LOOK_LAST: Duration = Duration::from_secs(60);
/// What breaks off again within this waits longer than the last time.
const CALM: Duration = Duration::from_secs(10);
/// After an interruption of this length people are told, and told again when it is over.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// Why following broke off for good, so that it is tried in another way.
enum Broken {
    /// The server does not serve the kind in this version.
    NotServed,
    /// The server cannot send a list as a stream of events.
    NoStreaming,
}

/// Follows a kind for as long as the process lives, but for the time in which nobody wants to know.
pub(crate) async fn follow(client: Client, scope: Scope, kind: Kind, shared: Arc<Shared>) {
    let mut off = shared.off.subscribe();
    if off.borrow().contains(&kind) {
        shared.with(|cache| cache.off(kind));
    }
    loop {
        let wanted = off.wait_for(|off| !off.contains(&kind)).await.is_ok();
        if !wanted {
            return;
        }
        tokio::select! {
            () = follow_wanted(&client, &scope, kind, &shared) => {}
            () = async { drop(off.wait_for(|off| off.contains(&kind)).await) } => shared.with(|cache| cache.off(kind)),
        }
    }
}

async fn follow_wanted(client: &Client, scope: &Scope, kind: Kind, shared: &Shared) {
    let (mut strategy, mut look) = (InitialListStrategy::StreamingList, Backoff::new(LOOK_FIRST, LOOK_LAST));
    let mut looked = false;
    loop {
        let begun = Instant::now();
        let mut broken = Broken::NotServed;
        for version in kind.api_versions() {
            broken = stream(client, scope, kind, version, strategy.clone(), shared).await;
            if matches!(broken, Broken::NoStreaming) {
                break;
            }
        }
        if begun.elapsed() > LOOK_LAST {
            (looked, look) = (false, Backoff::new(LOOK_FIRST, LOOK_LAST));
        }
        match broken {
            Broken::NoStreaming if strategy == InitialListStrategy::StreamingList => {
                strategy = InitialListStrategy::ListWatch;
                continue;
            }
            Broken::NoStreaming => {}
            // A server that has just started may not know its definitions yet: one look is no look.
            Broken::NotServed if looked => shared.with(|cache| cache.missing(kind, missing(kind))),
            Broken::NotServed => looked = true,
        }
        sleep(look.next()).await;
    }
}

async fn stream(
    client: &Client,
    scope: &Scope,
    kind: Kind,
    version: &str,
    strategy: InitialListStrategy,
    shared: &Shared,
) -> Broken {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind, version));
    let config = watcher::Config {
        initial_list_strategy: strategy,
        field_selector: scope.fields(kind),
        // Nodes are large before they are cut down to what is read.
        page_size: Some(100),
        ..watcher::Config::default()
    };
    let mut events = pin!(watcher(api.clone(), config.clone()));
    let mut backoff = Backoff::interrupted();
    let (mut outage, mut broke_off) = (Outage::default(), Instant::now());
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                if let Some(broken) = broken(&error) {
                    return broken;
                }
                outage.goes_on(kind, &error);
                let forbidden = forbidden(kind, &error);
                // That a watch goes on is not told before something happens: only a new one tells that all is well.
                let anew = is_gone(&error) || forbidden.is_some();
                if let Some(problem) = forbidden {
                    shared.with(|cache| cache.faulty(kind, problem));
                }
                if broke_off.elapsed() > CALM {
                    backoff.reset();
                }
                sleep(backoff.next()).await;
                broke_off = Instant::now();
                if anew {
                    events.set(watcher(api.clone(), config.clone()));
                }
                continue;
            }
        };
        if !matches!(event, Event::Init) {
            outage.is_over(kind);
        }
        shared.with(|cache| {
            match event {
                Event::Init => cache.begin(kind),
                Event::InitApply(object) => cache.apply(kind, value(object)),
                Event::InitDone => cache.listed(kind),
                Event::Apply(object) => {
                    cache.goes_on(kind);
                    cache.apply(kind, value(object));
                }
                Event::Delete(object) => {
                    cache.goes_on(kind);
                    cache.delete(kind, &value(object));
                }
            };
        });
    }
    // The stream of a watcher has no end; if it had one, it would be begun anew.
    Broken::NoStreaming
}

/// How a kind is addressed in a version.
pub(crate) fn resource(kind: Kind, api_version: &str) -> ApiResource {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.in_manifests().to_owned(),
        plural: kind.plural().into_owned(),
    }
}

fn value(mut object: DynamicObject) -> serde_json::Value {
    // Much text, and never read.
    object.metadata.managed_fields = None;
    // Metadata and a JSON value can be written as JSON.
    serde_json::to_value(object).unwrap_or_default()
}

/// The code of a server's refusal, if it is one.
fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => words::code(error),
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::NoResourceVersion => None,
    }
}

fn broken(error: &watcher::Error) -> Option<Broken> {
    match code(error)? {
        404 => Some(Broken::NotServed),
        400 | 422 => Some(Broken::NoStreaming),
        _ => None,
    }
}

/// The version from which watching was to go on is known no more, and the server says so before a watch begins: the
/// watcher itself would ask for the same version for ever.
fn is_gone(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(_)) && code(error) == Some(410)
}

fn forbidden(kind: Kind, error: &watcher::Error) -> Option<Problem> {
    let cure = match code(error)? {
        401 => "Renew the token of this process, or its kubeconfig: the API server does not accept it."
            .to_owned(),
        403 => format!("Grant get, list and watch of {} to this service account.", kind.plural()),
        _ => return None,
    };
    Some(Problem {
        file: std::path::PathBuf::new(),
        document: 0,
        object: Some(kind.as_str().to_owned()),
        field: None,
        message: format!("cannot be read: {error}"),
        cure,
    })
}

fn missing(kind: Kind) -> Problem {
    Problem {
        file: std::path::PathBuf::new(),
        document: 0,
        object: Some(kind.as_str().to_owned()),
        field: None,
        message: format!("the API server does not serve {}", kind.api_versions().join(" or ")),
        cure: "`egret crds | kubectl apply --server-side -f -` installs the definitions; it is not needed if nobody \
               uses the kind."
            .to_owned(),
    }
}

/// Since when a kind cannot be followed, and whether people know.
#[derive(Default)]
struct Outage {
    since: Option<Instant>,
    told: bool,
}

impl Outage {
    fn goes_on(&mut self, kind: Kind, error: &watcher::Error) {
        let since = *self.since.get_or_insert_with(Instant::now);
        // Watches end all the time; that is no news.
        let expected = matches!(code(error), Some(410)) || !self.told && since.elapsed() < TELL_AFTER;
        if expected || self.told {
            tracing::debug!(kind = kind.as_str(), "watching broke off: {error}");
            return;
        }
        self.told = true;
        let words = words::chain(error);
        tracing::warn!(kind = kind.as_str(), "cannot be followed, what is known stays in force: {words}");
    }

    fn is_over(&mut self, kind: Kind) {
        if std::mem::take(self).told {
            tracing::info!(kind = kind.as_str(), "is followed again");
        }
    }
}

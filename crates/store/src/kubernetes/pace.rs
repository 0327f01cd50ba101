//! Keeps a process from asking a server more often than is good for both, whatever goes wrong there.
//!
//! kube's watcher begins a watch that ended anew at once, and for ever where something between here and the server ends
//! each; and it does not hear of `Retry-After`. All requests of a store come by here; so this is also where a refused
//! token is noticed, and the renewed one read at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response, header};
use kube::Client;
use kube::client::Body;
use tokio::time::{Instant, sleep_until};
use tower::service_fn;

/// A watch of the same that is begun again within this has ended too soon.
const SOON: Duration = Duration::from_secs(10);
/// Then it waits for this, and twice as long each time.
const FIRST: Duration = Duration::from_millis(250);
const LAST: Duration = Duration::from_secs(8);
/// A server that wants to be left alone for longer is asked again after this all the same.
const LONGEST: Duration = Duration::from_secs(30);

/// A credential that is refused is read anew no more often than this.
const RENEW: Duration = Duration::from_secs(3);

/// A client that does the same, at a pace. `kubeconfig` is where it was read from.
pub(crate) fn paced(client: Client, kubeconfig: Option<PathBuf>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let pace = Arc::new(Mutex::new(Pace::default()));
    let current = Arc::new(Mutex::new(client));
    let service = service_fn(move |request: Request<Body>| {
        let (current, pace, kubeconfig) = (current.clone(), pace.clone(), kubeconfig.clone());
        async move {
            let begin = lock(&pace).begin(&request, Instant::now());
            sleep_until(begin).await;
            let client = lock(&current).clone();
            let response = client.send(request).await?;
            let refused = lock(&pace).heard(&response, Instant::now());
            if refused && let Ok(renewed) = super::client(kubeconfig).await {
                *lock(&current) = renewed;
            }
            Ok::<_, kube::Error>(response)
        }
    });
    Client::new(service, namespace)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Pace {
    /// By path: when a watch was begun last, and after which pause.
    watches: BTreeMap<String, (Instant, Duration)>,
    /// Till when the server wants to be left alone.
    hold: Option<Instant>,
    /// When the credentials were refused, and read anew.
    renewed: Option<Instant>,
}

impl Pace {
    /// When a request may be sent.
    fn begin<T>(&mut self, request: &Request<T>, now: Instant) -> Instant {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        // Who leads is a matter of seconds, and of a request each two.
        if path.contains("/leases/") {
            return now;
        }
        let begin = self.hold.filter(|until| *until > now).unwrap_or(now);
        if !query.split('&').any(|part| part == "watch=true") {
            return begin;
        }
        let (begin, pause) = match self.watches.get(path) {
            Some((last, pause)) if now.saturating_duration_since(*last) < SOON => {
                let pause = (*pause * 2).clamp(FIRST, LAST);
                (begin.max(*last + pause), pause)
            }
            _ => (begin, Duration::ZERO),
        };
        self.watches.insert(path.to_owned(), (begin, pause));
        begin
    }

    /// What the server answered. Returns whether the credentials are to be read anew.
    fn heard<T>(&mut self, response: &Response<T>, now: Instant) -> bool {
        match response.status().as_u16() {
            401 if self.renewed.is_none_or(|at| now.duration_since(at) >= RENEW) => {
                self.renewed = Some(now);
                return true;
            }
            429 | 503 => {}
            _ => return false,
        }
        let after = response.headers().get(header::RETRY_AFTER).and_then(|after| after.to_str().ok());
        if let Some(seconds) = after.and_then(|after| after.trim().parse().ok()) {
            let until = now + LONGEST.min(Duration::from_secs(seconds));
            self.hold = self.hold.max(Some(until));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Request<()> {
        Request::get(path).body(()).unwrap()
    }

    #[test]
    fn a_watch_that_ends_again_and_again_is_begun_ever_more_seldom() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let (pods, nodes) = (get("/api/v1/pods?limit=5&watch=true"), get("/api/v1/nodes?watch=true"));
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let begin = pace.begin(&pods, now);
            waits.push((begin - now).as_millis());
            now = begin;
        }
        assert_eq!(waits, [0, 250, 500, 1000, 2000, 4000, 8000, 8000]);
        assert_eq!(pace.begin(&nodes, now), now, "another kind");
        assert_eq!(pace.begin(&get("/api/v1/pods"), now), now, "no watch");
        let later = now + SOON;
        assert_eq!(pace.begin(&pods, later), later, "one that lasted");
        assert_eq!(pace.begin(&pods, later), later + FIRST);
    }

    #[test]
    fn a_server_that_wants_to_be_left_alone_is_but_for_the_lease() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let answer = |status: u16, after: &str| {
            Response::builder().status(status).header("Retry-After", after).body(()).unwrap()
        };
        pace.heard(&answer(200, "9"), start);
        pace.heard(&answer(429, "soon"), start);
        assert_eq!(pace.begin(&get("/api"), start), start);
        pace.heard(&answer(429, "3"), start);
        pace.heard(&answer(429, "1"), start);
        assert_eq!(pace.begin(&get("/api"), start), start + Duration::from_secs(3));
        let lease = get("/apis/coordination.k8s.io/v1/namespaces/egret-system/leases/egret-controller");
        assert_eq!(pace.begin(&lease, start), start);
        let later = start + Duration::from_secs(3);
        assert_eq!(pace.begin(&get("/api"), later), later);
        assert!(!pace.heard(&answer(503, "86400"), later));
        assert_eq!(pace.begin(&get("/api"), later), later + LONGEST);
    }

    #[test]
    fn a_credential_that_is_refused_is_read_anew_but_not_all_the_time() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let refused = || Response::builder().status(401).body(()).unwrap();
        assert!(pace.heard(&refused(), start));
        assert!(!pace.heard(&refused(), start + RENEW / 2));
        assert!(pace.heard(&refused(), start + RENEW));
    }
}

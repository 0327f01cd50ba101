//! An API server with faults: a proxy on the loopback address before the real one.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Response, header};
use futures::stream::{self, StreamExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// What somebody asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Instant,
    pub method: String,
    pub path: String,
    pub query: String,
    pub token: String,
}

impl Asked {
    pub fn watches(&self) -> bool {
        self.query.contains("watch=true")
    }

    /// A watch that begins with all that there is.
    pub fn begins_anew(&self) -> bool {
        self.query.contains("sendInitialEvents=true")
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this, and after so many seconds it may be tried again.
    Refuse(u16, Option<u32>),
    /// The answer comes so much later.
    Slow(Duration),
    /// The connection breaks off after so many bytes of the answer.
    BreakOff(usize),
    /// The answer ends as if that were all of it.
    End,
    /// A watch that begins well, and tells that its version is known no more.
    GoneInside,
}

type Rule = Arc<dyn Fn(&Asked) -> Option<Fault> + Send + Sync>;

struct Inner {
    /// As an administrator.
    admin: Client,
    /// As whoever asks says.
    anybody: Client,
    rule: Mutex<Rule>,
    asked: Mutex<Vec<Asked>>,
    /// Raised when all open answers are to break off.
    cuts: watch::Sender<u64>,
}

pub struct Proxy {
    inner: Arc<Inner>,
    address: String,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Before the server of an administrator's kubeconfig.
    pub async fn start(kubeconfig: &Path) -> Self {
        let file = Kubeconfig::read_from(kubeconfig).unwrap();
        let of = async |file: Kubeconfig| {
            let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
            Client::try_from(config).unwrap()
        };
        let mut nobody = file.clone();
        nobody.auth_infos = serde_json::from_value(json!([{"name": "admin", "user": {}}])).unwrap();
        let inner = Arc::new(Inner {
            admin: of(file).await,
            anybody: of(nobody).await,
            rule: Mutex::new(Arc::new(|_| None)),
            asked: Mutex::default(),
            cuts: watch::Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(inner.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { inner, address, task }
    }

    /// Writes a kubeconfig of this proxy. Who has no user of his own is an administrator.
    pub fn kubeconfig(&self, path: &Path, user: Value) {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": self.address}}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "user"}}],
        });
        std::fs::write(path, config.to_string()).unwrap();
    }

    /// From now on.
    pub fn faults(&self, rule: impl Fn(&Asked) -> Option<Fault> + Send + Sync + 'static) {
        *lock(&self.inner.rule) = Arc::new(rule);
    }

    pub fn heal(&self) {
        self.faults(|_| None);
    }

    /// Every answer that is not complete breaks off, as when a network goes.
    pub fn cut(&self) {
        self.inner.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// What was asked since.
    pub fn since(&self, begun: Instant) -> Vec<Asked> {
        lock(&self.inner.asked).iter().filter(|asked| asked.at >= begun).cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response<Body> {
    let (mut head, body) = request.into_parts();
    let token = head.headers.get(header::AUTHORIZATION).and_then(|token| token.to_str().ok());
    let asked = Asked {
        at: Instant::now(),
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        token: token.unwrap_or_default().to_owned(),
    };
    let mut cuts = inner.cuts.subscribe();
    cuts.mark_unchanged();
    let fault = (lock(&inner.rule).clone())(&asked);
    let upstream = if asked.token.is_empty() { &inner.admin } else { &inner.anybody };
    lock(&inner.asked).push(asked);
    match fault {
        Some(Fault::Refuse(code, after)) => return refusal(code, after),
        Some(Fault::GoneInside) => return json(200, &json!({"type": "ERROR", "object": status(410)})),
        Some(Fault::Slow(by)) => sleep(by).await,
        _ => {}
    }
    head.headers.remove(header::HOST);
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let sent = http::Request::from_parts(head, kube::client::Body::from(body.to_vec()));
    let Ok(answer) = upstream.send(sent).await else { return refusal(502, None) };
    let (head, body) = answer.into_parts();
    let whole = Body::new(body).into_data_stream().map(|part| part.map_err(std::io::Error::other));
    let limited = match fault {
        Some(Fault::BreakOff(bytes)) => broken_off(whole.boxed(), bytes).boxed(),
        Some(Fault::End) => stream::empty().boxed(),
        _ => whole.boxed(),
    };
    let cut = async move { drop(cuts.changed().await) };
    // What has come to its end before is not cut any more.
    let ended = limited.map(Some).chain(stream::once(async { None }));
    let until_cut = ended.take_until(cut).chain(stream::once(async { Some(Err(broken())) }));
    let parts =
        until_cut.take_while(|part| std::future::ready(part.is_some())).filter_map(std::future::ready);
    Response::from_parts(head, Body::from_stream(parts))
}

fn broken() -> std::io::Error {
    std::io::Error::other("cut")
}

type Parts = futures::stream::BoxStream<'static, Result<Bytes, std::io::Error>>;

/// At once when so much has passed, whatever is still to come.
fn broken_off(parts: Parts, bytes: usize) -> impl stream::Stream<Item = Result<Bytes, std::io::Error>> {
    let some = stream::unfold((parts, bytes), |(mut parts, left)| async move {
        let part = if left == 0 { return None } else { parts.next().await?.ok()? };
        let some = part.slice(..part.len().min(left));
        let left = left - some.len();
        Some((Ok(some), (parts, left)))
    });
    some.chain(stream::once(async { Err(broken()) }))
}

fn status(code: u16) -> Value {
    let reason = match code {
        401 => "Unauthorized",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
           "message": format!("a fault of the test: {code}")})
}

fn refusal(code: u16, after: Option<u32>) -> Response<Body> {
    let mut response = json(code, &status(code));
    if let Some(seconds) = after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn json(code: u16, body: &Value) -> Response<Body> {
    let response = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
    response.body(Body::from(format!("{body}\n"))).unwrap()
}

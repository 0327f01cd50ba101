//! What every long-running process answers over HTTP: `/healthz`, `/readyz` and `/metrics`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::{TcpListener, UnixListener};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a TCP port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Neither form of a listening address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address to listen on. Write ADDRESS:PORT, or unix:PATH")]
pub struct ListenError(String);

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        match text.strip_prefix("unix:") {
            Some("") => Err(ListenError(text.to_owned())),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| ListenError(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a process says of itself.
pub trait Report: Send + Sync + 'static {
    /// Metrics in the OpenMetrics text format.
    fn metrics(&self) -> String;
    /// `Err` with the reason when the process should be started anew.
    fn health(&self) -> Result<(), String>;
    /// `Err` with what it waits for while it cannot do its work.
    fn ready(&self) -> Result<(), String>;
}

/// Answers until the process ends.
///
/// # Errors
/// When it cannot listen there.
pub async fn serve(listen: &Listen, report: Arc<impl Report>) -> std::io::Result<Infallible> {
    let (metrics, health, ready) = (report.clone(), report.clone(), report);
    let router = Router::new()
        .route("/metrics", get(async move || text(metrics.metrics())))
        .route("/healthz", get(async move || verdict(health.health())))
        .route("/readyz", get(async move || verdict(ready.ready())));
    match listen {
        Listen::Tcp(address) => axum::serve(TcpListener::bind(address).await?, router).await?,
        Listen::Unix(path) => {
            // A socket stays behind when its process is killed; anything else there is not ours to remove.
            if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
                std::fs::remove_file(path)?;
            }
            axum::serve(UnixListener::bind(path)?, router).await?;
        }
    }
    Err(std::io::ErrorKind::ConnectionAborted.into())
}

fn text(body: String) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

fn verdict(verdict: Result<(), String>) -> Response {
    match verdict {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Half;
    impl Report for Half {
        fn metrics(&self) -> String {
            "# EOF\n".to_owned()
        }
        fn health(&self) -> Result<(), String> {
            Ok(())
        }
        fn ready(&self) -> Result<(), String> {
            Err("waits for a wire".to_owned())
        }
    }

    #[test]
    fn both_forms_of_an_address_are_read_and_written() {
        for text in ["127.0.0.1:9917", "[::1]:80", "unix:/run/egret/agent.sock"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in ["unix:", "9917", "host:80", ""] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_each_question_answered() {
        let path = std::env::temp_dir().join(format!("egret-status-{}.sock", std::process::id()));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listen = Listen::Unix(path.clone());
        let server = tokio::spawn(async move { serve(&listen, Arc::new(Half)).await });
        for (question, status, body) in
            [("/metrics", "200", "# EOF"), ("/healthz", "200", "ok"), ("/readyz", "503", "waits for a wire")]
        {
            let mut stream = loop {
                match tokio::net::UnixStream::connect(&path).await {
                    Ok(stream) => break stream,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            let request = format!("GET {question} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            assert!(answer.contains(body), "{answer}");
        }
        server.abort();
        std::fs::remove_file(&path).unwrap();
    }
}

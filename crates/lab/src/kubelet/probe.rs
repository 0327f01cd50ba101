//! Probes: the container is really asked.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Whom a probe asks, and how.
#[derive(Clone, Debug)]
struct Question {
    host: String,
    port: u16,
    path: String,
}

/// A probe that goes on for as long as it is held.
pub struct Prober {
    heard: mpsc::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prober {
    /// Begins to ask. `address` is the pod's.
    ///
    /// # Errors
    /// When it is a probe of a kind that is not known here.
    pub fn start(probe: &Probe, container: &Container, address: IpAddr) -> Result<Prober> {
        let question = question(probe, container, address)?;
        let seconds =
            |value: Option<i32>, usual: u64| Duration::from_secs(value.map_or(usual, |v| v.max(0) as u64));
        let (delay, period) = (seconds(probe.initial_delay_seconds, 0), seconds(probe.period_seconds, 10));
        let patience = seconds(probe.timeout_seconds, 1);
        let failures = probe.failure_threshold.unwrap_or(3);
        let (say, heard) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            sleep(delay).await;
            let mut ticks = interval(period.max(Duration::from_secs(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut failed = 0;
            loop {
                ticks.tick().await;
                let well = matches!(timeout(patience, ask(&question)).await, Ok(Ok(true)));
                failed = if well { 0 } else { failed + 1 };
                if (well || failed >= failures) && say.send(well).await.is_err() {
                    return;
                }
            }
        });
        Ok(Prober { heard, task })
    }

    /// Waits for the next thing to know: it is well, or it has failed too often.
    pub async fn next(probe: &mut Option<Prober>) -> bool {
        match probe {
            Some(probe) => match probe.heard.recv().await {
                Some(well) => well,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

fn question(probe: &Probe, container: &Container, address: IpAddr) -> Result<Question> {
    let Some(get) = &probe.http_get else { bail!("a probe that is no httpGet: the lab's kubelet has none") };
    let port = match &get.port {
        IntOrString::Int(port) => *port,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_ref() == Some(name));
            named.with_context(|| format!("a probe's port {name}: the container has none"))?.container_port
        }
    };
    Ok(Question {
        host: get.host.clone().unwrap_or_else(|| address.to_string()),
        port: u16::try_from(port).context("a probe's port")?,
        path: get.path.clone().unwrap_or_else(|| "/".to_owned()),
    })
}

/// A status from 200 to 399 is well.
async fn ask(Question { host, port, path }: &Question) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
    let text = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: kube-probe/lab\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let code = answer.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
    Ok(code.is_some_and(|code| (200..400).contains(&code)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_port_may_be_named_and_the_host_is_the_pod_unless_it_is_said() {
        let container: Container = serde_json::from_value(
            json!({"name": "c", "ports": [{"name": "status", "containerPort": 9918}]}),
        )
        .unwrap();
        let of = |get: serde_json::Value| {
            let probe: Probe = serde_json::from_value(json!({"httpGet": get})).unwrap();
            question(&probe, &container, [10, 0, 0, 9].into())
                .map(|q| format!("{}:{}{}", q.host, q.port, q.path))
        };
        assert_eq!(of(json!({"port": "status", "path": "/readyz"})).unwrap(), "10.0.0.9:9918/readyz");
        assert_eq!(of(json!({"host": "127.0.0.1", "port": 9917})).unwrap(), "127.0.0.1:9917/");
        assert!(of(json!({"port": "metrics"})).unwrap_err().to_string().contains("metrics"));
    }
}

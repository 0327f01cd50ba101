//! Connections that know what they must carry: every byte is checked, every gap is measured.

pub mod flow;
pub mod outcome;
pub mod pattern;
pub mod server;
pub mod tcp;
pub mod udp;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::sync::watch;

use crate::netns;
use flow::{Flow, Kind};
use server::Servers;

/// Time between two chunks of a connection, and between two datagrams of a flow.
pub const INTERVAL: Duration = Duration::from_millis(100);
/// The port that servers listen at that tell sources.
pub const PORT: u16 = 7000;

/// Who opens connections: a pod.
#[derive(Clone, Debug)]
pub struct Client {
    /// The pod, for people.
    pub pod: String,
    /// Its network namespace.
    pub netns: String,
}

/// Connections and flows under way.
pub struct Traffic {
    /// All of them.
    pub flows: Vec<Arc<Flow>>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Traffic {
    /// Opens connections from the clients to the servers, spread evenly: half of the TCP connections are pushed
    /// by the client, half by the server.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        clients: &[Client],
        servers: &Servers,
        addresses: &[IpAddr],
        tcp: u32,
        udp: u32,
    ) -> Result<Traffic> {
        let (stop, stopped) = watch::channel(false);
        let mut flows = Vec::new();
        let (pods, targets) = (clients.len().max(1) as u32, addresses.len().max(1) as u32);
        for id in 0..tcp + udp {
            let (pod, target) = (id % pods, id / pods % targets);
            let kind = match id {
                id if id < tcp / 2 => Kind::PushedByClient,
                id if id < tcp => Kind::PushedByServer,
                _ => Kind::Datagrams,
            };
            let client = clients.get(pod as usize).context("no pod to open connections from")?;
            let address = addresses.get(target as usize).context("no server to connect to")?;
            let flow =
                Arc::new(Flow::new(id, kind, client.pod.clone(), SocketAddr::new(*address, servers.port)));
            servers.expect(&flow);
            flows.push(flow);
        }
        let mut threads = Vec::new();
        for client in clients {
            let own: Vec<Arc<Flow>> = flows.iter().filter(|f| f.pod == client.pod).cloned().collect();
            let stopped = stopped.clone();
            threads.push(netns::spawn_in(&client.netns, move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(drive(own, stopped));
                Ok(())
            })?);
        }
        Ok(Traffic { flows, stop, threads })
    }

    /// Waits until `enough` holds for every flow, or the deadline passes. Returns for how many it does not.
    pub fn wait(&self, patience: Duration, enough: impl Fn(&Flow) -> bool) -> usize {
        let deadline = Instant::now() + patience;
        loop {
            let missing = self.flows.iter().filter(|f| !enough(f)).count();
            if missing == 0 || Instant::now() >= deadline {
                return missing;
            }
            // Thousands of flows have no common event; looking at them ten times a second costs nothing.
            std::thread::sleep(INTERVAL);
        }
    }

    /// From now on gaps are measured, and only what is sent from now on counts as fresh.
    pub fn mark(&self) {
        self.flows.iter().for_each(|f| f.mark());
    }

    /// Ends everything in good order and waits for it.
    ///
    /// # Errors
    /// When a thread of the generator itself failed.
    pub fn finish(self, patience: Duration) -> Result<Vec<Arc<Flow>>> {
        self.wait_for_end(patience);
        let _ = self.stop.send(true);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a thread of the traffic generator panicked"))??;
        }
        Ok(self.flows)
    }

    fn wait_for_end(&self, patience: Duration) {
        self.flows.iter().for_each(|f| f.stop());
        self.wait(patience, Flow::is_over);
    }
}

/// All flows of one pod, until they are over or everything is stopped.
async fn drive(flows: Vec<Arc<Flow>>, mut stopped: watch::Receiver<bool>) {
    for flow in &flows {
        let own = Arc::clone(flow);
        tokio::spawn(async move {
            // Spread over time, so that neither their opening nor their chunks come in bursts.
            tokio::time::sleep(phase(own.id) * 10).await;
            let outcome = match own.kind {
                Kind::Datagrams => udp::client(&own).await,
                Kind::PushedByClient | Kind::PushedByServer => tcp::client(&own).await,
            };
            own.close(outcome);
        });
    }
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Where in the interval a flow sends.
pub fn phase(id: u32) -> Duration {
    INTERVAL * (id.wrapping_mul(37) % 100) / 100
}

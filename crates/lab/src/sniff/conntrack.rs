//! What a node's kernel translated: its table of connections, read where the node lives.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;

use anyhow::{Context, Result};

use super::judge::Origin;
use super::packet::Flow;
use crate::{netns, tool};

/// The connections of one node, by the flow that leaves it.
pub type Connections = BTreeMap<Flow, Origin>;

/// Reads the connections of a network namespace.
///
/// # Errors
/// When the namespace is gone or the kernel does not show the table.
pub fn read(netns: &str) -> Result<Connections> {
    // Not /proc/net: that is the network of the process, not of the thread.
    const TABLE: &str = "/proc/thread-self/net/nf_conntrack";
    let shown = netns::run_in(netns, || match fs::read_to_string(TABLE) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some).context(TABLE),
    })?;
    let text = match shown {
        Some(text) => text,
        // A kernel without that file tells it by netlink only.
        None => {
            let list = |family| tool::run_in(netns, &["conntrack", "-L", "-o", "extended", "-f", family], "");
            list("ipv4")? + &list("ipv6")?
        }
    };
    Ok(text.lines().filter_map(parse).collect())
}

/// One line: the flow as it leaves (the replies' direction turned round) and what it was before.
fn parse(line: &str) -> Option<(Flow, Origin)> {
    let mut words = line.split_ascii_whitespace();
    let protocol: u8 = words.nth(3)?.parse().ok()?;
    let mut tuples = [Tuple::default(), Tuple::default()];
    let mut current = 0;
    for (key, value) in words.filter_map(|w| w.split_once('=')) {
        if key == "src" && tuples[0].source.is_some() {
            current = 1;
        }
        let tuple = &mut tuples[current];
        match key {
            "src" => tuple.source = value.parse().ok(),
            "dst" => tuple.destination = value.parse().ok(),
            "sport" => tuple.source_port = value.parse().ok(),
            "dport" => tuple.destination_port = value.parse().ok(),
            "id" => (tuple.source_port, tuple.destination_port) = (value.parse().ok(), value.parse().ok()),
            _ => {}
        }
    }
    let [original, reply] = tuples;
    let flow = Flow {
        source: reply.destination?,
        destination: reply.source?,
        protocol,
        ports: reply.destination_port.zip(reply.source_port),
    };
    let origin = Origin {
        source: original.source?,
        destination: original.destination?,
        destination_port: original.destination_port.unwrap_or_default(),
    };
    Some((flow, origin))
}

#[derive(Default)]
struct Tuple {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_masqueraded_connection() {
        let line = "ipv4     2 tcp      6 117 SYN_SENT src=10.244.1.10 dst=10.10.0.200 sport=4000 dport=80 [UNREPLIED] \
                    src=10.10.0.200 dst=10.0.0.1 sport=80 dport=61000 mark=0 use=2";
        let (flow, origin) = parse(line).unwrap();
        assert_eq!(flow.source.to_string(), "10.0.0.1");
        assert_eq!(flow.ports, Some((61000, 80)));
        assert_eq!(origin.source.to_string(), "10.244.1.10");
        assert_eq!(origin.destination_port, 80);
    }

    #[test]
    fn reads_an_echo_of_ipv6() {
        let line = "ipv6     10 icmpv6   58 29 src=fd00::1 dst=fd00::2 type=128 code=0 id=77 \
                    src=fd00::2 dst=fd00::3 type=129 code=0 id=78 mark=0 use=1";
        let (flow, _) = parse(line).unwrap();
        assert_eq!((flow.source.to_string().as_str(), flow.ports), ("fd00::3", Some((78, 78))));
    }
}

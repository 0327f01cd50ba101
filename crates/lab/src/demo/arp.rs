//! Who answers ARP for an address: asked on the wire, not read from anybody's books.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::bind;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use crate::state::{HostKind, State};
use crate::{netns, tool};

/// How long answers may take. All of them are heard: two would be one too many.
const PATIENCE: Duration = Duration::from_millis(300);

/// Asks from a host who has an address. Returns the nodes that answer, or the link-layer address of somebody
/// who is no node.
///
/// # Errors
/// When the host cannot ask.
pub fn who_has(state: &State, asking: &str, address: Ipv4Addr) -> Result<Vec<String>> {
    let names = wires(state)?;
    let answers = netns::run_in(&state.host(asking)?.netns, || answers("eth0", address))?;
    Ok(answers.into_iter().map(|mac| names.get(&mac).cloned().unwrap_or(mac)).collect())
}

/// Nodes by the link-layer address of their wire.
fn wires(state: &State) -> Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    for (name, host) in
        state.hosts.iter().filter(|(_, h)| h.kind == HostKind::Node && h.ports.contains_key("eth1"))
    {
        let text = tool::run(&["ip", "-j", "-n", &host.netns, "link", "show", "eth1"])?;
        let links: Vec<Value> = serde_json::from_str(&text).context("ip -j link")?;
        if let Some(mac) = links.first().and_then(|l| l["address"].as_str()) {
            names.insert(mac.to_owned(), name.clone());
        }
    }
    Ok(names)
}

fn answers(link: &str, address: Ipv4Addr) -> Result<Vec<String>> {
    let own = nix::ifaddrs::getifaddrs()?.filter(|i| i.interface_name == link).filter_map(|i| i.address);
    let own: Vec<_> = own.collect();
    let interface = own.iter().find_map(|a| a.as_link_addr()).with_context(|| format!("no link {link}"))?;
    let mac = interface.addr().context("a link without address")?;
    let source = own.iter().find_map(|a| a.as_sockaddr_in()).map(|a| a.ip()).context("no IPv4 address")?;
    let arp = i32::from((libc::ETH_P_ARP as u16).to_be());
    let mut socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(arp)))?;
    bind(socket.as_raw_fd(), interface)?;
    socket.write_all(&question(mac, source, address))?;
    let deadline = Instant::now() + PATIENCE;
    let mut found = Vec::new();
    let mut buffer = [0; 64];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(found);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut buffer) {
            Ok(count) => {
                if let Some(mac) = answer(&buffer[..count], address).filter(|mac| !found.contains(mac)) {
                    found.push(mac);
                }
            }
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(e) => return Err(e).context("waiting for ARP"),
        }
    }
}

fn question(mac: [u8; 6], source: Ipv4Addr, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(source.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// Who says in this frame that it has the address.
fn answer(frame: &[u8], address: Ipv4Addr) -> Option<String> {
    let reply = frame.get(12..14)? == [0x08, 0x06] && frame.get(20..22)? == [0, 2];
    let about = frame.get(28..32)? == address.octets();
    let mac = frame.get(22..28)?.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":");
    (reply && about).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_about_the_address_that_was_asked_for() {
        let (asked, other) = (Ipv4Addr::new(10, 10, 0, 11), Ipv4Addr::new(10, 10, 0, 12));
        let mut frame = question([2, 0, 0, 0, 0, 9], asked, other);
        assert_eq!(frame.len(), 42);
        assert_eq!(answer(&frame, asked), None);
        frame[21] = 2;
        assert_eq!(answer(&frame, asked).as_deref(), Some("02:00:00:00:00:09"));
        assert_eq!(answer(&frame, other), None);
        assert_eq!(answer(&frame[..30], asked), None);
    }
}

//! Who holds an address: rendezvous hashing, computed by every node for itself. When a candidate dies, only
//! the addresses that it held move; when it returns, only those return.

use std::net::IpAddr;

use xxhash_rust::xxh3::xxh3_64_with_seed;

// Any constant does, as long as every node of a cluster has the same.
const SEED: u64 = 0x6567_7265_7431_0001;

/// What a candidate scores for an address; the highest score holds.
pub fn score(address: IpAddr, node: &str) -> u64 {
    let mut bytes = [0; 16];
    let length = match address {
        IpAddr::V4(a) => {
            bytes[..4].copy_from_slice(&a.octets());
            4
        }
        IpAddr::V6(a) => {
            bytes = a.octets();
            16
        }
    };
    xxh3_64_with_seed(node.as_bytes(), xxh3_64_with_seed(&bytes[..length], SEED))
}

/// Candidates in the order in which they hold the address: the first living one does.
pub fn ranking(address: IpAddr, candidates: &[String]) -> Vec<String> {
    let mut ranked: Vec<(u64, &String)> = candidates.iter().map(|c| (score(address, c), c)).collect();
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    ranked.dedup();
    ranked.into_iter().map(|(_, c)| c.clone()).collect()
}

/// The holder among the candidates that live.
pub fn holder(ranking: &[String], lives: impl Fn(&str) -> bool) -> Option<&str> {
    ranking.iter().map(String::as_str).find(|c| lives(c))
}

//! Who holds an address: rendezvous hashing, computed by every node for itself. When a candidate dies, only
//! the addresses that it held move; when it returns, only those return. Where the record says who is preferred, these
//! come first.

use std::cmp::Reverse;
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

/// How much the policies of a pool of nodes' own addresses prefer a node; the highest among the living is used. Two pools
/// over the same nodes need not prefer the same.
pub fn preference(pool: &str, node: &str) -> u64 {
    xxh3_64_with_seed(node.as_bytes(), xxh3_64_with_seed(pool.as_bytes(), SEED))
}

/// Places in the list of candidates, in the order in which they hold the address: the first living one does.
pub fn order(address: IpAddr, candidates: &[String], preferred: &[String]) -> Vec<usize> {
    let place = |candidate: &String| preferred.iter().position(|p| p == candidate).unwrap_or(usize::MAX);
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_cached_key(|at| {
        let candidate = candidates.get(*at);
        (candidate.map(place), Reverse(candidate.map(|c| score(address, c))), candidate)
    });
    order
}

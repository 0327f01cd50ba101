//! Many entries of a map in one system call (Linux 5.6).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use aya::Pod;

const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;
/// Entries of one call; more than any bucket holds.
const ENTRIES: usize = 1024;

/// `union bpf_attr` of the call: include/uapi/linux/bpf.h.
#[repr(C)]
#[derive(Default)]
struct Call {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// A walk over a map's entries. Entries that come or go meanwhile may be missed; those that stay are met once.
pub struct Walk<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
    /// Where the next call goes on; `None` before the first.
    bucket: Option<u32>,
}

impl<K: Pod + Default, V: Pod + Default> Walk<K, V> {
    /// At the beginning of a map.
    pub fn new() -> Self {
        Walk { keys: vec![K::default(); ENTRIES], values: vec![V::default(); ENTRIES], bucket: None }
    }

    /// Shows the next entries; false when there are no more.
    pub fn next(&mut self, map: BorrowedFd<'_>, mut see: impl FnMut(&K, &V)) -> io::Result<bool> {
        let (from, mut to) = (self.bucket.unwrap_or(0), 0_u32);
        let mut call = Call {
            in_batch: if self.bucket.is_some() { &raw const from as u64 } else { 0 },
            out_batch: &raw mut to as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: ENTRIES as u32,
            map: map.as_raw_fd() as u32,
            ..Call::default()
        };
        // SAFETY: the pointers are to live buffers of `count` keys and values of the map's own sizes (K and V are
        // the map's types), and to a bucket number, which is what a hash map writes; the kernel writes no more.
        let done =
            unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_BATCH, &raw mut call, size_of::<Call>()) };
        let ended = match done {
            0 => false,
            _ => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ENOENT) => true,
                error => return Err(error),
            },
        };
        let met = (call.count as usize).min(ENTRIES);
        self.keys[..met].iter().zip(&self.values[..met]).for_each(|(key, value)| see(key, value));
        self.bucket = Some(to);
        Ok(!ended)
    }
}

/// Shows all entries of a map.
pub fn all<K: Pod + Default, V: Pod + Default>(
    map: BorrowedFd<'_>,
    mut see: impl FnMut(&K, &V),
) -> io::Result<()> {
    let mut walk = Walk::new();
    while walk.next(map, &mut see)? {}
    Ok(())
}

/// Sets the first entries of an array.
pub fn set<V: Pod>(array: BorrowedFd<'_>, values: &[V]) -> io::Result<()> {
    let keys: Vec<u32> = (0..).take(values.len()).collect();
    let mut call = Call {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: keys.len() as u32,
        map: array.as_raw_fd() as u32,
        ..Call::default()
    };
    // SAFETY: the pointers are to live buffers of `count` keys and values of the map's own sizes (V is the map's type),
    // which the kernel only reads.
    match unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_UPDATE_BATCH, &raw mut call, size_of::<Call>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

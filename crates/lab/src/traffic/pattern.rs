//! The bytes of a connection: a function of the connection and the position, so that any loss, repetition,
//! exchange or change of a byte shows.

use std::ops::Range;

/// Fills `bytes` with the connection's bytes from `offset` on.
pub fn fill(id: u32, offset: u64, bytes: &mut [u8]) {
    for (at, part) in parts(offset, bytes.len()) {
        let word = word(id, at / 8);
        let from = (at % 8) as usize;
        let length = part.len();
        bytes[part].copy_from_slice(&word[from..from + length]);
    }
}

/// The position of the first of `bytes` that is not the connection's, if there is one.
pub fn first_wrong(id: u32, offset: u64, bytes: &[u8]) -> Option<u64> {
    parts(offset, bytes.len()).find_map(|(at, part)| {
        let from = (at % 8) as usize;
        let right = &word(id, at / 8)[from..from + part.len()];
        let own = &bytes[part];
        let wrong = || own.iter().zip(right).position(|(own, right)| own != right);
        if own == right { None } else { wrong().map(|n| at + n as u64) }
    })
}

/// Cuts so many bytes from `offset` on into parts of one word: each with its position and its place in the bytes.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let part = done..length.min(done + 8 - (at % 8) as usize);
        done = part.end;
        (!part.is_empty()).then_some((at, part))
    })
}

fn word(id: u32, number: u64) -> [u8; 8] {
    // SplitMix64's finishing steps.
    let mut mixed = (u64::from(id) << 40 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_is_right_where_it_belongs() {
        let mut whole = [0; 1000];
        fill(7, 0, &mut whole);
        for (from, to) in [(0, 1000), (1, 17), (3, 5), (200, 400), (399, 400), (16, 16)] {
            assert_eq!(first_wrong(7, from as u64, &whole[from..to]), None);
        }
    }

    #[test]
    fn a_shift_an_exchange_and_a_flip_are_wrong() {
        let mut whole = [0; 400];
        fill(7, 0, &mut whole);
        assert!(first_wrong(7, 1, &whole).is_some());
        assert!(first_wrong(8, 0, &whole).is_some());
        assert!(first_wrong(7, 200, &whole[..200]).is_some());
        whole[123] ^= 1;
        assert_eq!(first_wrong(7, 0, &whole), Some(123));
    }
}

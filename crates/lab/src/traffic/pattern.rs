//! The bytes of a connection: a function of the connection and the position, so that any loss, repetition,
//! exchange or change of a byte shows.

/// Fills `bytes` with the connection's bytes from `offset` on.
pub fn fill(id: u32, offset: u64, bytes: &mut [u8]) {
    bytes.iter_mut().zip(offset..).for_each(|(byte, at)| *byte = byte_at(id, at));
}

/// The position of the first of `bytes` that is not the connection's, if there is one.
pub fn first_wrong(id: u32, offset: u64, bytes: &[u8]) -> Option<u64> {
    bytes.iter().zip(offset..).find(|(byte, at)| **byte != byte_at(id, *at)).map(|(_, at)| at)
}

fn byte_at(id: u32, at: u64) -> u8 {
    // SplitMix64's finishing steps.
    let mut mixed = (u64::from(id) << 40 ^ (at / 8)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).to_le_bytes()[(at % 8) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_is_right_where_it_belongs() {
        let mut whole = [0; 1000];
        fill(7, 0, &mut whole);
        for (from, to) in [(0, 1000), (1, 17), (200, 400), (399, 400)] {
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

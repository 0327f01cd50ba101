//! A packet that left in pieces, put together again.

use crate::sums::sum;

const IP: usize = 14;
const MORE: u16 = 0x2000;
/// Nobody's to set (RFC 791): whoever set it finds it in every piece.
const RESERVED: u16 = 0x8000;

fn word(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[IP + at], frame[IP + at + 1]])
}

fn set(frame: &mut [u8], at: usize, value: u16) {
    frame[IP + at..IP + at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The sum over an IPv4 header without options: `0xffff` if its checksum is right.
pub fn header_sum(frame: &[u8]) -> u16 {
    sum(0, &frame[IP..IP + 20])
}

/// The packet whose pieces these are, in this order; what is wrong with them otherwise. `header` is the sum over the
/// header that came in: a checksum that was wrong must stay as wrong as it was, so that the receiver sees it.
pub fn joined(pieces: &[Vec<u8>], header: u16) -> Result<Vec<u8>, String> {
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
        return Err("no piece".to_owned());
    };
    let place = word(first, 6);
    let mut offset = place & 0x1fff;
    let mut payload = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let wrong = |what: &str| Err(format!("piece {number}: {what}: {:02x?}", &piece[..34]));
        let rest = &piece[IP + 20..];
        if piece[IP] != 0x45 || header_sum(piece) != header {
            return wrong("its header");
        }
        if usize::from(word(piece, 2)) != piece.len() - IP {
            return wrong("its length");
        }
        let same = |range: std::ops::Range<usize>| piece[range.clone()] == first[range];
        if !same(0..IP + 2) || !same(IP + 4..IP + 6) || !same(IP + 8..IP + 10) || !same(IP + 12..IP + 20) {
            return wrong("another packet's");
        }
        let more = number + 1 < pieces.len();
        if word(piece, 6) & 0x1fff != offset
            || word(piece, 6) & RESERVED != place & RESERVED
            || (more && (word(piece, 6) & !RESERVED & !0x1fff != MORE || rest.len() % 8 != 0))
        {
            return wrong("not in its place");
        }
        offset += (rest.len() / 8) as u16;
        payload.extend_from_slice(rest);
    }
    let mut whole = [&first[..IP + 20], &payload].concat();
    set(&mut whole, 2, (20 + payload.len()) as u16);
    set(&mut whole, 6, place & 0x1fff | word(last, 6) & !0x1fff);
    set(&mut whole, 10, 0);
    let check = sum(header.into(), &(!header_sum(&whole)).to_be_bytes());
    set(&mut whole, 10, check);
    Ok(whole)
}

//! What is done to a frame. Some of it is only unusual, and leaves every checksum right.

use crate::dice::Dice;
use crate::sums::sum;

/// The longest frame that can be run by hand.
const LONGEST: usize = 2000;
const IP: usize = 14;

pub fn spoil(dice: &mut Dice, frame: &mut Vec<u8>) {
    for _ in 0..1 + dice.below(2) {
        one(dice, frame);
    }
    frame.truncate(LONGEST);
    frame.resize(frame.len().max(IP + 1), 0);
    frame.resize(frame.len().max(shortest(frame)), 0);
}

/// The kernel runs no program by hand on less than the header that the frame promises.
fn shortest(frame: &[u8]) -> usize {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => IP + 20,
        Some([0x86, 0xdd]) => IP + 40,
        _ => IP + 1,
    }
}

fn one(dice: &mut Dice, frame: &mut Vec<u8>) {
    let v4 = frame.get(12..14) == Some(&[8, 0]);
    match dice.below(14) {
        0 => {}
        1 => frame.truncate(dice.below(frame.len().max(1))),
        2 | 3 => flip(dice, frame, 0),
        4 => flip(dice, frame, IP),
        5 => lengths(dice, frame, v4),
        6 => fragment(dice, frame, v4),
        7 if v4 => options(dice, frame),
        7..=9 if !v4 => extensions(dice, frame),
        8 => set(frame, IP, 0x40 | dice.below(16) as u8),
        9 => set(frame, IP + 20 + 12, (dice.below(16) as u8) << 4),
        10 => quote_garbage(dice, frame, v4),
        11 => frame.extend((0..dice.below(64)).map(|at| at as u8)),
        12 => set(frame, 12 + dice.below(2), dice.pick(&[0x08, 0x00, 0x06, 0x86, 0xdd, 0x88, 0xb5, 0x81])),
        _ => noise(dice, frame),
    }
}

fn set(frame: &mut [u8], at: usize, byte: u8) {
    if let Some(old) = frame.get_mut(at) {
        *old = byte;
    }
}

fn flip(dice: &mut Dice, frame: &mut [u8], from: usize) {
    if frame.len() <= from {
        return;
    }
    for _ in 0..1 + dice.below(6) {
        let at = from + dice.below((frame.len() - from).min(80));
        let byte = dice.bits() as u8;
        set(frame, at, byte);
    }
}

/// Makes the header's checksum right again.
fn settle(frame: &mut [u8]) {
    let Some(length) = frame.get(IP).map(|first| usize::from(first & 15) * 4) else { return };
    if length < 20 || frame.len() < IP + length {
        return;
    }
    frame[IP + 10..IP + 12].fill(0);
    let check = !sum(0, &frame[IP..IP + length]);
    frame[IP + 10..IP + 12].copy_from_slice(&check.to_be_bytes());
}

fn lengths(dice: &mut Dice, frame: &mut [u8], v4: bool) {
    let at = if v4 { dice.pick(&[IP + 2, IP + 20 + 4]) } else { dice.pick(&[IP + 4, IP + 40 + 4]) };
    let length = dice.pick(&[0_u16, 1, 8, 19, 20, 28, 60, 1500, u16::MAX]);
    let [high, low] = length.to_be_bytes();
    set(frame, at, high);
    set(frame, at + 1, low);
    if v4 {
        settle(frame);
    }
}

/// Pieces that overlap, begin at odd places, or are first and last.
fn fragment(dice: &mut Dice, frame: &mut Vec<u8>, v4: bool) {
    let place = dice.pick(&[0_u16, 1, 2, 185, 0x1fff]);
    let more = dice.percent(50);
    if v4 {
        let [high, low] = (place | u16::from(more) << 13).to_be_bytes();
        set(frame, IP + 6, high);
        set(frame, IP + 7, low);
        settle(frame);
    } else if frame.len() > IP + 40 {
        let [high, low] = (place << 3 | u16::from(more)).to_be_bytes();
        let next = std::mem::replace(&mut frame[IP + 6], 44);
        frame.splice(IP + 40..IP + 40, [next, 0, high, low, 0, 0, 0, 1 + dice.below(4) as u8]);
        grow(frame, 8);
    }
}

fn grow(frame: &mut [u8], by: u16) {
    let length = u16::from_be_bytes([frame[IP + 4], frame[IP + 5]]).wrapping_add(by);
    frame[IP + 4..IP + 6].copy_from_slice(&length.to_be_bytes());
}

/// Options in the header: unusual, and not wrong.
fn options(dice: &mut Dice, frame: &mut Vec<u8>) {
    if frame.len() < IP + 20 || frame[IP] != 0x45 {
        return;
    }
    let words = 1 + dice.below(10);
    frame.splice(IP + 20..IP + 20, std::iter::repeat_n(1, words * 4));
    frame[IP] = 0x45 + words as u8;
    let length = u16::from_be_bytes([frame[IP + 2], frame[IP + 3]]).wrapping_add(words as u16 * 4);
    frame[IP + 2..IP + 4].copy_from_slice(&length.to_be_bytes());
    settle(frame);
}

/// A chain of extension headers, of known kinds and unknown.
fn extensions(dice: &mut Dice, frame: &mut Vec<u8>) {
    if frame.len() < IP + 40 {
        return;
    }
    for _ in 0..1 + dice.below(7) {
        let kind = dice.pick(&[0, 43, 60, 60, 44, 51, 59, 135]);
        let eights = dice.pick(&[0, 0, 0, 1, 3, 20, 255]);
        let next = std::mem::replace(&mut frame[IP + 6], kind);
        let length = if kind == 44 || dice.percent(10) { 8 } else { (eights + 1) * 8 };
        let mut extension = vec![0; length];
        extension[0] = next;
        extension[1] = if kind == 44 { 0 } else { eights as u8 };
        frame.splice(IP + 40..IP + 40, extension);
        grow(frame, length as u16);
    }
}

/// Becomes an ICMP error about bytes that are no packet, or about itself.
fn quote_garbage(dice: &mut Dice, frame: &mut Vec<u8>, v4: bool) {
    let header = if v4 { 20 } else { 40 };
    if frame.len() < IP + header {
        return;
    }
    let quoted = match dice.below(3) {
        0 => frame[IP..].to_vec(),
        1 => (0..dice.below(80)).map(|_| dice.bits() as u8).collect(),
        _ => {
            let mut quoted = frame[IP..].to_vec();
            flip(dice, &mut quoted, 0);
            quoted.truncate(dice.below(80));
            quoted
        }
    };
    frame.truncate(IP + header);
    frame.extend([if v4 { 3 } else { 1 }, 1, 0, 0, 0, 0, 0, 0]);
    frame.extend(quoted);
    let (src, dst) = crate::reading::addresses(frame).unwrap_or(([0; 4].into(), [0; 4].into()));
    let number = if v4 { 1 } else { 58 };
    frame[IP + if v4 { 9 } else { 6 }] = number;
    let length = (frame.len() - IP - if v4 { 0 } else { 40 }) as u16;
    let at = IP + if v4 { 2 } else { 4 };
    frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
    let start = crate::sums::pseudo(src, dst, number, frame.len() - IP - header);
    let check = !sum(start, &frame[IP + header..]);
    frame[IP + header + 2..IP + header + 4].copy_from_slice(&check.to_be_bytes());
    if v4 {
        settle(frame);
    }
}

fn noise(dice: &mut Dice, frame: &mut [u8]) {
    let from = dice.pick(&[IP, IP + 20, IP + 28, IP + 40, IP + 48]);
    frame.iter_mut().skip(from).for_each(|byte| *byte = dice.bits() as u8);
}

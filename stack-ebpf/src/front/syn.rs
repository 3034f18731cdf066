//! A SYN that is not laid out as Linux does it: its options one by one, its text piece by piece.
//!
//! Functions of their own, with all that they need in memory of which the verifier knows nothing: so it has
//! one state before and after each, not one for each way.

use core::mem::size_of;

use super::answer::{Defence, Scratch, Wire};
use super::options::{self, Offers};
use super::sum::{self, Chunk};

/// A SYN that has to be read piece by piece.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Syn {
    /// Where its segment begins.
    pub at: u64,
    /// The header's length.
    pub header: u64,
    /// Its length.
    pub length: u64,
    /// The sum of its pseudo-header.
    pub sum: u64,
    /// Not zero: its checksum does not matter.
    pub is_trusted: u64,
}

impl Syn {
    /// None yet.
    pub const NONE: Self = Self { at: 0, header: 0, length: 0, sum: 0, is_trusted: 0 };
}

/// Reads the options of any SYN, and whether its checksum is right; gives [`SOUND`], or what is wrong.
#[inline(never)]
pub(super) fn read<W: Wire, D: Defence>(defence: &D, wire: &W, scratch: &mut Scratch) -> u64 {
    let (syn, header) = (scratch.syn, &mut scratch.header);
    if !wire.load(syn.at as usize, syn.header as usize, header) {
        return defence.unknown(CUT);
    }
    let sum = match syn.is_trusted {
        0 => sum_of_text(defence, wire, (syn, header.sum()), &mut scratch.text),
        _ => Some(0),
    };
    match sum {
        Some(0) => {}
        Some(_) => return defence.unknown(UNSOUND),
        None => return defence.unknown(LONG),
    }
    match parse(defence, header, syn.header, &mut scratch.offers) {
        true => defence.unknown(SOUND),
        false => defence.unknown(ODD),
    }
}

/// What the checksum over a segment whose header has this sum comes to, which is zero where it is right;
/// `None` where it is too long to be summed here.
#[inline(always)]
fn sum_of_text<W: Wire, D: Defence>(
    defence: &D,
    wire: &W,
    (syn, header): (Syn, u64),
    text: &mut Chunk,
) -> Option<u16> {
    let (mut at, mut left) = (syn.at + syn.header, syn.length.wrapping_sub(syn.header));
    let mut sum = syn.sum + header;
    for _ in 0..CHUNKS {
        // All that the verifier could follow from piece to piece.
        (at, left, sum) = (defence.unknown(at), defence.unknown(left), defence.unknown(sum));
        if left == 0 {
            return Some(sum::finish(sum));
        }
        let next = if left < size_of::<Chunk>() as u64 { left } else { size_of::<Chunk>() as u64 };
        if !wire.load(at as usize, next as usize, text) {
            return None;
        }
        sum += text.sum();
        at += next;
        left -= next;
    }
    None
}

/// As [`options::parse`], with what is offered written where it is wanted.
#[inline(never)]
fn parse<D: Defence>(defence: &D, header: &Chunk, length: u64, offers: &mut Offers) -> bool {
    match options::parse(header, length, |value| defence.unknown(value)) {
        Some(found) => {
            *offers = found;
            defence.unknown(1) != 0
        }
        None => false,
    }
}

/// The SYN can be answered.
pub(super) const SOUND: u64 = 0;
/// The frame ends within its header.
pub(super) const CUT: u64 = 1;
/// Its checksum is wrong.
pub(super) const UNSOUND: u64 = 2;
/// It is too long to be summed here.
pub(super) const LONG: u64 = 3;
/// It has an option of impossible length.
const ODD: u64 = 4;
/// Pieces of a SYN's text that are summed: 1536 octets.
const CHUNKS: usize = 24;

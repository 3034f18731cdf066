//! The front line: what the program does with segments for a listener whose gate is closed, before a
//! byte of them reaches user space.
//!
//! A SYN of no flow is answered by a cookie, in place. An acknowledgment that answers one goes to the
//! shard with what it proves. What belongs to a flow goes to the shard that has it. The rest is a
//! stray. A gate is closed by its shard, for a listener of its own and for its own receive queue.
//!
//! Owns the layout of what user space tells, and the decision. Frames that are odd in a way that real
//! ones hardly are (IP options, extension headers) are left to the shard, which does the same itself.

use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cookie::Keys;
use crate::siphash::Key;

mod answer;
mod budget;
mod grant;
mod options;
mod reply;
mod segment;
mod sieve;
mod sum;
mod syn;

pub use answer::{Defence, Scratch, Wire, defend, defend_ipv4, defend_ipv6, is_ipv6};
pub use budget::Budget;
pub use grant::{Caller, Grant, Said, Terms, caller, grant};
pub use sieve::Sieve;
pub use sum::Chunk;

/// What holds for every queue; the one value of [`crate::contract::FRONT`]. All zero: nothing is
/// answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Front {
    /// The keys of cookies. Those of the next epoch are written long before it begins.
    pub keys: Keys,
    /// The key under which flows are found ([`crate::flow::FlowName::fingerprint`]).
    pub flow: Key,
    /// The kernel's monotonic clock, in ns, when the shards' clock was at zero.
    pub origin: u64,
    /// Says that a record ahead of a frame was written by this run's program. Never zero.
    pub nonce: u64,
    /// Nanoseconds of each CPU's budget for a stray that goes to a shard; zero lets none through.
    pub stray_cost: u64,
    /// Nanoseconds of each CPU's budget for a RST that is sent here; zero sends none.
    pub reset_cost: u64,
    /// Buckets of each shard's region of flows.
    pub buckets: u32,
    /// Shards, one for each receive queue.
    pub shards: u32,
    /// Doors of each queue.
    pub doors: u32,
    /// Bits: [`Front::TRUSTS_CHECKSUMS`].
    pub flags: u32,
    /// The octet of the Differentiated Services field in answers.
    pub traffic_class: u32,
    /// The hops that answers may travel.
    pub hop_limit: u32,
    /// Zero, which only user space knows: it keeps the verifier from following what it need not.
    pub zero: u64,
}

impl Front {
    /// Checksums of SYNs are not verified.
    pub const TRUSTS_CHECKSUMS: u32 = 1;
}

/// What a shard says of itself; a value of [`crate::contract::GATES`], at the number of the shard and of
/// its queue.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Gate {
    /// How many of its doors are closed. While it is zero nothing here is looked at.
    pub closed: u64,
    /// Not zero: every flow of the shard stands in its region of the array.
    pub is_complete: u64,
    rest: [u64; 6],
}

impl Gate {
    /// A gate with so many closed doors, and whether every flow is known.
    pub const fn new(closed: u64, is_complete: bool) -> Self {
        Self { closed, is_complete: is_complete as u64, rest: [0; 6] }
    }

    /// The word of [`Gate::closed`].
    pub const CLOSED: usize = 0;
    /// The word of [`Gate::is_complete`].
    pub const IS_COMPLETE: usize = 1;
    /// Words of a gate.
    pub const WORDS: usize = size_of::<Self>() / 8;
}

/// A listener at one queue; a value of [`crate::contract::DOORS`], at the queue's number times
/// [`Front::doors`] plus the listener's place. All zero: open.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Door {
    /// Not zero: SYNs are answered by cookies, here.
    pub is_closed: u64,
    /// The windows of SYN-ACKs: IPv4, IPv4 with timestamps, IPv6, IPv6 with timestamps.
    pub windows: [u16; 4],
    /// The most text that we take in a segment: IPv4, IPv6.
    pub mss: [u16; 2],
    /// The window shift that is offered to who offers one.
    pub scale: u8,
    /// Bits: [`Door::WINDOW_SCALING`], [`Door::SACK`], [`Door::TIMESTAMPS`].
    pub options: u8,
    pad: [u8; 2],
    rest: u64,
}

impl Door {
    /// Window scaling is taken.
    pub const WINDOW_SCALING: u8 = 1;
    /// SACK is taken.
    pub const SACK: u8 = 1 << 1;
    /// Timestamps are taken.
    pub const TIMESTAMPS: u8 = 1 << 2;
    /// Words of a door.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// A closed door for a listener that offers these: windows, both MSS, the shift, the options.
    pub const fn closed(windows: [u16; 4], mss: [u16; 2], scale: u8, options: u8) -> Self {
        Self { is_closed: 1, windows, mss, scale, options, pad: [0; 2], rest: 0 }
    }
}

/// What the program says of a frame, in the bytes ahead of it. What a worker finds there may be of an
/// earlier frame, or somebody else's: it counts only where nonce, length, fingerprint and numbers are
/// those of this frame.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Record {
    /// [`Front::nonce`].
    pub nonce: u64,
    /// The flow's hash.
    pub fingerprint: u64,
    /// The frame's length in octets.
    pub length: u32,
    /// The segment's sequence number.
    pub sequence: u32,
    /// The segment's acknowledgment number.
    pub acknowledgment: u32,
    /// The shard that has the flow; [`Record::NOBODY`] where none is known.
    pub owner: u16,
    /// The index of the MSS of a valid cookie that it acknowledges; [`Record::NO_COOKIE`] without.
    pub mss: u8,
    /// The lower bits of the period in which that was found.
    pub period: u8,
}

impl Record {
    /// Says nothing.
    pub const EMPTY: Self = Self {
        nonce: 0,
        fingerprint: 0,
        length: 0,
        sequence: 0,
        acknowledgment: 0,
        owner: Self::NOBODY,
        mss: Self::NO_COOKIE,
        period: 0,
    };
    /// No shard is known to have the flow.
    pub const NOBODY: u16 = u16::MAX;
    /// No cookie was found.
    pub const NO_COOKIE: u8 = u8::MAX;
}

/// The most shards whose regions are looked at, that of the frame's queue first; of the rest nothing is
/// known. The verifier walks through each.
pub const MAX_SHARDS: u32 = 16;

const _: () = assert!(size_of::<Front>() == 64 + 16 + 4 * 8 + 6 * 4 + 8);
const _: () = assert!(size_of::<Gate>() == 64 && size_of::<Door>() == 32);
const _: () = assert!(size_of::<Record>() == 32);

#[cfg(test)]
mod ground;
#[cfg(test)]
mod tests;

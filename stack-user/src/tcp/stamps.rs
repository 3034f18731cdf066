//! The timestamps of one connection.

use crate::time::Instant;

/// The timestamps option (RFC 7323, section 4).
#[derive(Debug, Default)]
pub(super) struct Stamps {
    /// TS.Recent.
    pub recent: u32,
    /// When TS.Recent was taken, in milliseconds.
    pub recent_at: u32,
    /// What is added to the clock of milliseconds.
    pub offset: u32,
}

impl Stamps {
    /// TSval for a segment sent now.
    pub fn value(&self, now: Instant) -> u32 {
        stamp_clock(now).wrapping_add(self.offset)
    }
}

/// The clock of timestamps: milliseconds.
pub(super) fn stamp_clock(now: Instant) -> u32 {
    stack_ebpf::flow::stamp_clock(now.as_nanos())
}

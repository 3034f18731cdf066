//! The yes-or-no state of a connection in its shard.
//!
//! Owns the bits, and nothing of when they are set.

#[cfg(doc)]
use super::inner::Conn;

/// A bit of [`Marks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Mark {
    /// Counted as closed for good by its user.
    Orphan = 1,
    /// On the dirty list.
    Dirty = 1 << 1,
    /// Waits for its next hop.
    Waiting = 1 << 2,
    /// Waits for room in the pool.
    Starved = 1 << 3,
    /// The service asked for its unconsumed text again.
    Resumed = 1 << 4,
    /// The service opened it.
    Active = 1 << 5,
    /// The service has seen the connection open.
    Known = 1 << 6,
    /// The peer's FIN is here, and the service has not been told.
    FinPending = 1 << 7,
    /// No longer in the flow table: only unread text is left.
    Detached = 1 << 8,
    /// Somebody outside of the service may come to read what is left.
    Held = 1 << 9,
    /// Changed since its record was written.
    Stale = 1 << 10,
    /// On the dirty list, and the wheel may not know of its deadline yet.
    Unarmed = 1 << 11,
    /// Its alarm may be set.
    Armed = 1 << 12,
    /// On the dirty list, and found to owe what [`Conn::owes_ack_alone`] says when it was last settled.
    AckAlone = 1 << 13,
    /// Its addresses are of IPv4.
    V4 = 1 << 14,
}

/// Yes-or-no state of a connection in its shard, a bit each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks(u16);

impl Marks {
    /// No mark.
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn has(self, mark: Mark) -> bool {
        self.0 & mark as u16 != 0
    }

    /// Whether it has any of these.
    pub(super) const fn has_any_of(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// These, and one more.
    pub(super) const fn with(self, mark: Mark) -> Self {
        Self(self.0 | mark as u16)
    }

    pub(super) fn set(&mut self, mark: Mark, on: bool) {
        if on { self.0 |= mark as u16 } else { self.0 &= !(mark as u16) }
    }

    /// Takes a mark away; whether it was there.
    pub(super) fn take(&mut self, mark: Mark) -> bool {
        let was = self.has(mark);
        self.set(mark, false);
        was
    }
}

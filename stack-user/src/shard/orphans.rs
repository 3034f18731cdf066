//! Connections that hold resources for nobody: those whose user has closed for good, and those whose
//! peer takes nothing. Their number is bounded, and they go first when memory runs out.

use std::collections::VecDeque;

use super::Shard;
use super::inner::{Conn, Core, Mark};
use crate::counters::Counter;
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};

/// What a shard knows of such connections.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// How many connections their users have closed for good.
    count: usize,
    /// Connections that hold memory and do not get rid of it, the first that got stuck first: index
    /// and serial number. An entry whose connection has another serial number is of the past.
    stuck: VecDeque<(u32, u32)>,
    /// Entries of `stuck` that are of the past.
    stale: usize,
    serial: u32,
}

impl Orphans {
    /// Sees what a connection has become. Whether it is an orphan too many: more than `limit`.
    #[inline]
    pub(super) fn note(&mut self, index: u32, conn: &mut Conn, limit: usize) -> bool {
        let is_stuck = conn.tcb.is_stuck();
        if is_stuck && conn.stuck == 0 {
            self.serial = self.serial.wrapping_add(1).max(1);
            conn.stuck = self.serial;
            self.stuck.push_back((index, conn.stuck));
        } else if !is_stuck && conn.stuck != 0 {
            conn.stuck = 0;
            self.stale += 1;
        }
        let is_new = !conn.marks.has(Mark::Orphan) && conn.tcb.is_orphan();
        if is_new {
            conn.marks.set(Mark::Orphan, true);
            self.count += 1;
        }
        // CM-5.h.
        is_new && self.count > limit
    }

    /// Whether entries of the past outnumber the others by much.
    #[inline]
    pub(super) fn wants_compacting(&self) -> bool {
        self.stale > STALE + self.stuck.len() / 2
    }
}

impl Core {
    /// A connection leaves its table.
    pub(super) fn forget_orphan(&mut self, (is_orphan, stuck): (bool, u32)) {
        self.orphans.count -= usize::from(is_orphan);
        self.orphans.stale += usize::from(stuck != 0);
        if self.orphans.wants_compacting() {
            self.compact_stuck();
        }
    }

    /// How many connections their users have closed for good.
    pub(super) fn orphans(&self) -> usize {
        self.orphans.count
    }

    /// Forgets entries of the past.
    #[cold]
    pub(super) fn compact_stuck(&mut self) {
        let conns = &self.conns;
        let is_current = |(index, serial): &(u32, u32)| {
            conns.get(*index).is_some_and(|conn| conn.stuck == *serial)
        };
        self.orphans.stuck.retain(is_current);
        self.orphans.stale = 0;
    }

    /// The next connection to reset for the sake of memory: the first that got stuck, unless its user
    /// still waits for it and it has not been stuck for long.
    fn next_victim(&mut self, now: Instant) -> Option<u32> {
        let mut at = 0;
        while at < LOOK_AT.min(self.orphans.stuck.len()) {
            let (index, serial) = self.orphans.stuck[at];
            let conn = self.conns.get(index).filter(|conn| conn.stuck == serial);
            let Some(conn) = conn.filter(|conn| conn.tcb.is_stuck()) else {
                self.orphans.stuck.remove(at);
                self.orphans.stale = self.orphans.stale.saturating_sub(1);
                continue;
            };
            let grace = if conn.tcb.is_orphan() { ORPHAN_GRACE } else { GRACE };
            if conn.tcb.silence(now) >= grace {
                return Some(index);
            }
            at += 1;
        }
        None
    }
}

impl Shard {
    /// Connections that their users have closed for good and that still live.
    pub fn orphans(&self) -> usize {
        self.core.orphans()
    }

    /// The third mark of the pool: new data is dropped, and whoever holds memory for nobody is reset
    /// until there is room again.
    #[inline]
    pub(super) fn relieve(&mut self, now: Instant) {
        if self.core.pool.is_exhausted() {
            self.reset_victims(now);
        }
    }

    #[cold]
    fn reset_victims(&mut self, now: Instant) {
        for _ in 0..LOOK_AT {
            if !self.core.pool.is_exhausted() {
                return;
            }
            let Some(index) = self.core.next_victim(now) else { return };
            self.reset_for_memory(index, now);
        }
    }

    /// Resets a connection that there is no room for.
    pub(super) fn reset_for_memory(&mut self, index: u32, now: Instant) {
        let Some((conn, mut env)) = self.core.conn_env(index) else { return };
        env.counters.count(Counter::AbortsOnMemory);
        conn.tcb.abort_with(CloseReason::NoResources, &mut env);
        self.settle(index, now);
    }
}

/// How long a window has to be closed before a connection that somebody wants is reset for it.
const GRACE: Duration = Duration::from_secs(60);
/// As [`GRACE`], for one that nobody waits for. Where thousands of senders share a link that loses
/// much, all of their half of the pool is taken and a timeout or two are nothing to die of.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);
/// The most connections looked at, and the most reset, in one turn.
const LOOK_AT: usize = 64;
/// Entries of the past that are not worth clearing out.
const STALE: usize = 64;

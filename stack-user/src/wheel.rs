//! The hierarchical timer wheel: a key and a generation for each deadline.
//!
//! Owns deadlines alone: what a key means, and whether its generation is still wanted, is the
//! caller's to know, so that cancelling costs nothing. Six levels of 64 slots cover 2^36 ticks;
//! what lies beyond waits in a list of its own. Six bits of the tick choose the slot on each level,
//! and an entry lies on the level of the highest group of bits in which its tick differs from the
//! wheel's: every entry of a lower level is therefore earlier than all of a higher one.
#![forbid(unsafe_code)]

use crate::time::{Duration, Instant};

mod alarm;
mod pool;

pub use alarm::{Alarm, Alarms};
use pool::{Chain, Entry, Pool, Taken};

/// A timer wheel.
pub struct Wheel {
    /// The origin of ticks, in nanoseconds.
    origin: u64,
    /// The length of a tick, in nanoseconds.
    tick: u64,
    /// Every entry before this tick has fired.
    elapsed: u64,
    /// When the time has to be followed again, in nanoseconds; in the past where others have moved on.
    followed: u64,
    /// Entries not fired yet.
    len: usize,
    /// A bit for each slot that is not empty.
    occupied: [u64; LEVELS],
    slots: [[Chain; SLOTS]; LEVELS],
    /// A slot whose entries are being spread over the lower levels: its level and its number. The
    /// wheel's tick has reached its start.
    cascading: Option<(usize, usize)>,
    /// Entries beyond the horizon, in no order.
    far: Vec<Far>,
    pool: Pool,
}

/// An entry that no level can hold yet.
#[derive(Clone, Copy)]
struct Far {
    tick: u64,
    key: u32,
    generation: u32,
}

/// The next thing to do.
enum Step {
    /// Entries of a slot of the lowest level fire, at this tick.
    Fire(u64),
    /// A slot of this level is spread over the lower ones, from this tick on.
    Cascade { level: usize, slot: usize, start: u64 },
    /// Far entries come within the horizon, at this tick.
    Approach(u64),
}

impl Wheel {
    /// A wheel that is exact to `tick` (a zero one counts as a nanosecond), beginning at `now`.
    pub fn new(tick: Duration, now: Instant) -> Self {
        Self {
            origin: now.as_nanos(),
            tick: u64::try_from(tick.as_nanos()).unwrap_or(u64::MAX).max(1),
            elapsed: 0,
            followed: 0,
            len: 0,
            occupied: [0; LEVELS],
            slots: [[Chain::EMPTY; SLOTS]; LEVELS],
            cascading: None,
            far: Vec::new(),
            pool: Pool::default(),
        }
    }

    /// How many entries have not fired, those that nobody wants any more included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes `key` and `generation` fire at `deadline`. One that has passed fires at the next call of
    /// [`Wheel::expire`]; [`Instant::NEVER`] makes no entry.
    #[inline]
    pub fn arm(&mut self, key: u32, generation: u32, deadline: Instant) {
        if deadline == Instant::NEVER {
            return;
        }
        self.insert(self.tick_of(deadline), key, generation);
    }

    /// Follows the time while there is no entry: what is then entered is not further ahead than it
    /// seems.
    #[inline]
    pub fn keep_up(&mut self, now: Instant) {
        // Most turns begin in the tick of the one before: a division takes longer than that to see.
        if self.len == 0 && now.as_nanos() >= self.followed {
            let since = now.as_nanos().saturating_sub(self.origin);
            self.elapsed = self.elapsed.max(self.ticks(since));
            let next = (self.elapsed + 1).saturating_mul(self.tick);
            self.followed = self.origin.saturating_add(next);
        }
    }

    /// The first tick that is not before `deadline`.
    #[inline]
    fn tick_of(&self, deadline: Instant) -> u64 {
        let since = deadline.as_nanos().saturating_sub(self.origin);
        let ticks = self.ticks(since);
        if ticks * self.tick < since { ticks + 1 } else { ticks }
    }

    /// How many whole ticks so many nanoseconds have. By a number that the compiler knows it divides by
    /// multiplication, in a sixth of the time: a tick is a millisecond wherever somebody waits for it.
    #[inline]
    fn ticks(&self, nanos: u64) -> u64 {
        match self.tick {
            NANOS_PER_MILLI => nanos / NANOS_PER_MILLI,
            tick => nanos / tick,
        }
    }

    #[inline]
    fn insert(&mut self, tick: u64, key: u32, generation: u32) {
        self.len += 1;
        self.place(Far { tick: tick.max(self.elapsed), key, generation });
    }

    /// When [`Wheel::expire`] has something to do: never later than the earliest deadline rounded up
    /// to its tick, often earlier, in the past when a budget left work undone.
    #[inline]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.len == 0 {
            return None;
        }
        let (Step::Fire(tick) | Step::Cascade { start: tick, .. } | Step::Approach(tick)) =
            self.next_step()?;
        Some(Instant::from_nanos(self.origin.saturating_add(tick.saturating_mul(self.tick))))
    }

    /// Fires what is due at `now`, and never what is not; a deadline fires at the latest when `now`
    /// is a tick past it. `fired` is told key and generation, in no particular order.
    ///
    /// At most `budget` entries are touched, those that only move to a lower level included. Work was
    /// left undone if `next_deadline` is not after `now` when this returns. Returns how many fired.
    pub fn expire(
        &mut self,
        now: Instant,
        budget: usize,
        fired: &mut impl FnMut(u32, u32),
    ) -> usize {
        let due = self.ticks(now.as_nanos().saturating_sub(self.origin));
        let mut left = budget;
        let mut count = 0;
        while left > 0 {
            match self.next_step() {
                Some(Step::Fire(tick)) if tick <= due => {
                    self.elapsed = tick;
                    let n = self.fire((tick % SLOTS as u64) as usize, left, fired);
                    left -= n;
                    count += n;
                }
                Some(Step::Cascade { level, slot, start }) if start <= due => {
                    self.elapsed = start;
                    left -= self.cascade(level, slot, left);
                }
                Some(Step::Approach(tick)) if tick <= due => {
                    self.elapsed = tick;
                    left = left.saturating_sub(self.approach());
                }
                _ => {
                    // Nothing lies before the next tick, so no entry changes its level.
                    self.elapsed = self.elapsed.max(due);
                    break;
                }
            }
        }
        count
    }

    /// What comes first. The lowest level that is not empty has it.
    #[inline]
    fn next_step(&self) -> Option<Step> {
        if let Some((level, slot)) = self.cascading {
            return Some(Step::Cascade { level, slot, start: self.elapsed });
        }
        if let Some(level) = self.occupied.iter().position(|bits| *bits != 0) {
            // Slots before the wheel's own position are empty on every level.
            let slot = self.occupied[level].trailing_zeros() as usize;
            let start = self.slot_start(level, slot);
            return Some(match level {
                0 => Step::Fire(start),
                _ => Step::Cascade { level, slot, start },
            });
        }
        let earliest = self.far.iter().map(|far| far.tick).min()?;
        Some(Step::Approach(earliest >> HORIZON_BITS << HORIZON_BITS))
    }

    /// The first tick of a slot, in the wheel's present turn of that level.
    #[inline]
    fn slot_start(&self, level: usize, slot: usize) -> u64 {
        let shift = level as u32 * BITS;
        let above = self.elapsed >> (shift + BITS) << (shift + BITS);
        above | (slot as u64) << shift
    }

    /// Puts an entry, due at the wheel's tick or later, where it belongs.
    #[inline]
    fn place(&mut self, entry: Far) {
        let Far { tick, key, generation } = entry;
        // The highest bit that differs; the lowest level where none does.
        let top = 63 - ((tick ^ self.elapsed) | 1).leading_zeros();
        let level = (top / BITS) as usize;
        if level >= LEVELS {
            self.far.push(entry);
            return;
        }
        let shift = level as u32 * BITS;
        let slot = ((tick >> shift) % SLOTS as u64) as usize;
        // A slot of the top level spans 2^30 ticks, so the offset fits.
        let offset = (tick & ((1 << shift) - 1)) as u32;
        self.pool.push(&mut self.slots[level][slot], Entry { key, generation, offset });
        self.occupied[level] |= 1 << slot;
    }

    /// Fires at most `budget` entries of a slot of the lowest level.
    fn fire(&mut self, slot: usize, budget: usize, fired: &mut impl FnMut(u32, u32)) -> usize {
        let (mut count, mut taken) = (0, Taken::default());
        while count < budget {
            let n = self.pool.take(&mut self.slots[0][slot], budget - count, &mut taken);
            taken[..n].iter().for_each(|entry| fired(entry.key, entry.generation));
            count += n;
            if n == 0 {
                break;
            }
        }
        if self.slots[0][slot].is_empty() {
            self.occupied[0] &= !(1 << slot);
        }
        self.len -= count;
        count
    }

    /// Spreads at most `budget` entries of a slot over the levels below; its start is the wheel's
    /// tick. An unfinished one is gone on with before anything else, for it may hold what is due.
    fn cascade(&mut self, level: usize, slot: usize, budget: usize) -> usize {
        self.cascading = Some((level, slot));
        let start = self.elapsed;
        let (mut moved, mut taken) = (0, Taken::default());
        while moved < budget {
            let n = self.pool.take(&mut self.slots[level][slot], budget - moved, &mut taken);
            for Entry { key, generation, offset } in &taken[..n] {
                let tick = start + u64::from(*offset);
                self.place(Far { tick, key: *key, generation: *generation });
            }
            moved += n;
            if n == 0 {
                break;
            }
        }
        if self.slots[level][slot].is_empty() {
            self.occupied[level] &= !(1 << slot);
            self.cascading = None;
        }
        moved
    }

    /// Brings far entries within the horizon in. Happens once in 2^36 ticks, so the whole list is
    /// looked through at once.
    fn approach(&mut self) -> usize {
        let far = core::mem::take(&mut self.far);
        let looked_at = far.len();
        for entry in far {
            self.place(entry);
        }
        looked_at
    }
}

const NANOS_PER_MILLI: u64 = 1_000_000;
/// Bits of the tick that choose a slot.
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 6;
/// Ticks that differ above these bits are beyond the horizon.
const HORIZON_BITS: u32 = BITS * LEVELS as u32;

#[cfg(test)]
mod tests;

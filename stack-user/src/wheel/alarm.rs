//! The entries of the wheel that one key has: few, however often its deadline moves.
//!
//! A deadline that moves to an earlier time needs a new entry, and the old one cannot be taken out.
//! Forgetting it would leave one behind with each delayed ACK before a keepalive, for two hours each
//! time. So an alarm remembers its entries and counts on them again.

use super::Wheel;
use crate::time::Instant;

/// Which entries of the wheel belong to a key, by their marks: the earliest first, all different, and
/// zero where there are no more. They outlive whoever the key names, for its next tenant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alarm {
    /// An entry's mark is its generation: [`PRESENT`], and the lower bits of its tick.
    marks: [u32; MOST],
}

impl Alarm {
    /// Whether an entry that fired is one of these, which it then no longer is.
    pub fn take(&mut self, generation: u32) -> bool {
        let Some(at) = self.entries().iter().position(|mark| *mark == generation) else {
            return false;
        };
        self.marks.copy_within(at + 1.., at);
        self.marks[MOST - 1] = 0;
        true
    }

    fn entries(&self) -> &[u32] {
        let len = self.marks.iter().position(|mark| *mark == 0).unwrap_or(MOST);
        &self.marks[..len]
    }
}

/// An alarm for each place of a table. They come in blocks, so that growth copies none.
#[derive(Debug, Default)]
pub struct Alarms {
    blocks: Vec<Box<[Alarm; BLOCK_LEN]>>,
    /// Places that were asked for, and all before them.
    len: usize,
}

impl Alarms {
    /// The alarm of a place.
    #[inline]
    pub fn at(&mut self, index: u32) -> &mut Alarm {
        let place = index as usize;
        if place >= self.len {
            self.len = place + 1;
            let blocks = self.len.div_ceil(BLOCK_LEN);
            self.blocks.resize_with(blocks, || Box::new([Alarm::default(); BLOCK_LEN]));
        }
        &mut self.blocks[place / BLOCK_LEN][place % BLOCK_LEN]
    }

    /// How many places there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The alarm of a place as it is.
    pub(crate) fn get(&self, index: u32) -> Alarm {
        let place = index as usize;
        self.blocks.get(place / BLOCK_LEN).map(|block| block[place % BLOCK_LEN]).unwrap_or_default()
    }
}

impl Wheel {
    /// Makes `key` fire at `deadline` or before; [`Instant::NEVER`] asks for nothing. What fires too
    /// early is asked for again.
    #[inline]
    pub fn ensure(&mut self, key: u32, alarm: &mut Alarm, deadline: Instant) {
        if deadline == Instant::NEVER {
            return;
        }
        let ahead = self.tick_of(deadline).saturating_sub(self.elapsed).min(FURTHEST);
        if alarm.entries().first().is_some_and(|first| self.ahead(*first) <= ahead) {
            return;
        }
        // Of as many as there can be one in the middle is forgotten: the furthest would be left
        // behind for the longest time.
        let moved = if alarm.marks[MOST - 1] == 0 { MOST - 1 } else { MOST - 2 };
        alarm.marks.copy_within(0..moved, 1);
        let mark = (self.elapsed + ahead) as u32 | PRESENT;
        alarm.marks[0] = mark;
        self.insert(self.elapsed + ahead, key, mark);
    }

    /// When the first entry of an alarm fires.
    pub(crate) fn next_of(&self, alarm: &Alarm) -> Option<Instant> {
        Some(self.time_of(self.elapsed + self.ahead(*alarm.entries().first()?)))
    }

    /// How many ticks ahead the entry of that mark lies.
    #[inline]
    fn ahead(&self, mark: u32) -> u64 {
        u64::from(mark.wrapping_sub(self.elapsed as u32) & !PRESENT)
    }

    /// When an entry for `deadline` fires.
    pub(crate) fn round(&self, deadline: Instant) -> Instant {
        self.time_of(self.tick_of(deadline).max(self.elapsed))
    }

    fn time_of(&self, tick: u64) -> Instant {
        Instant::from_nanos(self.origin.saturating_add(tick.saturating_mul(self.tick)))
    }
}

/// The kinds of deadlines that a connection has: of acknowledgments, of retransmissions, and long ones.
const MOST: usize = 3;
/// The bit of every mark, so that none is zero.
const PRESENT: u32 = 1 << 31;
/// How far ahead an entry may lie, in ticks, so that 31 bits of them keep their order.
const FURTHEST: u64 = 1 << 30;
/// Alarms that are allocated at once.
const BLOCK_LEN: usize = 1024;
const _: () = assert!(size_of::<Alarm>() == 12);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    use proptest::prelude::*;

    fn wheel() -> Wheel {
        Wheel::new(Duration::from_millis(1), Instant::ZERO)
    }

    /// What fired of the alarm's entries by `now`.
    fn expire(wheel: &mut Wheel, alarm: &mut Alarm, now: Instant) -> usize {
        let mut fired = 0;
        wheel.expire(now, usize::MAX, &mut |_, generation| {
            fired += usize::from(alarm.take(generation));
        });
        fired
    }

    // A delayed ACK every 40 ms, a retransmission timer, and a keepalive of two hours.
    #[test]
    fn deadlines_that_move_to_and_fro_leave_no_entries_behind() {
        let (mut wheel, mut alarm) = (wheel(), Alarm::default());
        for turn in 0..10_000 {
            let now = Instant::from_millis(100 * turn);
            expire(&mut wheel, &mut alarm, now);
            for ahead in [7_200_000, 200, 40, 7_200_000] {
                wheel.ensure(7, &mut alarm, now + Duration::from_millis(ahead));
            }
            assert!(wheel.len() <= 4, "{} entries in turn {turn}", wheel.len());
        }
    }

    #[test]
    fn deadline_beyond_what_an_entry_can_hold_fires_early_and_is_asked_for_again() {
        let (mut wheel, mut alarm) = (wheel(), Alarm::default());
        let far = Instant::from_millis(3 << 30);
        for turn in 1..4 {
            wheel.ensure(7, &mut alarm, far);
            let fired = expire(&mut wheel, &mut alarm, Instant::from_millis(turn << 30));
            assert_eq!(fired, 1);
        }
        assert!(wheel.is_empty());
    }

    proptest! {
        // Whatever was asked for fires in time, and never twice for one entry.
        #[test]
        fn what_was_asked_for_fires_in_time(
            start in prop::sample::select(vec![0u64, 1 << 31, (1 << 32) - 500, 1 << 32, 1 << 40]),
            steps in prop::collection::vec((0u64..400, 0u64..4_000), 1..60),
        ) {
            let (mut wheel, mut alarm) = (wheel(), Alarm::default());
            let mut now = start;
            wheel.expire(Instant::from_millis(now), usize::MAX, &mut |_, _| {});
            let mut wanted = None;
            for (pause, ahead) in steps {
                for _ in 0..pause {
                    now += 1;
                    let fired = expire(&mut wheel, &mut alarm, Instant::from_millis(now));
                    if wanted.is_some_and(|wanted| wanted <= now) {
                        prop_assert!(fired > 0, "nothing at {now} for {wanted:?}");
                        wanted = None;
                    } else if let Some(wanted) = wanted && fired > 0 {
                        wheel.ensure(7, &mut alarm, Instant::from_millis(wanted));
                    }
                }
                // The caller asks again for what it still wants, the earliest of all.
                let next = wanted.map_or(now + ahead, |wanted: u64| wanted.min(now + ahead));
                wanted = Some(next.max(now + 1));
                wheel.ensure(7, &mut alarm, Instant::from_millis(next.max(now + 1)));
            }
        }
    }
}

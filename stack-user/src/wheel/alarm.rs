//! What the wheel knows of one key: when it is wanted, and its entries, which are few however often
//! that moves.
//!
//! A deadline that moves to an earlier time needs a new entry, and the old one cannot be taken out.
//! Forgetting it would leave one behind with each delayed ACK before a keepalive, for two hours each
//! time. So an alarm remembers its entries and counts on them again. It also knows the deadline, so
//! that an entry that fires too early costs no look at whoever the key names.

use core::hint::black_box;

use zerocopy::FromZeros;

use super::Wheel;
use crate::time::Instant;

/// A key's deadline and its entries in the wheel. Ticks are `PRESENT` and their lower bits, zero where
/// there is none. The entries outlive whoever the key names, for its next tenant.
#[derive(Clone, Copy, Debug, Default, FromZeros)]
#[repr(align(16))]
pub struct Alarm {
    /// The tick of the deadline.
    wanted: u32,
    /// The ticks of the entries, which are their generations: the earliest first, all different.
    marks: [u32; MOST],
}

impl Alarm {
    /// Whether an entry that fired is one of these, which it then no longer is.
    #[inline]
    fn take(&mut self, generation: u32) -> bool {
        let [first, second, third] = self.marks;
        self.marks = match generation {
            mark if mark == first => [second, third, 0],
            mark if mark == second => [first, third, 0],
            mark if mark == third => [first, second, 0],
            _ => return false,
        };
        true
    }

    /// Adds an entry before all others. Of as many as there can be one in the middle is forgotten: the
    /// furthest would be left behind for the longest time.
    #[inline]
    fn add(&mut self, mark: u32) {
        let [first, second, third] = self.marks;
        self.marks = [mark, first, if third == 0 { second } else { third }];
    }
}

/// An alarm for each place of a table. Their memory is asked for at once, so that finding one takes a
/// single step, and touched as it is used.
#[derive(Debug)]
pub struct Alarms {
    places: Box<[Alarm]>,
}

impl Alarms {
    /// An alarm, unarmed, for each of `capacity` places.
    ///
    /// # Panics
    /// When the address space has no room for them.
    pub fn new(capacity: usize) -> Self {
        let places = <[Alarm]>::new_box_zeroed_with_elems(capacity);
        Self { places: places.expect("the address space has room for the timers") }
    }

    /// The alarm of a place.
    #[inline]
    pub fn at(&mut self, index: u32) -> &mut Alarm {
        &mut self.places[index as usize]
    }

    /// Reads a place's alarm, so that its cache line is on the way. For many in a loop of its own.
    #[inline]
    pub fn touch(&self, index: u32) {
        black_box(self.get(index).wanted);
    }

    /// The alarm of a place as it is.
    #[inline]
    pub fn get(&self, index: u32) -> &Alarm {
        &self.places[index as usize]
    }
}

impl Wheel {
    /// Makes `key` due at `deadline`, whenever it was due before; [`Instant::NEVER`] cancels. What is
    /// further ahead than an entry can be is due too early, to be asked for again.
    #[inline]
    pub fn ensure(&mut self, key: u32, alarm: &mut Alarm, deadline: Instant) {
        if deadline == Instant::NEVER {
            alarm.wanted = 0;
            return;
        }
        let ahead = self.tick_of(deadline).saturating_sub(self.elapsed).min(FURTHEST);
        alarm.wanted = (self.elapsed + ahead) as u32 | PRESENT;
        self.cover(key, alarm, ahead);
    }

    /// Hears an entry that fired: whether its key is due. What is only due later is seen to.
    #[inline]
    pub fn heed(&mut self, key: u32, alarm: &mut Alarm, generation: u32) -> bool {
        if !alarm.take(generation) || alarm.wanted == 0 {
            return false;
        }
        let ahead = self.ahead(alarm.wanted);
        // An entry comes before its deadline, which was no further than this from where it was made; so
        // what seems to be further has passed.
        if ahead == 0 || ahead >= FURTHEST {
            alarm.wanted = 0;
            return true;
        }
        self.cover(key, alarm, ahead);
        false
    }

    /// Sees that an entry of the alarm fires within so many ticks.
    #[inline]
    fn cover(&mut self, key: u32, alarm: &mut Alarm, ahead: u64) {
        let first = alarm.marks[0];
        if first == 0 || self.ahead(first) > ahead {
            self.enter(key, alarm, self.elapsed + ahead);
        }
    }

    /// Makes an entry of the alarm at this tick, which is not before the wheel's.
    fn enter(&mut self, key: u32, alarm: &mut Alarm, tick: u64) {
        let mark = tick as u32 | PRESENT;
        alarm.add(mark);
        self.insert(tick, key, mark);
    }

    /// When an alarm's key is due.
    pub fn due_of(&self, alarm: &Alarm) -> Option<Instant> {
        let is_covered = alarm.wanted != 0 && alarm.marks[0] != 0;
        is_covered.then(|| self.time_of(self.elapsed + self.ahead(alarm.wanted)))
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
const _: () = assert!(size_of::<Alarm>() == 16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    use proptest::prelude::*;

    fn wheel() -> Wheel {
        Wheel::new(Duration::from_millis(1), Instant::ZERO)
    }

    /// How often the key was due by `now`.
    fn expire(wheel: &mut Wheel, alarm: &mut Alarm, now: Instant) -> usize {
        let mut fired = Vec::new();
        wheel.expire(now, usize::MAX, &mut |key, generation| fired.push((key, generation)));
        fired.into_iter().filter(|(key, mark)| wheel.heed(*key, alarm, *mark)).count()
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

    #[test]
    fn cancelled_is_never_due_and_its_entry_serves_the_next() {
        let (mut wheel, mut alarm) = (wheel(), Alarm::default());
        wheel.ensure(7, &mut alarm, Instant::from_millis(50));
        wheel.ensure(7, &mut alarm, Instant::NEVER);
        assert_eq!(wheel.due_of(&alarm), None);
        wheel.ensure(7, &mut alarm, Instant::from_millis(80));
        assert_eq!((wheel.len(), wheel.due_of(&alarm)), (1, Some(Instant::from_millis(80))));
        assert_eq!(expire(&mut wheel, &mut alarm, Instant::from_millis(79)), 0);
        assert_eq!(expire(&mut wheel, &mut alarm, Instant::from_millis(80)), 1);
        wheel.ensure(7, &mut alarm, Instant::from_millis(90));
        wheel.ensure(7, &mut alarm, Instant::NEVER);
        assert_eq!(expire(&mut wheel, &mut alarm, Instant::from_millis(99)), 0);
        assert!(wheel.is_empty());
    }

    #[test]
    fn alarms_of_all_places_are_their_own() {
        let mut alarms = Alarms::new(5);
        for place in [0, 1, 4] {
            alarms.at(place).wanted = place + 1;
        }
        assert!([0, 1, 4].iter().all(|place| alarms.get(*place).wanted == place + 1));
        assert_eq!(alarms.get(2).wanted, 0);
    }

    proptest! {
        // However it moves, the key is due at its last deadline: once, and at no other time.
        #[test]
        fn what_was_asked_for_last_is_due_then(
            start in prop::sample::select(vec![0u64, 1 << 30, 1 << 31, (1 << 32) - 500, 1 << 40]),
            steps in prop::collection::vec((0u64..400, prop::option::of(0u64..4_000)), 1..60),
        ) {
            let (mut wheel, mut alarm) = (wheel(), Alarm::default());
            let mut now = start;
            wheel.expire(Instant::from_millis(now), usize::MAX, &mut |_, _| {});
            let mut wanted = None;
            for (pause, ahead) in steps.into_iter().chain([(5_000, None)]) {
                for _ in 0..pause {
                    now += 1;
                    let fired = expire(&mut wheel, &mut alarm, Instant::from_millis(now));
                    let is_due = wanted.is_some_and(|wanted| wanted <= now);
                    prop_assert_eq!(fired, usize::from(is_due), "at {} for {:?}", now, wanted);
                    wanted = wanted.filter(|_| !is_due);
                    let due = wanted.map(Instant::from_millis);
                    prop_assert_eq!(wheel.due_of(&alarm), due);
                }
                wanted = ahead.map(|ahead| now + ahead);
                let deadline = wanted.map_or(Instant::NEVER, Instant::from_millis);
                wheel.ensure(7, &mut alarm, deadline);
            }
        }
    }
}

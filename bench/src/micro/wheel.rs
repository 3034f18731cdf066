//! Timers: arm, re-arm, cancel and expire, ours beside others at the same load.
//!
//! Deadlines lie on whole milliseconds, uniform over [`SPAN`]. Keys are taken in random order, so that
//! with many timers each operation meets memory that no cache holds.

mod timers;

use anyhow::{Result, ensure};

use self::timers::{Heap, Ours, Queue, Timers, Tree};
use super::pair::{Plan, Work};
use super::{OURS, count};
use crate::clock::Stopwatch;
use crate::rng::Rng;
use crate::row::Row;

/// The rows of this file.
pub fn rows(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for size in plan.sizes(&SIZES) {
        let works: Vec<_> = Op::ALL.map(|op| (op, op.work(*size))).into();
        let works: Vec<_> = works.into_iter().filter(|(_, work)| plan.wants(work)).collect();
        if works.is_empty() {
            continue;
        }
        // One set of timers for all peers: of ten million each takes most of a gigabyte.
        let mut ours = Crowd::<Ours>::new(*size);
        beside::<Heap>(plan, (&works, &mut ours), &mut rows)?;
        beside::<Tree>(plan, (&works, &mut ours), &mut rows)?;
        beside::<Queue>(plan, (&works, &mut ours), &mut rows)?;
    }
    Ok(rows)
}

/// Work, subject and peer of every row of a full run.
#[cfg(test)]
pub(super) fn names() -> Vec<[String; 3]> {
    let works = SIZES.into_iter().flat_map(|size| Op::ALL.map(|op| op.work(size)));
    let peers = [Heap::NAME, Tree::NAME, Queue::NAME];
    let rows = |work: String| peers.map(|peer| [&work, OURS, peer].map(String::from));
    works.flat_map(rows).collect()
}

type Works<'a> = (&'a [(Op, String)], &'a mut Crowd<Ours>);

fn beside<T: Timers>(plan: &Plan, (works, ours): Works<'_>, rows: &mut Vec<Row>) -> Result<()> {
    let mut theirs = Crowd::<T>::new(ours.size());
    for (op, work) in works {
        ours.renew();
        theirs.renew();
        let mut subject = Timed { crowd: &mut *ours, op: *op };
        let mut peer = Timed { crowd: &mut theirs, op: *op };
        let row = plan.pair(work, (OURS, &mut subject), (T::NAME, &mut peer));
        let row = row.with_setting("deadlines", format!("uniform over {SPAN} ms"));
        let row =
            row.with_setting("batches", "64, what belongs to their keys is read first by all");
        rows.push(match op {
            Op::Cancel => {
                row.with_setting("cancelled by", format!("{}; {}", Ours::CANCEL, T::CANCEL))
            }
            _ => row,
        });
    }
    Ok(())
}

/// What is done to timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// One that is not armed is armed.
    Arm,
    /// The deadline moves to a later time.
    Later,
    /// The deadline moves to an earlier time.
    Earlier,
    Cancel,
    /// Time passes; what is due fires.
    Expire,
}

impl Op {
    const ALL: [Self; 5] = [Self::Arm, Self::Later, Self::Earlier, Self::Cancel, Self::Expire];

    fn work(self, size: usize) -> String {
        let name = match self {
            Self::Arm => "arm",
            Self::Later => "re-arm later",
            Self::Earlier => "re-arm earlier",
            Self::Cancel => "cancel",
            Self::Expire => "expire",
        };
        format!("timers, {name}, {}", count(size))
    }
}

/// Many timers, and what they should be.
struct Crowd<T> {
    timers: T,
    /// Each timer's deadline, in milliseconds; [`NEVER`] while it is not armed.
    deadlines: Vec<u64>,
    now: u64,
    /// In which order keys are taken, and how far that is.
    order: Vec<u32>,
    taken: usize,
    rng: Rng,
    /// Whether nothing was done but arming since the last renewal.
    is_new: bool,
}

impl<T: Timers> Crowd<T> {
    fn new(size: usize) -> Self {
        let mut rng = Rng::new(size as u64);
        let order = rng.permutation(size);
        let deadlines = (0..size).map(|_| 1 + rng.below(SPAN)).collect::<Vec<_>>();
        let timers = T::armed(0, &deadlines);
        Self { timers, deadlines, now: 0, order, taken: 0, rng, is_new: true }
    }

    fn size(&self) -> usize {
        self.deadlines.len()
    }

    /// Arms all anew, where anything else was done.
    fn renew(&mut self) {
        if self.is_new {
            return;
        }
        for deadline in &mut self.deadlines {
            *deadline = self.now + 1 + self.rng.below(SPAN);
        }
        self.timers = T::armed(self.now, &self.deadlines);
        (self.taken, self.is_new) = (0, true);
    }

    /// Keys that were not taken since the last renewal, which comes when none is left.
    fn take(&mut self) -> std::ops::Range<usize> {
        if self.taken == self.order.len() {
            self.renew();
        }
        let from = self.taken;
        self.taken = self.order.len().min(from + ROUND);
        self.is_new = false;
        from..self.taken
    }

    /// One of the operations that move a deadline; what it moves to is laid out before.
    fn change(&mut self, op: Op, watch: &mut Stopwatch) -> Result<u64> {
        let keys = self.take();
        let mut moves = Vec::with_capacity(keys.len());
        for key in &self.order[keys] {
            let old = &mut self.deadlines[*key as usize];
            let new = match op {
                Op::Later => *old + 1 + self.rng.below(SPAN),
                Op::Earlier => self.now + self.rng.below(*old - self.now),
                _ => NEVER,
            };
            *old = new;
            moves.push((*key, new));
        }
        let timers = &mut self.timers;
        watch.time(|| match op {
            Op::Later => in_batches(timers, &moves, T::later),
            Op::Earlier => in_batches(timers, &moves, T::earlier),
            _ => in_batches(timers, &moves, |timers, key, _| timers.cancel(key)),
        });
        for (key, at) in &moves {
            ensure!(timers.deadline(*key) == *at, "timer {key} is not at {at} ms");
        }
        Ok(moves.len() as u64)
    }

    /// Time passes by [`STEP`], then what fired is armed anew: one of the two is measured.
    fn cycle(&mut self, op: Op, watch: &mut Stopwatch) -> Result<u64> {
        self.is_new = false;
        let now = self.now + STEP;
        let due = self.deadlines.iter().filter(|deadline| **deadline <= now).count();
        let mut fired = Vec::with_capacity(due);
        let timers = &mut self.timers;
        let mut expire = || timers.expire(now, &mut fired);
        match op {
            Op::Expire => watch.time(expire),
            _ => expire(),
        }
        ensure!(fired.len() == due, "{} timers fired, and {due} were due", fired.len());
        let is_due = |key: &u32| self.deadlines[*key as usize] <= now;
        ensure!(fired.iter().all(is_due), "a timer fired that was not due");
        self.now = now;
        // What fired comes in the order of deadlines. Who arms next knows nothing of that order.
        for at in (1..fired.len()).rev() {
            fired.swap(at, self.rng.below(at as u64 + 1) as usize);
        }
        let mut moves = Vec::with_capacity(due);
        for key in fired {
            let at = now + 1 + self.rng.below(SPAN);
            self.deadlines[key as usize] = at;
            moves.push((key, at));
        }
        let timers = &mut self.timers;
        let mut arm = || in_batches(timers, &moves, T::arm);
        match op {
            Op::Arm => watch.time(arm),
            _ => arm(),
        }
        for (key, at) in &moves {
            ensure!(timers.deadline(*key) == *at, "timer {key} is not at {at} ms");
        }
        Ok(moves.len() as u64)
    }
}

/// Does something to timers, 64 at a time as a shard does for its frames: what belongs to their keys is
/// read first.
#[inline]
fn in_batches<T: Timers>(timers: &mut T, moves: &[(u32, u64)], each: impl Fn(&mut T, u32, u64)) {
    for batch in moves.chunks(BATCH) {
        batch.iter().for_each(|(key, _)| timers.touch(*key));
        batch.iter().for_each(|(key, at)| each(timers, *key, *at));
    }
}

/// One operation on a crowd.
struct Timed<'a, T> {
    crowd: &'a mut Crowd<T>,
    op: Op,
}

impl<T: Timers> Work for Timed<'_, T> {
    fn round(&mut self, watch: &mut Stopwatch) -> Result<u64> {
        match self.op {
            Op::Arm | Op::Expire => self.crowd.cycle(self.op, watch),
            Op::Later | Op::Earlier | Op::Cancel => self.crowd.change(self.op, watch),
        }
    }
}

/// How many timers there are.
const SIZES: [usize; 3] = [1_000, 1_000_000, 10_000_000];
/// A deadline that never comes.
const NEVER: u64 = u64::MAX;
/// How far ahead deadlines lie at most, in milliseconds: sixteen steps.
const SPAN: u64 = 16 * STEP;
/// How far time goes at once, in milliseconds: a whole slot of the wheel's third level, so that what it
/// costs to spread one is shared by all that lay in it.
const STEP: u64 = 64 * 64;
/// As many as a shard has to do with at once.
const BATCH: usize = 64;
/// How many timers a round changes at most.
const ROUND: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    fn works<T: Timers>() {
        let mut crowd = Crowd::<T>::new(500);
        let mut watch = Stopwatch::new();
        for op in Op::ALL {
            crowd.renew();
            let mut done = 0;
            for _ in 0..40 {
                done += Timed { crowd: &mut crowd, op }.round(&mut watch).unwrap();
            }
            assert!(done > 500, "{op:?}: {done}");
        }
        // What was moved and cancelled is heard of at its time, and not before.
        crowd.renew();
        crowd.change(Op::Earlier, &mut watch).unwrap();
        crowd.cycle(Op::Expire, &mut watch).unwrap();
        crowd.renew();
        crowd.change(Op::Later, &mut watch).unwrap();
        (0..32).for_each(|_| assert!(crowd.cycle(Op::Expire, &mut watch).is_ok()));
        crowd.renew();
        crowd.change(Op::Cancel, &mut watch).unwrap();
        assert_eq!(crowd.cycle(Op::Expire, &mut watch).unwrap(), 0);
    }

    #[test]
    fn ours_does_what_is_asked() {
        works::<Ours>();
    }

    #[test]
    fn heap_does_what_is_asked() {
        works::<Heap>();
    }

    #[test]
    fn tree_does_what_is_asked() {
        works::<Tree>();
    }

    #[test]
    fn queue_does_what_is_asked() {
        works::<Queue>();
    }

    #[test]
    fn timer_that_was_lost_is_noticed() {
        let mut crowd = Crowd::<Tree>::new(500);
        let key = crowd.deadlines.iter().position(|at| *at <= STEP).unwrap();
        crowd.timers.cancel(key as u32);
        assert!(crowd.cycle(Op::Expire, &mut Stopwatch::new()).is_err());
    }
}

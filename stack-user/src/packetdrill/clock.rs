//! The virtual clock, and calls that wait for it.
//!
//! Time moves in `usleep`, in `netdev_receive` while no packet is there, by a microsecond with each
//! `gettimeofday` (the tool spins on it), and in a call that blocks where nobody else could move it.
//! Every step ends at the next thing that is due, so nothing is ever late.
//!
//! A call that blocks on the tool's second thread parks on a condition (a futex). Whoever moves the
//! time, or brings a packet, wakes the parked calls and waits until each has looked again, so that a
//! call returns at the very instant at which it could. The tool itself sometimes waits for a parked
//! call without moving the time; the parked call notices and moves it.

use std::cell::Cell;
use std::fs;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::flags::Flags;
use super::world::World;
use crate::time::{Duration, Instant};

/// The library: what `userdata` points to.
pub(super) struct Library {
    world: Mutex<World>,
    /// Something happened that parked calls may have waited for.
    moved: Condvar,
    /// A parked call has looked.
    looked: Condvar,
    /// The thread that made the library; it alone injects packets.
    home: i32,
}

/// Calls that are parked, and the handshake with them.
#[derive(Default)]
pub(super) struct Parking {
    /// When each of them gives up.
    until: Vec<Instant>,
    /// Which wake-up this is.
    round: u64,
    /// Calls that have not looked yet in this round.
    unseen: usize,
    /// Calls that ended in this round.
    ended: usize,
    /// Calls that the home thread made: whether it is at work.
    calls: u64,
}

type Guard<'a> = MutexGuard<'a, World>;

impl Library {
    pub(super) fn new(flags: Flags) -> Self {
        Self {
            world: Mutex::new(World::new(flags)),
            moved: Condvar::new(),
            looked: Condvar::new(),
            home: this_thread(),
        }
    }

    fn lock(&self) -> Guard<'_> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.parking.calls += u64::from(self.is_home());
        world
    }

    fn is_home(&self) -> bool {
        self.home == this_thread()
    }

    /// Runs a call that does not wait.
    pub(super) fn call<R>(&self, run: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.lock();
        let result = run(&mut world);
        world.turn();
        drop(self.rouse(world));
        result
    }

    /// Tries `attempt` until it gives something, for `within` at most. `None` when that time is over,
    /// or when nothing can happen any more.
    pub(super) fn wait<R>(
        &self,
        within: Option<Duration>,
        mut attempt: impl FnMut(&mut World) -> Option<R>,
    ) -> Option<R> {
        let mut world = self.lock();
        let until = within.map_or(Instant::NEVER, |within| world.now + within);
        let (mut has_parked, mut was_roused) = (false, false);
        loop {
            let result = attempt(&mut world);
            world.turn();
            if result.is_some() || world.now >= until {
                RETURNED_AT.set(has_parked.then_some(world.now));
                if was_roused {
                    world.parking.ended += 1;
                } else {
                    drop(self.rouse(world));
                }
                return result;
            }
            if self.is_home() {
                let has_moved;
                (world, has_moved) = self.step(world, until);
                if !has_moved {
                    eprintln!("sluice: this call waits for what cannot happen any more");
                    return None;
                }
            } else {
                (world, was_roused) = self.park(world, until);
                has_parked = true;
            }
        }
    }

    /// Parks the calling thread until something has happened; whether another thread saw to that.
    fn park<'a>(&'a self, mut world: Guard<'a>, until: Instant) -> (Guard<'a>, bool) {
        let (round, mut calls, mut quiet) = (world.parking.round, world.parking.calls, 0);
        world.parking.until.push(until);
        while world.parking.round == round {
            let waited = self.moved.wait_timeout(world, LOOK_AROUND);
            let is_timeout;
            (world, is_timeout) = match waited {
                Ok((world, outcome)) => (world, outcome.timed_out()),
                Err(poisoned) => (poisoned.into_inner().0, true),
            };
            if world.parking.round != round || !is_timeout {
                continue;
            }
            let is_quiet = world.parking.calls == calls && waits_on_futex(self.home);
            (calls, quiet) = (world.parking.calls, if is_quiet { quiet + 1 } else { 0 });
            if quiet == STUCK_AFTER {
                // The tool waits for this call, and moves no time meanwhile.
                world.parking.leave(until);
                return (self.step(world, until).0, false);
            }
        }
        world.parking.leave(until);
        world.parking.unseen -= 1;
        self.looked.notify_one();
        (world, true)
    }

    /// Wakes the parked calls and waits until each has looked; one that ends may free others.
    fn rouse<'a>(&'a self, mut world: Guard<'a>) -> Guard<'a> {
        while !world.parking.until.is_empty() {
            world.parking.round += 1;
            world.parking.unseen = world.parking.until.len();
            world.parking.ended = 0;
            self.moved.notify_all();
            while world.parking.unseen > 0 {
                world = self.looked.wait(world).unwrap_or_else(PoisonError::into_inner);
            }
            if world.parking.ended == 0 {
                break;
            }
        }
        world
    }

    /// Moves the time to the next thing that is due, `until` at the latest, and sees to it. Whether
    /// there was one.
    fn step<'a>(&'a self, mut world: Guard<'a>, until: Instant) -> (Guard<'a>, bool) {
        let parked = world.parking.until.iter().copied().min().unwrap_or(Instant::NEVER);
        let due = world.next_deadline().min(parked).min(until);
        if due == Instant::NEVER {
            return (world, false);
        }
        world.now = world.now.max(due);
        world.on_timers();
        (self.rouse(world), true)
    }

    /// `usleep`: moves the time by `micros`.
    pub(super) fn sleep(&self, micros: u64) {
        let mut world = self.lock();
        let until = world.now + Duration::from_micros(micros);
        while world.now < until {
            world = self.step(world, until).0;
        }
    }

    /// `gettimeofday`: microseconds since the epoch. A call that was parked returns at the instant
    /// at which it could, whenever its thread asks.
    pub(super) fn micros(&self) -> u64 {
        if let Some(at) = RETURNED_AT.take() {
            return EPOCH_MICROS + at.as_micros();
        }
        self.sleep(1);
        EPOCH_MICROS + self.lock().now.as_micros()
    }

    /// The next packet to leave, and when it left in microseconds since the epoch. Moves the time
    /// until there is one; `None` when none can come, or not within a day.
    pub(super) fn next_packet(&self) -> Option<(Vec<u8>, u64)> {
        let mut world = self.lock();
        let until = world.now + PATIENCE;
        loop {
            if let Some((packet, at)) = world.outbox.pop_front() {
                return Some((packet, EPOCH_MICROS + at.as_micros()));
            }
            let has_moved;
            (world, has_moved) = self.step(world, Instant::NEVER);
            if !has_moved || world.now > until {
                return None;
            }
        }
    }
}

impl Parking {
    fn leave(&mut self, until: Instant) {
        if let Some(at) = self.until.iter().position(|other| *other == until) {
            self.until.swap_remove(at);
        }
    }
}

thread_local! {
    /// When this thread's parked call ended, until the thread asks for the time.
    static RETURNED_AT: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn this_thread() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// Whether a thread of this process sleeps in a futex: in a lock or a condition.
fn waits_on_futex(thread: i32) -> bool {
    let path = format!("/proc/self/task/{thread}/syscall");
    let number = fs::read_to_string(path).unwrap_or_default();
    number.split(' ').next() == Some(libc::SYS_futex.to_string().as_str())
}

/// Real time between two looks of a parked call at the home thread.
const LOOK_AROUND: Duration = Duration::from_millis(2);
/// The looks in a row that must find it waiting.
const STUCK_AFTER: u32 = 4;
/// How long a packet is waited for, in virtual time.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// What the time of day is at the clock's origin: any time will do, but not that of another run.
const EPOCH_MICROS: u64 = 1_700_000_000_000_000;

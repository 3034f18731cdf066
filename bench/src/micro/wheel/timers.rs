//! Sets of timers: Sluice's wheel as the shard uses it, and its peers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::poll_fn;
use std::hint::black_box;
use std::task::Poll;
use std::time::Duration;

use sluice::time::Instant;
use sluice::wheel::{Alarms, Wheel};
use tokio::runtime::Runtime;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue;

use super::NEVER;

/// Timers with keys from zero on and deadlines in milliseconds.
pub trait Timers {
    /// What rows call it.
    const NAME: &'static str;
    /// How a timer is cancelled.
    const CANCEL: &'static str;

    /// A timer for each of the deadlines, which all lie after `now`.
    fn armed(now: u64, deadlines: &[u64]) -> Self;

    /// Arms a timer that is not armed.
    fn arm(&mut self, key: u32, at: u64);

    /// Moves a timer that is armed to a later time.
    fn later(&mut self, key: u32, at: u64);

    /// Moves a timer that is armed to an earlier time.
    fn earlier(&mut self, key: u32, at: u64);

    /// Cancels a timer that is armed.
    fn cancel(&mut self, key: u32);

    /// Tells which timers are due at `now`. They are armed no longer.
    fn expire(&mut self, now: u64, fired: &mut Vec<u32>);

    /// When a timer will fire; [`NEVER`] while it is not armed.
    fn deadline(&self, key: u32) -> u64;

    /// Reads what belongs to a key, so that it is on the way.
    fn touch(&self, key: u32);
}

/// Sluice's wheel. A timer's deadline lies in its alarm; the wheel gets an entry only where there is none
/// that is early enough.
pub struct Ours {
    wheel: Wheel,
    alarms: Alarms,
}

impl Ours {
    #[inline]
    fn set(&mut self, key: u32, at: u64) {
        self.wheel.ensure(key, self.alarms.at(key), Instant::from_millis(at));
    }
}

impl Timers for Ours {
    const NAME: &'static str = super::OURS;
    const CANCEL: &'static str =
        "sluice: the alarm's deadline, the wheel's entry goes when it fires";

    fn armed(now: u64, deadlines: &[u64]) -> Self {
        let wheel = Wheel::new(Duration::from_millis(1), Instant::ZERO);
        let mut all = Self { wheel, alarms: Alarms::new(deadlines.len()) };
        all.wheel.expire(Instant::from_millis(now), usize::MAX, &mut |_, _| {});
        for (key, at) in deadlines.iter().enumerate() {
            all.set(key as u32, *at);
        }
        all
    }

    #[inline]
    fn arm(&mut self, key: u32, at: u64) {
        self.set(key, at);
    }

    #[inline]
    fn later(&mut self, key: u32, at: u64) {
        self.set(key, at);
    }

    #[inline]
    fn earlier(&mut self, key: u32, at: u64) {
        self.set(key, at);
    }

    #[inline]
    fn cancel(&mut self, key: u32) {
        self.wheel.ensure(key, self.alarms.at(key), Instant::NEVER);
    }

    /// As the shard does it: a bounded number at a time, and what fired too early is armed again.
    fn expire(&mut self, now: u64, fired: &mut Vec<u32>) {
        let time = Instant::from_millis(now);
        let mut due = [(0, 0); BUDGET];
        while self.wheel.next_deadline().is_some_and(|next| next <= time) {
            let mut count = 0;
            self.wheel.expire(time, BUDGET, &mut |key, mark| {
                due[count] = (key, mark);
                count += 1;
            });
            due[..count].iter().for_each(|(key, _)| self.alarms.touch(*key));
            for (key, mark) in &due[..count] {
                if self.wheel.heed(*key, self.alarms.at(*key), *mark) {
                    fired.push(*key);
                }
            }
        }
        // The wheel knows how late it is also where nothing was due.
        self.wheel.expire(time, 1, &mut |_, _| {});
    }

    fn deadline(&self, key: u32) -> u64 {
        self.wheel.due_of(self.alarms.get(key)).map_or(NEVER, |due| due.as_nanos() / 1_000_000)
    }

    #[inline]
    fn touch(&self, key: u32) {
        self.alarms.touch(key);
    }
}

/// A binary heap. What is moved or cancelled stays in it and is passed over.
pub struct Heap {
    heap: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// The deadline of each timer, and the generation of its entry.
    timers: Vec<(u64, u32)>,
}

impl Heap {
    #[inline]
    fn set(&mut self, key: u32, at: u64) {
        let timer = &mut self.timers[key as usize];
        *timer = (at, timer.1.wrapping_add(1));
        self.heap.push(Reverse((at, key, timer.1)));
    }
}

impl Timers for Heap {
    const NAME: &'static str = "BinaryHeap";
    const CANCEL: &'static str = "heap: a generation, the entry is passed over later";

    fn armed(_now: u64, deadlines: &[u64]) -> Self {
        let entries = deadlines.iter().enumerate().map(|(key, at)| Reverse((*at, key as u32, 0)));
        let heap = entries.collect::<Vec<_>>().into();
        Self { heap, timers: deadlines.iter().map(|at| (*at, 0)).collect() }
    }

    #[inline]
    fn arm(&mut self, key: u32, at: u64) {
        self.set(key, at);
    }

    #[inline]
    fn later(&mut self, key: u32, at: u64) {
        self.set(key, at);
    }

    #[inline]
    fn earlier(&mut self, key: u32, at: u64) {
        self.set(key, at);
    }

    #[inline]
    fn cancel(&mut self, key: u32) {
        let timer = &mut self.timers[key as usize];
        *timer = (NEVER, timer.1.wrapping_add(1));
    }

    fn expire(&mut self, now: u64, fired: &mut Vec<u32>) {
        while self.heap.peek().is_some_and(|Reverse((at, ..))| *at <= now)
            && let Some(Reverse((at, key, generation))) = self.heap.pop()
        {
            let timer = &mut self.timers[key as usize];
            if *timer == (at, generation) {
                timer.0 = NEVER;
                fired.push(key);
            }
        }
    }

    fn deadline(&self, key: u32) -> u64 {
        self.timers[key as usize].0
    }

    #[inline]
    fn touch(&self, key: u32) {
        black_box(self.timers[key as usize].1);
    }
}

/// A B-tree in the order of deadlines.
pub struct Tree {
    tree: BTreeMap<(u64, u32), ()>,
    deadlines: Vec<u64>,
}

impl Tree {
    #[inline]
    fn set(&mut self, key: u32, at: u64) {
        let old = std::mem::replace(&mut self.deadlines[key as usize], at);
        if old != NEVER {
            self.tree.remove(&(old, key));
        }
        if at != NEVER {
            self.tree.insert((at, key), ());
        }
    }
}

impl Timers for Tree {
    const NAME: &'static str = "BTreeMap";
    const CANCEL: &'static str = "tree: taken out";

    fn armed(_now: u64, deadlines: &[u64]) -> Self {
        let entries = deadlines.iter().enumerate().map(|(key, at)| ((*at, key as u32), ()));
        Self { tree: entries.collect(), deadlines: deadlines.to_vec() }
    }

    #[inline]
    fn arm(&mut self, key: u32, at: u64) {
        self.set(key, at);
    }

    #[inline]
    fn later(&mut self, key: u32, at: u64) {
        self.set(key, at);
    }

    #[inline]
    fn earlier(&mut self, key: u32, at: u64) {
        self.set(key, at);
    }

    #[inline]
    fn cancel(&mut self, key: u32) {
        self.set(key, NEVER);
    }

    fn expire(&mut self, now: u64, fired: &mut Vec<u32>) {
        while let Some(first) = self.tree.first_entry()
            && first.key().0 <= now
        {
            let (_, key) = *first.key();
            first.remove();
            self.deadlines[key as usize] = NEVER;
            fired.push(key);
        }
    }

    fn deadline(&self, key: u32) -> u64 {
        self.deadlines[key as usize]
    }

    #[inline]
    fn touch(&self, key: u32) {
        black_box(self.deadlines[key as usize]);
    }
}

/// tokio-util's DelayQueue, on a runtime whose time stands still unless it is moved.
pub struct Queue {
    queue: DelayQueue<u32>,
    /// Where each timer lies in the queue, with its deadline.
    timers: Vec<Option<(delay_queue::Key, u64)>>,
    runtime: Runtime,
    origin: tokio::time::Instant,
    /// How late it is in `runtime`, in milliseconds.
    now: u64,
}

impl Queue {
    #[inline]
    fn set(&mut self, key: u32, at: u64) {
        let _context = self.runtime.enter();
        let when = self.origin + Duration::from_millis(at);
        match &mut self.timers[key as usize] {
            Some((place, deadline)) => {
                self.queue.reset_at(place, when);
                *deadline = at;
            }
            timer @ None => *timer = Some((self.queue.insert_at(key, when), at)),
        }
    }
}

impl Timers for Queue {
    const NAME: &'static str = "DelayQueue";
    const CANCEL: &'static str = "queue: taken out";

    fn armed(now: u64, deadlines: &[u64]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime of this thread alone needs nothing from the system");
        let origin = runtime.block_on(async { tokio::time::Instant::now() });
        // The queue begins at the time at which it is made, so its deadlines are counted from there.
        let origin = origin.checked_sub(Duration::from_millis(now)).unwrap_or(origin);
        let queue = {
            let _context = runtime.enter();
            DelayQueue::with_capacity(deadlines.len())
        };
        let timers = vec![None; deadlines.len()];
        let mut all = Self { queue, timers, runtime, origin, now };
        for (key, at) in deadlines.iter().enumerate() {
            all.set(key as u32, *at);
        }
        all
    }

    #[inline]
    fn arm(&mut self, key: u32, at: u64) {
        self.set(key, at);
    }

    #[inline]
    fn later(&mut self, key: u32, at: u64) {
        self.set(key, at);
    }

    #[inline]
    fn earlier(&mut self, key: u32, at: u64) {
        self.set(key, at);
    }

    #[inline]
    fn cancel(&mut self, key: u32) {
        if let Some((place, _)) = self.timers[key as usize].take() {
            self.queue.remove(&place);
        }
    }

    fn expire(&mut self, now: u64, fired: &mut Vec<u32>) {
        let step = Duration::from_millis(now - self.now);
        self.now = now;
        let (queue, timers) = (&mut self.queue, &mut self.timers);
        let expire = async {
            tokio::time::advance(step).await;
            // Nothing more is due once the queue has nothing at hand.
            loop {
                let polled = poll_fn(|context| Poll::Ready(queue.poll_expired(context))).await;
                let Poll::Ready(Some(expired)) = polled else { break };
                let key = expired.into_inner();
                timers[key as usize] = None;
                fired.push(key);
            }
        };
        // tokio's budget would end a turn after 128 timers.
        self.runtime.block_on(tokio::task::unconstrained(expire));
    }

    fn deadline(&self, key: u32) -> u64 {
        self.timers[key as usize].map_or(NEVER, |(_, deadline)| deadline)
    }

    #[inline]
    fn touch(&self, key: u32) {
        black_box(self.timers[key as usize].is_some());
    }
}

/// How many entries the shard looks at in one turn.
const BUDGET: usize = 256;

//! The front line, as the shard commands it: gates are closed and opened, and the XDP program is told of
//! the shard's flows.
//!
//! What the program does then stands in stack-ebpf. A gate is a listener's at this shard. It is closed
//! while the SYN queue is nearly full, and opened once most of that is gone: in between connections
//! keep every option that a cookie has no room for.

use core::num::NonZeroU32;

use stack_ebpf::cookie::{MSS, Period};
use stack_ebpf::front::{Door, Gate, Record};
use zerocopy::transmute;

use super::Shard;
use super::demux::Arrival;
use super::inner::{Core, Mark, Shutdown};
use crate::counters::Counter;
use crate::tables::flow::{FlowArray, FlowKind};
use crate::tables::words::Words;
use crate::tcp::{SynCookies, first_window, window_scale};
use crate::time::{Duration, Instant};
use crate::wire::FourTuple;

/// The memory that a shard shares with the XDP program.
#[derive(Clone)]
pub struct FrontWords {
    /// [`stack_ebpf::front::Gate`]: this shard's.
    pub gate: Words,
    /// [`stack_ebpf::front::Door`]: those of this shard's listeners, by their places.
    pub doors: Words,
    /// Buckets of [`stack_ebpf::flows`]: this shard's region.
    pub flows: Words,
    /// The summary of that region.
    pub summary: Words,
    /// [`stack_ebpf::front::Front::nonce`]: zero takes no record.
    pub nonce: u64,
}

/// The bytes right ahead of a frame: a [`Record`], if the XDP program has written one.
pub type Ahead<'a> = &'a [u8; AHEAD];
/// How many they are.
pub const AHEAD: usize = size_of::<Record>();

/// What a shard knows of its gates.
pub(super) struct ShardFront {
    words: FrontWords,
    /// The places of listeners whose gates are closed.
    closed: Vec<u16>,
    /// The next flow that is written down, of those that there were when it began.
    filled: Option<usize>,
    /// When there is something to do without a frame.
    due: Option<Instant>,
    /// Whether a gate was ever closed.
    has_begun: bool,
}

impl Shard {
    /// Gives the shard its part of the front line. With cookies always the gates are closed at once.
    pub fn set_front(&mut self, words: FrontWords) {
        let core = &mut self.core;
        core.front = Some(ShardFront {
            words,
            closed: Vec::new(),
            filled: None,
            due: None,
            has_begun: false,
        });
        if core.config.tcp.syn_cookies == SynCookies::Always {
            for listener in 0..core.listeners.len() as u16 {
                core.close_gate(listener);
            }
        }
    }
}

impl Core {
    /// Whether SYNs for a listener are answered by the XDP program.
    pub(super) fn is_gate_closed(&self, listener: u16) -> bool {
        self.front.as_ref().is_some_and(|front| front.closed.contains(&listener))
    }

    /// After a SYN: closes the gate where there is hardly room for more.
    pub(super) fn mind_gate(&mut self, listener: u16) {
        let is_full = is_above(self.half_open.len(), self.half_open.capacity());
        let is_full = is_full
            || self.listeners.at(listener).is_some_and(|listening| {
                is_above(listening.half_open as usize, listening.listener.backlog.max(1) as usize)
            });
        let may_close = self.config.tcp.syn_cookies != SynCookies::Never && self.shutdown.is_none();
        if is_full && may_close && self.front.is_some() && !self.is_gate_closed(listener) {
            self.close_gate(listener);
        }
    }

    /// What is done now and then, once a gate was closed: gates are opened, flows written down, stale
    /// entries swept.
    #[inline]
    pub(super) fn tend_front(&mut self, now: Instant) {
        if self.front.as_ref().is_some_and(|front| front.has_begun) {
            self.tend(now);
        }
    }

    // Apart, or its registers would be kept in each turn that has nothing to tend.
    #[inline(never)]
    fn tend(&mut self, now: Instant) {
        let Some(front) = &self.front else { return };
        let is_over = matches!(self.shutdown, Some(Shutdown::Until(_) | Shutdown::Over));
        let is_always = self.config.tcp.syn_cookies == SynCookies::Always;
        let is_table_below = is_below(self.half_open.len(), self.half_open.capacity());
        let opens = front.closed.iter().copied().find(|listener| {
            let Some(listening) = self.listeners.at(*listener) else { return true };
            let backlog = listening.listener.backlog as usize;
            let is_below = is_table_below && is_below(listening.half_open as usize, backlog);
            is_over || (is_below && !is_always)
        });
        if let Some(listener) = opens {
            self.open_gate(listener, now);
        }
        self.fill(now);
        let swept = self.flows.sweep(SWEPT);
        self.counters.add(Counter::FlowEntriesStale, swept as u64);
    }

    /// When [`Core::tend_front`] is due without a frame.
    pub(super) fn front_due(&self) -> Option<Instant> {
        self.front.as_ref()?.due
    }

    /// What the XDP program says of a segment, where what stands ahead of its frame, which is so long, is of
    /// this frame and of this run.
    pub(super) fn told(
        &self,
        (ahead, length): (Ahead<'_>, usize),
        arrival: &Arrival<'_>,
    ) -> Option<Record> {
        let nonce = self.front.as_ref()?.words.nonce;
        let record: Record = transmute!(*ahead);
        let is_of_it = nonce != 0
            && record.nonce == nonce
            && record.length as usize == length
            && record.fingerprint == arrival.hash
            && record.sequence == arrival.segment.seq.0
            && record.acknowledgment == arrival.segment.ack.0;
        is_of_it.then_some(record)
    }

    /// The cookie that a segment's record tells of. One that was found in another period may be too old by
    /// now.
    pub(super) fn cookie_told(&self, record: &Record, now: Instant) -> Option<u8> {
        let is_of_now = record.period == Period::at(now.as_nanos()).0 as u8;
        (is_of_now && usize::from(record.mss) < MSS.len()).then_some(record.mss)
    }

    fn close_gate(&mut self, listener: u16) {
        let Some(door) = self.door_of(listener) else { return };
        let Some(front) = &mut self.front else { return };
        if !front.put_door(listener, Some(door)) {
            return;
        }
        self.counters.count(Counter::GatesClosed);
        front.has_begun = true;
        if self.flows.array().is_none() {
            let FrontWords { gate, flows, summary, .. } = front.words.clone();
            let array = FlowArray::new(gate, (flows, summary), self.config.index as u8);
            self.flows.write_down(array);
            front.filled = Some(0);
        }
        // At once: there may be no frame for a while.
        front.due = Some(Instant::ZERO);
    }

    fn open_gate(&mut self, listener: u16, now: Instant) {
        let Some(front) = &mut self.front else { return };
        front.put_door(listener, None);
        self.counters.count(Counter::GatesOpened);
        // What was answered until now is taken for as long as a cookie is good.
        let until = Period::at(now.as_nanos()).0.wrapping_add(1);
        if let Some(listening) = self.listeners.at_mut(listener) {
            listening.cookies_until = Some(until);
        }
    }

    /// What the XDP program answers SYNs for a listener with.
    fn door_of(&self, listener: u16) -> Option<Door> {
        let listening = self.listeners.at(listener)?;
        let tcp = &self.config.tcp;
        let asked = listening.max_segment.unwrap_or(u16::MAX);
        let mss = [40, 60].map(|headers| self.config.mtu.saturating_sub(headers).min(asked));
        let octets = listening.receive_buffer.unwrap_or(tcp.receive_window);
        let window = |mss: u16, stamps: u32| {
            first_window(octets, u32::from(mss).saturating_sub(stamps)).min(0xffff) as u16
        };
        let windows =
            [window(mss[0], 0), window(mss[0], 12), window(mss[1], 0), window(mss[1], 12)];
        let scale = listening.receive_buffer.map_or(tcp.window_scale(), window_scale);
        let options = [
            (tcp.window_scaling, Door::WINDOW_SCALING),
            (tcp.sack, Door::SACK),
            (tcp.timestamps, Door::TIMESTAMPS),
        ];
        let options = options.into_iter().filter(|(is_on, _)| *is_on).map(|(_, bit)| bit).sum();
        Some(Door::closed(windows, mss, scale, options))
    }

    /// Writes some of the flows down that there were before the first gate was closed.
    fn fill(&mut self, now: Instant) {
        let Some(front) = &mut self.front else { return };
        let Some(from) = front.filled else {
            front.due = None;
            return;
        };
        let limits = &self.config.limits;
        let bounds = [limits.connections, limits.half_open, limits.time_wait];
        let end = bounds.iter().sum::<usize>().min(from + FILLED);
        front.filled = (end < bounds.iter().sum()).then_some(end);
        front.due = front.filled.map(|_| now + FILL_PAUSE);
        let is_done = front.filled.is_none();
        for at in from..end {
            if let Some((tuple, kind)) = self.flow_at(at, bounds) {
                let hash = self.hasher.hash(&tuple);
                if let Some(array) = self.flows.array() {
                    array.ensure(hash, kind);
                }
            }
        }
        if is_done && let Some(array) = self.flows.array() {
            array.complete();
        }
    }

    /// The flow at a place, counted over all three tables.
    fn flow_at(
        &self,
        at: usize,
        [conns, half_open, _]: [usize; 3],
    ) -> Option<(FourTuple, FlowKind)> {
        if at < conns {
            let conn = self.conns.get(at as u32).filter(|conn| !conn.marks.has(Mark::Detached))?;
            return Some((*conn.tcb.tuple(), FlowKind::Tcb));
        }
        if at < conns + half_open {
            let entry = self.half_open.get((at - conns) as u32)?;
            return Some((entry.record.tuple, FlowKind::HalfOpen));
        }
        let record = self.time_waits.get((at - conns - half_open) as u32)?;
        Some((record.tuple, FlowKind::TimeWait))
    }
}

impl ShardFront {
    /// Closes or opens a listener's gate; whether there is one.
    fn put_door(&mut self, listener: u16, door: Option<Door>) -> bool {
        use core::sync::atomic::Ordering;
        let words: [u64; Door::WORDS] = transmute!(door.unwrap_or_default());
        let all = self.words.doors.as_ref();
        let Some(place) = all.get(usize::from(listener) * Door::WORDS..) else { return false };
        let Some(place) = place.get(..Door::WORDS) else { return false };
        self.closed.retain(|other| *other != listener);
        if door.is_some() {
            self.closed.push(listener);
        }
        // The first word says that the others count.
        for (place, word) in place.iter().zip(words).skip(1) {
            place.store(word, Ordering::Relaxed);
        }
        place[0].store(words[0], Ordering::Release);
        let gate = &self.words.gate.as_ref()[Gate::CLOSED];
        gate.store(self.closed.len() as u64, Ordering::Release);
        true
    }
}

/// Whether a queue is nearly full: three quarters.
const fn is_above(len: usize, most: usize) -> bool {
    len * 4 >= most * 3
}

/// Whether most of a queue is free again: three quarters.
const fn is_below(len: usize, most: usize) -> bool {
    len * 4 <= most
}

/// Places that are looked at in a turn, for flows to be written down.
const FILLED: usize = 1024;
/// How long the next turn of that may wait for frames.
const FILL_PAUSE: Duration = Duration::from_micros(100);
/// Buckets that are swept in a turn.
const SWEPT: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

//! One worker: the turn that moves frames between a socket and a shard, and the sleep between turns.
//!
//! Turn: completions, RX, hand-over, commands, timers, drain, one kick, refill, publish. No source
//! starves another, and `now` is read once.

use core::fmt;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::frame::{Frame, Rx};
use super::handover::{Port, Slot};
use super::running::{Ended, Phase, Shared, Upward};
use super::stack::Stack;
use super::syscalls::Kick;
use super::waiting::{Patience, Waiting};
use super::xsk::{Statistics, Xsk};
use super::{Clock, affinity};
use crate::observe::DatapathCounter;
use crate::shard::{AHEAD, Ahead, BATCH, Command, Elsewhere};
use crate::time::{Duration, Instant};

/// Why a worker cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerError {
    /// The interface was removed.
    InterfaceGone,
    /// The kernel refused to send, with this error number.
    Send(i32),
    /// The kernel refused to wait, with this error number.
    Poll(i32),
    /// A bug: the worker panicked, and its message went to stderr.
    Panicked,
}

impl fmt::Display for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let os = std::io::Error::from_raw_os_error;
        match *self {
            Self::InterfaceGone => f.write_str("the interface was removed"),
            Self::Send(errno) => write!(f, "the kernel refused to send: {}", os(errno)),
            Self::Poll(errno) => write!(f, "the kernel refused to wait: {}", os(errno)),
            Self::Panicked => f.write_str("the worker panicked"),
        }
    }
}

impl std::error::Error for WorkerError {}

/// What a worker is made of.
pub(super) struct Parts<S> {
    pub(super) index: u16,
    pub(super) stack: S,
    pub(super) xsk: Xsk,
    pub(super) port: Port,
    pub(super) shared: Arc<Shared>,
    pub(super) upward: Arc<Upward>,
    pub(super) clock: Clock,
    pub(super) waiting: Waiting,
    pub(super) cpu: Option<usize>,
}

/// One worker, which its thread owns.
pub(super) struct Worker<S> {
    parts: Parts<S>,
    /// Received frames of this turn.
    frames: Vec<Frame<Rx>>,
    /// Handed-over frames of this turn.
    slots: Vec<(usize, Slot)>,
    /// The shard's counters as last published.
    last: Vec<u64>,
    /// When the kernel's statistics are read next.
    statistics_due: Instant,
    phase: Phase,
    patience: Patience,
    /// Whether the last kick found the interface down.
    is_down: bool,
}

impl<S: Stack> Worker<S> {
    pub(super) fn new(parts: Parts<S>) -> Self {
        Self {
            last: vec![0; parts.stack.counters().values().len()],
            patience: Patience::new(parts.waiting),
            parts,
            frames: Vec::with_capacity(BATCH),
            slots: Vec::with_capacity(BATCH),
            statistics_due: Instant::ZERO,
            phase: Phase::Serving,
            is_down: false,
        }
    }

    /// Turns until told to stop or until the interface is gone, and says so.
    pub(super) fn run(mut self) {
        let index = self.parts.index;
        if let Some(cpu) = self.parts.cpu
            && let Err(err) = affinity::pin_to(cpu)
        {
            tracing::warn!(worker = index, cpu, %err, "the worker could not be pinned");
        }
        let mut end = EndNotice {
            upward: Arc::clone(&self.parts.upward),
            shard: index,
            error: Some(WorkerError::Panicked),
        };
        end.error = self.turn_until_stopped().err();
    }

    fn turn_until_stopped(&mut self) -> Result<(), WorkerError> {
        while !self.parts.shared.stop.load(Ordering::Acquire) {
            let now = self.parts.clock.now();
            let has_done = self.turn(now)? > 0;
            if has_done {
                self.patience.on_work(now);
            } else if self.patience.is_over(now) {
                self.sleep()?;
            } else {
                core::hint::spin_loop();
            }
        }
        self.publish(Instant::NEVER);
        Ok(())
    }

    /// One turn; returns how many things there were to do.
    fn turn(&mut self, now: Instant) -> Result<usize, WorkerError> {
        let mut done = self.parts.xsk.receive(&mut self.frames, BATCH);
        // Meanwhile the first lines of what came are on their way.
        done += self.parts.xsk.complete();
        self.hand_in(now);
        done += self.take_over(now);
        done += self.commands(now);
        done += self.parts.stack.open_wanted(now);
        if self.parts.stack.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.parts.stack.on_timers(now);
            done += 1;
        }
        done += self.requests();
        let Parts { stack, xsk, .. } = &mut self.parts;
        if stack.has_work() {
            stack.drain(xsk, now);
        }
        self.kick()?;
        self.parts.xsk.refill();
        self.parts.xsk.assert_whole();
        if done > 0 || now >= self.statistics_due {
            self.publish(now);
        }
        self.parts.shared.published.add(DatapathCounter::Turns, 1);
        self.enter_phase();
        Ok(done)
    }

    /// Gives the stack what was received.
    fn hand_in(&mut self, now: Instant) {
        // A few frames should not have to clear the places of many.
        match self.frames.len() {
            0 => {}
            1..=FEW => self.hand_in_at_most::<FEW>(now),
            _ => self.hand_in_at_most::<BATCH>(now),
        }
    }

    /// Gives the stack received frames, at most `MOST`, and passes on those that belong to other shards.
    fn hand_in_at_most<const MOST: usize>(&mut self, now: Instant) {
        let Parts { stack, xsk, port, shared, .. } = &mut self.parts;
        let n = self.frames.len();
        let mut views: [&[u8]; MOST] = [&[]; MOST];
        // Where the records are, which the shard seldom reads.
        let mut ahead: [Ahead<'_>; MOST] = [&[0; AHEAD]; MOST];
        for ((view, ahead), frame) in views.iter_mut().zip(&mut ahead).zip(&self.frames) {
            (*view, *ahead) = (xsk.packet(frame), xsk.ahead(frame));
        }
        let views = &views[..n];
        let published = &shared.published;
        let mut elsewhere = |index: usize, to: Elsewhere| {
            let Some(frame) = views.get(index) else { return };
            let (sent, wanted) = match to {
                Elsewhere::Owner(owner) => (usize::from(port.send(usize::from(owner), frame)), 1),
                Elsewhere::Every => (port.send_to_all(frame), port.others()),
            };
            published.add(DatapathCounter::HandedOver, sent as u64);
            published.add(DatapathCounter::HandOverFull, (wanted - sent) as u64);
        };
        stack.on_frames_told(views, &ahead[..n], &mut elsewhere, now);
        xsk.release(&mut self.frames);
    }

    /// Takes frames that other shards handed over.
    fn take_over(&mut self, now: Instant) -> usize {
        let Parts { stack, port, .. } = &mut self.parts;
        port.receive(&mut self.slots, BATCH);
        let n = self.slots.len();
        if n == 0 {
            return 0;
        }
        let mut views: [&[u8]; BATCH] = [&[]; BATCH];
        for (view, (_, slot)) in views.iter_mut().zip(&self.slots) {
            *view = slot.frame();
        }
        stack.on_handed_over(&views[..n], now);
        port.release(&mut self.slots);
        n
    }

    fn commands(&mut self, now: Instant) -> usize {
        // To take from an empty queue is a fence; what comes a moment later is for the next turn.
        if self.parts.shared.commands.is_empty() {
            return 0;
        }
        for n in 0..COMMANDS_PER_TURN {
            let Some(command) = self.parts.shared.commands.pop() else { return n };
            if matches!(command, Command::Shutdown { .. }) && self.phase == Phase::Serving {
                self.phase = Phase::Draining;
                self.parts.shared.enter(Phase::Draining);
            }
            self.parts.stack.on_command(command, now);
        }
        COMMANDS_PER_TURN
    }

    fn requests(&mut self) -> usize {
        let mut n = 0;
        while n < BATCH
            && let Some(request) = self.parts.stack.poll_request()
        {
            n += 1;
            if self.parts.upward.requests.push((self.parts.index, request)).is_err() {
                self.parts.shared.published.add(DatapathCounter::RequestsDropped, 1);
            }
        }
        if n > 0 {
            self.parts.upward.waker.wake();
        }
        n
    }

    /// Sends what is on the transmit ring, and tells an interface that is down from one that is
    /// gone.
    fn kick(&mut self) -> Result<(), WorkerError> {
        let was_down = self.is_down;
        match self.parts.xsk.kick() {
            Kick::Done | Kick::Again => self.is_down = false,
            Kick::Down => self.is_down = true,
            Kick::Gone => return Err(WorkerError::InterfaceGone),
            Kick::Failed(errno) => return Err(WorkerError::Send(errno)),
        }
        if self.is_down && !was_down {
            tracing::warn!(worker = self.parts.index, "the interface is down: waiting for it");
        }
        Ok(())
    }

    fn publish(&mut self, now: Instant) {
        let Parts { stack, xsk, shared, .. } = &mut self.parts;
        let published = &shared.published;
        published.put_counters(stack.counters().values(), &mut self.last);
        published.put_states(&stack.census());
        if now < self.statistics_due {
            return;
        }
        self.statistics_due = now + STATISTICS_INTERVAL;
        xsk.on_second();
        // An interface that is gone has no statistics; the last ones stand.
        let Ok(Statistics { rx_dropped, rx_ring_full, fill_ring_empty, rx_invalid, tx_invalid }) =
            xsk.statistics()
        else {
            return;
        };
        published.put(DatapathCounter::RxDropped, rx_dropped);
        published.put(DatapathCounter::RxRingFull, rx_ring_full);
        published.put(DatapathCounter::FillRingEmpty, fill_ring_empty);
        published.put(DatapathCounter::RxInvalid, rx_invalid);
        published.put(DatapathCounter::TxInvalid, tx_invalid);
    }

    /// After Shutdown: says once that nothing is left.
    fn enter_phase(&mut self) {
        let Parts { stack, xsk, shared, upward, .. } = &mut self.parts;
        if self.phase == Phase::Draining
            && stack.is_idle()
            && !stack.has_work()
            && (xsk.waiting() == 0 || self.is_down)
        {
            self.phase = Phase::Drained;
            shared.enter(Phase::Drained);
            upward.waker.wake();
        }
    }

    /// Sleeps until a frame, a hand-over, a command or a deadline.
    fn sleep(&mut self) -> Result<(), WorkerError> {
        let Parts { stack, xsk, port, shared, clock, .. } = &mut self.parts;
        shared.waker.prepare();
        let is_busy = xsk.has_frames()
            || port.has_frames()
            || !shared.commands.is_empty()
            || shared.stop.load(Ordering::Acquire);
        if is_busy {
            shared.waker.awake();
            return Ok(());
        }
        let mut timeout = stack.next_deadline().map(|deadline| deadline.since(clock.now()));
        if stack.has_work() || xsk.waiting() > 0 {
            // Waits for the kernel to take or complete frames, of which no descriptor tells.
            let pause = if self.is_down { DOWN_PAUSE } else { BLOCKED_PAUSE };
            timeout = Some(timeout.map_or(pause, |timeout| timeout.min(pause)));
        } else {
            // Statistics are read once a second, also when nothing else happens.
            let due = self.statistics_due.since(clock.now()).max(STATISTICS_PAUSE);
            timeout = Some(timeout.map_or(due, |timeout| timeout.min(due)));
        }
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            shared.waker.awake();
            return Ok(());
        }
        shared.published.add(DatapathCounter::Sleeps, 1);
        let mut fds = [
            PollFd::new(xsk.as_fd(), PollFlags::POLLIN),
            PollFd::new(shared.waker.as_fd(), PollFlags::POLLIN),
        ];
        let polled = ppoll(&mut fds, timeout.map(TimeSpec::from_duration), None);
        let is_broken = fds[0]
            .revents()
            .is_some_and(|events| events.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL));
        shared.waker.awake();
        match polled {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(WorkerError::Poll(errno as i32)),
        }
        // The kernel reports ENETDOWN on a socket whose interface was unregistered.
        if is_broken && matches!(xsk.pending_error(), libc::ENETDOWN | libc::ENXIO | libc::ENODEV) {
            return Err(WorkerError::InterfaceGone);
        }
        Ok(())
    }
}

/// Tells the control plane that the thread ended, also when it panicked.
struct EndNotice {
    upward: Arc<Upward>,
    shard: u16,
    error: Option<WorkerError>,
}

impl Drop for EndNotice {
    fn drop(&mut self) {
        // One place for each worker: there is room.
        let _ = self.upward.ended.push(Ended { shard: self.shard, error: self.error });
        self.upward.waker.wake();
    }
}

/// So many frames are few.
const FEW: usize = 8;
/// Commands carried out in one turn.
const COMMANDS_PER_TURN: usize = 64;
/// How often the kernel's statistics are read at most.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(1);
/// The least sleep before the statistics are read.
const STATISTICS_PAUSE: Duration = Duration::from_millis(10);
/// Sleep of a worker whose frames the kernel does not take.
const BLOCKED_PAUSE: Duration = Duration::from_micros(100);
/// Sleep of a worker whose interface is down.
const DOWN_PAUSE: Duration = Duration::from_millis(100);

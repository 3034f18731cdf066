//! What a worker drives, so that the rings can be turned without TCP.

use crate::counters::Counters;
use crate::shard::{Ahead, Command, Elsewhere, Request, Shard, Transmit};
use crate::tcp::State;
use crate::time::Instant;

/// What a worker drives: a [`Shard`], or a stand-in for one in tests of the rings.
///
/// The methods are those of [`Shard`], where they are described.
pub trait Stack: Send + 'static {
    /// See [`Shard::on_frames`].
    fn on_frames(
        &mut self,
        frames: &[&[u8]],
        elsewhere: &mut dyn FnMut(usize, Elsewhere),
        now: Instant,
    );
    /// See [`Shard::on_frames_told`]. A stand-in need not care for what the program tells.
    fn on_frames_told(
        &mut self,
        frames: &[&[u8]],
        _ahead: &[Ahead<'_>],
        elsewhere: &mut dyn FnMut(usize, Elsewhere),
        now: Instant,
    ) {
        self.on_frames(frames, elsewhere, now);
    }
    /// See [`Shard::on_handed_over`].
    fn on_handed_over(&mut self, frames: &[&[u8]], now: Instant);
    /// See [`Shard::on_timers`].
    fn on_timers(&mut self, now: Instant);
    /// See [`Shard::on_command`].
    fn on_command(&mut self, command: Command, now: Instant);
    /// See [`Shard::open_wanted`].
    fn open_wanted(&mut self, now: Instant) -> usize;
    /// See [`Shard::drain`].
    fn drain(&mut self, tx: &mut dyn Transmit, now: Instant);
    /// See [`Shard::poll_request`].
    fn poll_request(&mut self) -> Option<Request>;
    /// See [`Shard::has_work`].
    fn has_work(&self) -> bool;
    /// See [`Shard::is_idle`].
    fn is_idle(&self) -> bool;
    /// See [`Shard::next_deadline`].
    fn next_deadline(&self) -> Option<Instant>;
    /// See [`Shard::counters`].
    fn counters(&self) -> &Counters;
    /// See [`Shard::census`].
    fn census(&self) -> [u32; State::ALL.len()];
}

impl Stack for Shard {
    fn on_frames(
        &mut self,
        frames: &[&[u8]],
        elsewhere: &mut dyn FnMut(usize, Elsewhere),
        now: Instant,
    ) {
        self.on_frames(frames, elsewhere, now);
    }
    fn on_frames_told(
        &mut self,
        frames: &[&[u8]],
        ahead: &[Ahead<'_>],
        elsewhere: &mut dyn FnMut(usize, Elsewhere),
        now: Instant,
    ) {
        self.on_frames_told(frames, ahead, elsewhere, now);
    }
    fn on_handed_over(&mut self, frames: &[&[u8]], now: Instant) {
        self.on_handed_over(frames, now);
    }
    fn on_timers(&mut self, now: Instant) {
        self.on_timers(now);
    }
    fn on_command(&mut self, command: Command, now: Instant) {
        self.on_command(command, now);
    }
    fn open_wanted(&mut self, now: Instant) -> usize {
        self.open_wanted(now)
    }
    fn drain(&mut self, tx: &mut dyn Transmit, now: Instant) {
        self.drain(tx, now);
    }
    fn poll_request(&mut self) -> Option<Request> {
        self.poll_request()
    }
    fn has_work(&self) -> bool {
        self.has_work()
    }
    fn is_idle(&self) -> bool {
        self.is_idle()
    }
    fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline()
    }
    fn counters(&self) -> &Counters {
        self.counters()
    }
    fn census(&self) -> [u32; State::ALL.len()] {
        self.census()
    }
}

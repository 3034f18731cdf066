//! What the user of a connection may call (RFC 9293, section 3.9.1).

use super::congestion::Algorithm;
use super::deadline::Deadline;
use super::own::{More, Switch};
use super::pool::{Chain, Cursor, Pool};
use super::tcb::{Ack, Fin};
use super::timers::NEVER_SILENT;
use super::{Cause, CloseReason, Config, Env, State, Tcb};
use crate::counters::Counter;
use crate::tcp::events::Note;
use crate::time::{Duration, Instant};

impl Tcb {
    /// SEND: queues text; returns how many octets were taken.
    pub fn send(&mut self, data: &[u8], env: &mut Env<'_>) -> usize {
        let room = self.begin_send(data.len(), env);
        let taken = self.snd.buffer.append(env.pool, &data[..room]);
        self.end_send(data.len() - taken);
        taken
    }

    /// As [`Tcb::send`], of text that lives as long as the process: it need not be copied.
    pub fn send_static(&mut self, data: &'static [u8], env: &mut Env<'_>) -> usize {
        let room = self.begin_send(data.len(), env);
        let taken = self.snd.buffer.append_lent(env.pool, &data[..room]);
        self.end_send(data.len() - taken);
        taken
    }

    /// How many of `len` octets may be queued.
    fn begin_send(&mut self, len: usize, env: &Env<'_>) -> usize {
        self.set_more(More::Unsaid);
        self.send_room(env.pool, env.config).min(len)
    }

    /// So many octets were not taken.
    fn end_send(&mut self, left: usize) {
        if left > 0 {
            self.switches.set(Switch::Starved, true);
        }
    }

    /// As [`Tcb::send`], and more follows soon (Linux's MSG_MORE): a short segment at the end waits
    /// for it, but no longer than until something arrives or a timeout passes, and carries no PSH.
    pub fn send_more(&mut self, data: &[u8], env: &mut Env<'_>) -> usize {
        let taken = self.send(data, env);
        // What did not fit comes when there is room: until then nothing has been announced.
        if taken == data.len() {
            self.set_more(More::Held);
        }
        taken
    }

    /// Whether the user waits for room that only the pool keeps from it: its own connection has
    /// made enough, so that no acknowledgment need come that tells it of more.
    #[inline]
    pub fn waits_for_pool(&self, pool: &Pool, config: &Config) -> bool {
        self.switches.has(Switch::Starved)
            && self.own_room(pool, config) >= self.room_to_tell(pool, config)
    }

    /// An acknowledgment made room: tells a user that waits for it, once there is enough.
    pub(super) fn tell_of_room(&mut self, env: &Env<'_>) {
        if self.switches.has(Switch::Starved)
            && self.send_room(env.pool, env.config) >= self.room_to_tell(env.pool, env.config)
        {
            self.on_pool_room();
        }
    }

    /// The room that is worth a call of the user, in octets: Linux's third.
    fn room_to_tell(&self, pool: &Pool, config: &Config) -> usize {
        self.send_limit(pool, config) as usize / 3
    }

    /// The pool has room again: tells a user that waits for it.
    pub fn on_pool_room(&mut self) {
        if self.switches.has(Switch::Starved) {
            self.events.note(Note::Writable);
        }
        self.switches.set(Switch::Starved, false);
    }

    /// Octets that [`Tcb::send`] would take now: twice the congestion window, so that the sender
    /// never waits for its user, within the configured bounds.
    pub fn send_room(&self, pool: &Pool, config: &Config) -> usize {
        self.own_room(pool, config).min(pool.room_to_send())
    }

    /// As [`Tcb::send_room`], if the pool had room for it.
    fn own_room(&self, pool: &Pool, config: &Config) -> usize {
        if !self.state().is_sending() || self.snd.fin != Fin::None {
            return 0;
        }
        let limit = self.send_limit(pool, config) as usize;
        limit.saturating_sub(self.snd.buffer.len())
    }

    /// What the send buffer may hold in octets.
    pub(super) fn send_limit(&self, pool: &Pool, config: &Config) -> u32 {
        if let Some(set) = self.own.as_ref().and_then(|own| own.send_buffer) {
            return set;
        }
        let window = self.cc.window().cwnd().saturating_mul(self.max_text());
        let wanted = if pool.is_under_pressure() { 0 } else { window.saturating_mul(2) };
        wanted.max(MIN_SEND_BUFFER).min(config.max_send_buffer)
    }

    /// SEND with the urgent flag (RFC 9293, 3.8.5): as [`Tcb::send`], and all that was taken, with
    /// all before it, becomes urgent.
    pub fn send_urgent(&mut self, data: &[u8], env: &mut Env<'_>) -> usize {
        // RFC 9293 3.8.5 (MUST-30), CM-9.b.
        let taken = self.send(data, env);
        if taken > 0 {
            // RFC 9293 3.8.5 (MUST-62): the pointer names the octet after the last urgent one.
            self.own_mut().snd_up = Some(self.text_end());
            // The peer hears of it although it takes no text now (RFC 9293 3.8.6: MUST-66): where
            // none goes out, this does.
            self.owed.ack = Ack::Now;
        }
        taken
    }

    /// Sends no more: FIN follows what is queued. This is CLOSE of RFC 9293, 3.10.4; reading goes
    /// on. A second call changes nothing.
    pub fn shutdown_write(&mut self, env: &mut Env<'_>) {
        self.set_more(More::Unsaid);
        match self.state() {
            // RFC 9293 3.10.4, CM-1.d, CM-1.f: what is queued goes first, and reading goes on.
            State::SynSent => self.close_with(CloseReason::Aborted, Cause::Close, env),
            State::SynReceived => self.switches.set(Switch::ClosesWhenOpen, true),
            State::Established => {
                self.snd.fin = Fin::Queued;
                self.enter(State::FinWait1, Cause::Close, env);
            }
            State::CloseWait => {
                self.snd.fin = Fin::Queued;
                self.enter(State::LastAck, Cause::Close, env);
            }
            // Closed already, by us or for good.
            State::Closed
            | State::Listen
            | State::FinWait1
            | State::FinWait2
            | State::Closing
            | State::LastAck
            | State::TimeWait => {}
        }
    }

    /// Reads no more: what is unread is dropped, and so is what still arrives, acknowledged. The
    /// peer is not told.
    pub fn shutdown_read(&mut self, env: &mut Env<'_>) {
        self.switches.set(Switch::Deaf, true);
        self.rcv.unread.clear(env.pool);
        self.on_consumed();
    }

    /// Closes both directions for good, as close(2) does: nobody reads any more, and what is queued
    /// goes out in background, followed by FIN. Text that the user has not read, or that arrives
    /// later, is lost, so that the peer gets a RST for it (RFC 1122, 4.2.2.13; RFC 2525, 2.17).
    /// What else happens is the setting to linger's.
    pub fn close(&mut self, env: &mut Env<'_>, now: Instant) {
        if self.is_forsaken() {
            return;
        }
        if matches!(self.state(), State::Closed | State::TimeWait) {
            self.switches.set(Switch::Closed, true);
            return self.lose_unread(env);
        }
        let linger = self.linger(env.config);
        // CM-5.c, CM-5.d, CM-5.e.
        if linger == Some(Duration::ZERO) {
            env.counters.count(Counter::AbortsOnLinger);
            return self.abort(env);
        }
        // RFC 9293 3.6.1 (SHLD-3, MAY-1), CM-5.f.
        if self.has_unread() {
            env.counters.count(Counter::AbortsOnClose);
            return self.abort(env);
        }
        self.switches.set(Switch::Closed, true);
        self.timers.user = linger.map_or(Deadline::NEVER, |time| Deadline::after(time, now));
        self.timers.idle = Deadline::NEVER;
        self.shutdown_write(env);
        match self.state() {
            // Nothing is left that anybody could wait for.
            State::FinWait2 => {
                self.timers.user = Deadline::NEVER;
                self.timers.idle = Deadline::after(self.fin_wait_2(env.config), now);
                self.release_lingering(env.config);
            }
            State::Closed => self.timers.user = Deadline::NEVER,
            _ => {}
        }
    }

    /// Chooses the congestion control; the window stays what it is.
    pub fn set_congestion(&mut self, algorithm: Algorithm) {
        self.cc.choose(algorithm);
    }

    /// The congestion control.
    pub fn congestion(&self) -> Algorithm {
        self.cc.algorithm()
    }

    /// Text came while the user was closing for good, and it has taken no more of it: it is lost, and
    /// the peer gets to know (RFC 2525, 2.17).
    pub fn lose_unread(&mut self, env: &mut Env<'_>) {
        if !self.is_forsaken() || !self.has_unread() {
            return;
        }
        match self.state() {
            // The peer has closed too, and waits for nothing.
            State::Closed | State::TimeWait => self.rcv.unread.clear(env.pool),
            _ => {
                env.counters.count(Counter::AbortsOnClose);
                self.abort(env);
            }
        }
    }

    /// The peer has acknowledged our FIN: a user that lingers waits for nothing more.
    pub(super) fn release_lingering(&mut self, config: &Config) {
        if self.is_orphan() && self.linger(config).is_some() {
            self.timers.user = Deadline::NEVER;
            self.events.note_release(CloseReason::Closed);
        }
    }

    /// Whether the user has closed for good a connection that still lives.
    pub fn is_orphan(&self) -> bool {
        self.switches.has(Switch::Closed) && self.state() != State::Closed
    }

    /// Whether the user has closed for good.
    pub fn is_forsaken(&self) -> bool {
        self.switches.has(Switch::Closed)
    }

    /// Whether it holds text that it does not get rid of: the peer's window is closed, or, where
    /// the user has closed for good, the peer does not answer.
    #[inline(always)]
    pub fn is_stuck(&self) -> bool {
        let is_silent = self.timers.silent_since != NEVER_SILENT && !self.snd.buffer.is_empty();
        is_silent && self.state() != State::Closed && (self.snd.wnd == 0 || self.is_orphan())
    }

    /// ABORT: drops what is queued and owes a RST (RFC 9293, 3.10.5).
    pub fn abort(&mut self, env: &mut Env<'_>) {
        self.abort_with(CloseReason::Aborted, env);
    }

    /// As [`Tcb::abort`], for a reason of ours.
    pub fn abort_with(&mut self, reason: CloseReason, env: &mut Env<'_>) {
        // CM-5.g.
        let tells_peer = match self.state() {
            State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait => true,
            // The peer has had everything but what is dropped here.
            State::Closing | State::LastAck => self.has_unsent(),
            State::Closed | State::Listen | State::SynSent | State::TimeWait => false,
        };
        self.close_with(reason, Cause::Abort, env);
        if tells_peer {
            self.switches.set(Switch::OwesRst, true);
        }
        self.switches.set(Switch::TextLost, true);
        self.rcv.unread.clear(env.pool);
    }

    /// Whether text waits that the user has not consumed.
    pub fn has_unread(&self) -> bool {
        !self.rcv.unread.is_empty()
    }

    /// Whether unread text is of no use any more: the connection was aborted, reset or given up.
    pub fn is_text_lost(&self) -> bool {
        self.switches.has(Switch::TextLost)
    }

    /// Octets of text that wait for the user.
    pub fn unread(&self) -> usize {
        self.rcv.unread.len()
    }

    /// Copies unread text, from its start, and leaves it where it is; returns how many octets.
    pub fn peek(&self, out: &mut [u8], pool: &Pool) -> usize {
        let len = out.len().min(self.unread());
        Cursor::default().read((pool, &self.rcv.unread), (0, 0), &mut out[..len]);
        len
    }

    /// Takes unread text; returns how many octets.
    pub fn read(&mut self, out: &mut [u8], env: &mut Env<'_>) -> usize {
        let len = self.peek(out, env.pool);
        if len > 0 {
            self.rcv.unread.consume(env.pool, len);
            self.on_consumed();
        }
        len
    }

    /// Octets that were queued and never sent.
    pub fn unsent(&self) -> usize {
        match self.snd.nxt.is_before(self.text_end()) {
            true => self.text_end().since(self.snd.nxt) as usize,
            false => 0,
        }
    }

    /// Octets that were queued and are not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.snd.buffer.len()
    }

    /// How many octets lie between the user and the end of the peer's urgent data: zero at the
    /// mark, `None` where there is none ahead (RFC 9293, 3.8.5: MUST-33). `held` octets were taken
    /// from the receive buffer and not consumed.
    pub fn urgent_ahead(&self, held: usize) -> Option<u32> {
        let up = self.own.as_ref()?.rcv_up?;
        let at = self.rcv.nxt - (self.unread() + held) as u32;
        (!up.is_before(at)).then(|| up.since(at))
    }

    /// Takes the unread text away, for a caller that offers it to the user; what is not consumed
    /// goes back with [`Tcb::put_unread`].
    pub fn take_unread(&mut self) -> Chain {
        core::mem::take(&mut self.rcv.unread)
    }

    /// Puts back what [`Tcb::take_unread`] gave and the user did not consume.
    pub fn put_unread(&mut self, chain: Chain) {
        debug_assert!(self.rcv.unread.is_empty());
        self.rcv.unread = chain;
    }

    /// Keeps text behind what is unread already. The pool's reserve has room for it.
    pub fn keep_unread(&mut self, text: &[u8], env: &mut Env<'_>) {
        let kept = self.rcv.unread.append(env.pool, text);
        debug_assert_eq!(kept, text.len(), "the reserve holds every accepted segment");
    }

    /// Keeps text that reassembly gave, behind what is unread already.
    pub fn keep_chain(&mut self, chain: Chain, env: &mut Env<'_>) {
        self.rcv.unread.concat(env.pool, chain);
    }

    /// The user consumed text: a window that was closed, or nearly, opens with an ACK of its own
    /// (RFC 9293, 3.8.6.2.2: receiver's SWS avoidance).
    pub fn on_consumed(&mut self) {
        if !self.state().is_receiving() {
            return;
        }
        let offered = self.rcv.edge.since(self.rcv.nxt);
        let room = self.window_room();
        if offered < self.rcv.limit / 4 && room >= offered + self.window_step() {
            self.owed.ack = Ack::Now;
        }
    }
}

/// What a connection may queue even when the pool is short or the window is small.
const MIN_SEND_BUFFER: u32 = 64 << 10;

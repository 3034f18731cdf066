//! What the user of a connection may call (RFC 9293, section 3.9.1).

use super::congestion::Algorithm;
use super::pool::{Chain, Pool};
use super::tcb::{Ack, Fin};
use super::{Cause, CloseReason, Config, Env, State, Tcb};

impl Tcb {
    /// SEND: queues text; returns how many octets were taken.
    pub fn send(&mut self, data: &[u8], env: &mut Env<'_>) -> usize {
        let room = self.send_room(env.pool, env.config).min(data.len());
        let taken = self.snd.buffer.append(env.pool, &data[..room]);
        self.snd.is_starved |= taken < data.len();
        taken
    }

    /// Whether the user waits for room: a [`Tcb::send`] took less than it was given.
    pub fn is_starved(&self) -> bool {
        self.snd.is_starved
    }

    /// The pool has room again: tells a user that waits for it.
    pub fn on_pool_room(&mut self) {
        self.events.writable |= core::mem::take(&mut self.snd.is_starved);
    }

    /// Octets that [`Tcb::send`] would take now: twice the congestion window, so that the sender
    /// never waits for its user, within the configured bounds.
    pub fn send_room(&self, pool: &Pool, config: &Config) -> usize {
        if !self.state().is_sending() || self.snd.fin != Fin::None {
            return 0;
        }
        let limit = self.send_limit(pool, config) as usize;
        limit.saturating_sub(self.snd.buffer.len()).min(pool.room_to_send())
    }

    /// What the send buffer may hold in octets.
    pub(super) fn send_limit(&self, pool: &Pool, config: &Config) -> u32 {
        let window = self.cc.window().cwnd().saturating_mul(self.max_text());
        let wanted = if pool.is_under_pressure() { 0 } else { window.saturating_mul(2) };
        wanted.max(MIN_SEND_BUFFER).min(config.max_send_buffer)
    }

    /// CLOSE: FIN follows what is queued (RFC 9293, 3.10.4). A second CLOSE changes nothing.
    pub fn close(&mut self, env: &mut Env<'_>) {
        match self.state() {
            State::SynSent => self.close_with(CloseReason::Aborted, Cause::Close, env),
            State::SynReceived => self.snd.closes_when_open = true,
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

    /// ABORT: drops what is queued and owes a RST (RFC 9293, 3.10.5).
    pub fn abort(&mut self, env: &mut Env<'_>) {
        let tells_peer = matches!(
            self.state(),
            State::SynReceived
                | State::Established
                | State::FinWait1
                | State::FinWait2
                | State::CloseWait
        );
        self.close_with(CloseReason::Aborted, Cause::Abort, env);
        self.owed.rst |= tells_peer;
        self.rcv.is_lost = true;
        self.rcv.unread.clear(env.pool);
    }

    /// The network says that the peer cannot be reached: the end of an open, and a hint to a
    /// connection that had answers before (RFC 9293, 3.9.2.2; RFC 5927, section 4).
    pub fn on_unreachable(&mut self, reason: CloseReason, env: &mut Env<'_>) {
        if matches!(self.state(), State::SynSent | State::SynReceived) {
            self.close_with(reason, Cause::Timeout, env);
        }
    }

    /// Whether `seq` was sent and is not acknowledged (RFC 5927, section 4.1).
    pub fn is_in_flight(&self, seq: super::SeqNum) -> bool {
        seq.is_within(self.snd.una, self.snd.nxt.since(self.snd.una))
    }

    /// Chooses the congestion control; the window stays what it is.
    pub fn set_congestion(&mut self, algorithm: Algorithm) {
        self.cc.choose(algorithm);
    }

    /// The congestion control.
    pub fn congestion(&self) -> Algorithm {
        self.cc.algorithm()
    }

    /// Whether short segments go out at once (RFC 9293, 3.7.4).
    pub fn set_nodelay(&mut self, on: bool) {
        self.snd.is_nodelay = on;
    }

    /// Whether text waits that the user has not consumed.
    pub fn has_unread(&self) -> bool {
        !self.rcv.unread.is_empty()
    }

    /// Whether unread text is of no use any more: the connection was aborted, reset or given up.
    pub fn is_text_lost(&self) -> bool {
        self.rcv.is_lost
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

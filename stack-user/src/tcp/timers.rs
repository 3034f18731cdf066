//! The deadlines of a connection, and what happens when they pass.

use super::tcb::Ack;
use super::{Cause, CloseReason, Env, State, Tcb};
use crate::counters::Counter;
use crate::time::Instant;

/// When a connection wants to be looked at; [`Instant::NEVER`] where it does not.
#[derive(Debug)]
pub(super) struct Timers {
    /// Retransmission, or zero-window probe.
    pub retransmit: Instant,
    pub delayed_ack: Instant,
    /// FIN-WAIT-2 with nothing arriving.
    pub fin_wait_2: Instant,
    /// The user's own.
    pub user: Instant,
}

impl Default for Timers {
    fn default() -> Self {
        let never = Instant::NEVER;
        Self { retransmit: never, delayed_ack: never, fin_wait_2: never, user: never }
    }
}

impl Tcb {
    /// The earliest deadline; [`Instant::NEVER`] when there is none.
    pub fn next_deadline(&self) -> Instant {
        let Timers { retransmit, delayed_ack, fin_wait_2, user } = self.timers;
        retransmit.min(delayed_ack).min(fin_wait_2).min(user)
    }

    /// Handles every deadline that has passed.
    pub fn on_timer(&mut self, env: &mut Env<'_>, now: Instant) {
        if take_due(&mut self.timers.delayed_ack, now) && self.owed.ack == Ack::Delayed {
            self.owed.ack = Ack::Now;
        }
        if take_due(&mut self.timers.retransmit, now) {
            self.on_retransmit_timer(env, now);
        }
        if take_due(&mut self.timers.fin_wait_2, now) {
            self.close_with(CloseReason::TimedOut, Cause::Timeout, env);
        }
        if take_due(&mut self.timers.user, now) {
            self.events.timer = true;
        }
    }

    fn on_retransmit_timer(&mut self, env: &mut Env<'_>, now: Instant) {
        let limit = match self.state() {
            State::SynSent | State::SynReceived => env.config.syn_retries,
            _ => env.config.retries,
        };
        if self.rtt.unanswered() >= limit {
            self.close_with(CloseReason::TimedOut, Cause::Timeout, env);
            return;
        }
        self.rtt.back_off();
        self.timers.retransmit = now + self.rtt.timeout();
        if !self.state().is_synchronized() {
            env.counters.count(Counter::RetransmitTimeouts);
            self.owed.syn = true;
            self.snd.syn_retries = self.snd.syn_retries.saturating_add(1);
        } else if self.flight.is_empty() {
            // RFC 9293 3.8.6.1 (MUST-36, SHLD-29, SHLD-30): probe, less and less often.
            self.owed.probe = true;
        } else {
            self.on_retransmission_timeout(env);
        }
    }

    /// Stops every timer but the user's: nothing is left to do but to read.
    pub fn stop_timers(&mut self) {
        self.timers = Timers { user: self.timers.user, ..Timers::default() };
    }

    /// Sets or clears the user's timer.
    pub fn set_user_timer(&mut self, deadline: Instant) {
        self.timers.user = deadline;
    }
}

fn take_due(deadline: &mut Instant, now: Instant) -> bool {
    let is_due = *deadline <= now;
    if is_due {
        *deadline = Instant::NEVER;
    }
    is_due
}

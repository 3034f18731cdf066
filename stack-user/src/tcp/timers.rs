//! The deadlines of a connection, and what happens when they pass.

use super::deadline::Deadline;
use super::own::Switch;
use super::tcb::{Ack, Fin};
use super::{Cause, CloseReason, Config, Env, KeepAlive, State, Tcb, Trouble};
use crate::counters::Counter;
use crate::tcp::events::Note;
use crate::time::{Duration, Instant};

/// When a connection wants to be looked at; [`Deadline::NEVER`] where it does not.
#[derive(Debug)]
pub(super) struct Timers {
    /// Retransmission, or zero-window probe.
    pub retransmit: Deadline,
    pub delayed_ack: Deadline,
    /// The next keepalive probe; of an orphan the end of FIN-WAIT-2.
    pub idle: Deadline,
    /// The user's own; of an orphan the end of the time to linger.
    pub user: Deadline,
    /// Since when an answer is due that has not come, in milliseconds that wrap; or [`NEVER_SILENT`].
    pub silent_since: u32,
}

impl Default for Timers {
    fn default() -> Self {
        let never = Deadline::NEVER;
        Self {
            retransmit: never,
            delayed_ack: never,
            idle: never,
            user: never,
            silent_since: NEVER_SILENT,
        }
    }
}

impl Tcb {
    /// The earliest deadline, to the millisecond; [`Instant::NEVER`] when there is none.
    pub fn next_deadline(&self, now: Instant) -> Instant {
        if !self.has_timer() {
            return Instant::NEVER;
        }
        let Timers { retransmit, delayed_ack, idle, user, .. } = self.timers;
        // Nearly always it is the only one.
        if !Deadline::is_any_armed([delayed_ack, idle, user, Deadline::NEVER]) {
            return retransmit.instant(now);
        }
        Deadline::earliest([retransmit, delayed_ack, idle, user], now).instant(now)
    }

    /// Whether there is a deadline.
    #[inline]
    pub fn has_timer(&self) -> bool {
        let Timers { retransmit, delayed_ack, idle, user, .. } = self.timers;
        Deadline::is_any_armed([retransmit, delayed_ack, idle, user])
    }

    /// Handles every deadline that has passed.
    pub fn on_timer(&mut self, env: &mut Env<'_>, now: Instant) {
        if take_due(&mut self.timers.delayed_ack, now) && self.owed.ack == Ack::Delayed {
            self.owed.ack = Ack::Now;
        }
        if take_due(&mut self.timers.retransmit, now) {
            self.on_retransmit_timer(env, now);
        }
        if take_due(&mut self.timers.idle, now) {
            self.on_idle_timer(env, now);
        }
        if take_due(&mut self.timers.user, now) {
            self.on_user_timer();
        }
    }

    fn on_retransmit_timer(&mut self, env: &mut Env<'_>, now: Instant) {
        let limit = self.user_timeout(env.config);
        let is_window_closed = self.state().is_synchronized()
            && !self.snd.buffer.is_empty()
            && (self.snd.wnd == 0 || self.flight.is_empty());
        if self.timers.silent_since == NEVER_SILENT {
            // What is out was sent a timeout ago; a closed window is first asked about now.
            let ago = if is_window_closed { Duration::ZERO } else { self.rtt.timeout() };
            self.timers.silent_since = millis_before(now, ago);
        }
        let silence = self.silence(now);
        if self.has_given_up(is_window_closed, (limit, silence), env.config) {
            return self.give_up(limit.is_some_and(|limit| silence >= limit), env);
        }
        self.rtt.back_off();
        if self.rtt.unanswered() == R1 {
            // RFC 9293 3.8.3 (SHLD-9, SHLD-10, MUST-22), for SYNs as for data: the user is told, and
            // so is whoever knows the next hop.
            self.events.note_trouble(Trouble::Unanswered);
        }
        self.timers.retransmit = self.next_timeout(env.config, now);
        if !self.state().is_synchronized() {
            env.counters.count(Counter::RetransmitTimeouts);
            self.switches.set(Switch::OwesSyn, true);
            self.rare.syn_retries = self.rare.syn_retries.saturating_add(1);
        } else if self.flight.is_empty() {
            // RFC 9293 3.8.6.1 (MUST-36, SHLD-29, SHLD-30), CM-8.c: probe, less and less often.
            self.switches.set(Switch::OwesProbe, true);
        } else {
            // Into a closed window the first segment goes all the same, as a probe.
            self.on_timeout_proves_mtu(env);
            self.on_retransmission_timeout(env);
        }
    }

    /// When the peer is next held to be late: the retransmission timeout, or the end of the user
    /// timeout where that comes first.
    pub(super) fn next_timeout(&self, config: &Config, now: Instant) -> Deadline {
        let wait = self.rtt.timeout();
        if self.timers.silent_since == NEVER_SILENT {
            return Deadline::after(wait, now);
        }
        let rest = |limit: Duration| limit.saturating_sub(self.silence(now)).max(TICK);
        let wait = self.user_timeout(config).map_or(wait, |limit| wait.min(rest(limit)));
        Deadline::after(wait, now)
    }

    /// Whether the peer has had its time. The user timeout stands in for R2, shorter or longer; SYNs
    /// and window probes are counted all the same, as on Linux.
    fn has_given_up(
        &self,
        is_window_closed: bool,
        (limit, silence): (Option<Duration>, Duration),
        config: &Config,
    ) -> bool {
        let is_retransmission = self.state().is_synchronized() && !is_window_closed;
        // RFC 9293 3.8.3 (MUST-20, MUST-21): R2, which the user may set.
        if let Some(limit) = limit {
            let is_first = is_retransmission && self.rtt.unanswered() == 0;
            if silence >= limit && !is_first {
                return true;
            }
            if is_retransmission {
                return false;
            }
        }
        let retries = match self.state() {
            State::SynSent | State::SynReceived => self.syn_retries(config),
            _ if self.is_orphan() => config.orphan_retries,
            _ => config.retries,
        };
        // A peer that answers probes with its window closed holds a connection that somebody still
        // wants (RFC 9293 3.8.6.1: MUST-37), but no orphan.
        let is_tired = self.is_orphan() && self.rtt.is_at_maximum();
        self.rtt.unanswered() >= retries || is_tired
    }

    /// The peer is held to be gone. Where our FIN was not acknowledged it is told, in case that only
    /// its answers were lost; the user timeout ends in silence (RFC 9293, 3.10.8).
    fn give_up(&mut self, is_silent: bool, env: &mut Env<'_>) {
        // CM-5.a, CM-11.b.
        let has_closed = self.snd.fin == Fin::Queued;
        if self.is_orphan() {
            env.counters.count(Counter::AbortsOnTimeout);
        }
        self.close_with(self.timeout_reason(), Cause::Timeout, env);
        if has_closed && !is_silent {
            self.switches.set(Switch::OwesRst, true);
        }
    }

    /// RFC 9293 3.9.2.2 (SHLD-25): an error that the network reported explains the silence.
    fn timeout_reason(&self) -> CloseReason {
        self.soft_error.map_or(CloseReason::TimedOut, CloseReason::Unreachable)
    }

    /// For how long the peer has owed us an answer.
    pub fn silence(&self, now: Instant) -> Duration {
        match self.timers.silent_since {
            NEVER_SILENT => Duration::ZERO,
            since => Duration::from_millis(millis(now).wrapping_sub(since).into()),
        }
    }

    /// The peer said something acceptable: it lives.
    #[inline(always)]
    pub(super) fn on_heard(&mut self, config: &Config, now: Instant) {
        if self.switches.has(Switch::KeepAlive) {
            self.restart_keepalive(config, now);
        }
    }

    /// Nothing is due from the peer any more, or not the same thing.
    pub(super) fn on_progress(&mut self) {
        self.timers.silent_since = NEVER_SILENT;
        self.soft_error = None;
    }

    /// The time until the first keepalive probe begins anew (RFC 9293, 3.8.4).
    #[inline(never)]
    pub(super) fn restart_keepalive(&mut self, config: &Config, now: Instant) {
        if self.is_orphan() {
            return;
        }
        if self.probes > 0 {
            self.probes = 0;
            self.timers.silent_since = NEVER_SILENT;
        }
        // RFC 9293 3.8.4 (MUST-24): each connection may have it or not.
        let is_on = self.switches.has(Switch::KeepAlive) && self.state().is_synchronized();
        let idle = self.keepalive_times(config).idle;
        self.timers.idle = if is_on { Deadline::after(idle, now) } else { Deadline::NEVER };
    }

    /// FIN-WAIT-2 of an orphan has lasted long enough, or the peer is idle.
    fn on_idle_timer(&mut self, env: &mut Env<'_>, now: Instant) {
        if self.is_orphan() {
            // CM-5.b.
            self.close_with(CloseReason::TimedOut, Cause::Timeout, env);
            return;
        }
        let KeepAlive { idle, interval, count } = *self.keepalive_times(env.config);
        // RFC 9293 3.8.4 (MUST-26): only while nothing is outstanding; retransmission asks otherwise.
        if self.snd.nxt != self.snd.una || self.has_unsent() {
            self.timers.idle = Deadline::after(idle, now);
            return;
        }
        if self.probes == 0 {
            self.timers.silent_since = millis_before(now, idle);
        }
        // RFC 9293 3.8.4 (MUST-29): one probe without an answer says nothing.
        let is_dead = match self.user_timeout(env.config) {
            Some(limit) => self.probes > 0 && self.silence(now) >= limit,
            None => self.probes >= count,
        };
        if is_dead {
            env.counters.count(Counter::KeepAliveDrops);
            self.abort_with(self.timeout_reason(), env);
            return;
        }
        self.probes = self.probes.saturating_add(1);
        self.timers.idle = Deadline::after(interval, now);
        self.switches.set(Switch::OwesKeepAlive, true);
    }

    /// The user's timer, or the end of the time for which a user that has closed would wait.
    fn on_user_timer(&mut self) {
        if self.is_orphan() {
            self.events.note_release(CloseReason::Lingering);
        } else {
            self.events.note(Note::Timer);
        }
    }

    /// Stops every timer but the user's: nothing is left to do but to read.
    pub fn stop_timers(&mut self) {
        self.timers = Timers { user: self.timers.user, ..Timers::default() };
        self.probes = 0;
    }

    /// Sets or clears the user's timer. It waits for 24 days at most.
    pub fn set_user_timer(&mut self, delay: Option<Duration>, now: Instant) {
        self.timers.user = delay.map_or(Deadline::NEVER, |delay| Deadline::after(delay, now));
    }
}

fn take_due(deadline: &mut Deadline, now: Instant) -> bool {
    let is_due = deadline.is_due(now);
    if is_due {
        *deadline = Deadline::NEVER;
    }
    is_due
}

fn millis(now: Instant) -> u32 {
    now.as_millis() as u32
}

/// The milliseconds of `ago` before `now`; never [`NEVER_SILENT`].
fn millis_before(now: Instant, ago: Duration) -> u32 {
    millis(now).wrapping_sub(ago.as_millis() as u32).min(NEVER_SILENT - 1)
}

/// No answer is due, or none has been waited for in vain.
pub(super) const NEVER_SILENT: u32 = u32::MAX;

/// R1 of RFC 9293, 3.8.3: timeouts in a row after which the path is in doubt.
const R1: u8 = 3;
/// The wheel's tick: no deadline is nearer.
const TICK: Duration = Duration::from_millis(1);

//! What the network says of our segments: errors, soft and hard, and the MTU of the path.
//!
//! RFC 9293, 3.9.2.2, with the defences of RFC 5927: whoever can guess a connection's name can send
//! such a message, so that it has to quote a sequence number that is out, ends no connection that is
//! open, and shrinks no segment below what is known to arrive until a timeout proves it right.

use super::deadline::Deadline;
use super::own::Switch;
use super::{Cause, CloseReason, Env, SeqNum, Severity, Tcb, Trouble, Unreachable};
use crate::counters::Counter;
use crate::time::Instant;
use crate::wire::{icmp, ipv6};

impl Tcb {
    /// An ICMP error about a segment of this connection that began at `seq`.
    pub fn on_icmp(&mut self, error: icmp::Error, seq: SeqNum, env: &mut Env<'_>) {
        // RFC 5927 4.1: what is not out cannot have caused an error.
        // CM-7.i.
        if !self.is_in_flight(seq) {
            return env.counters.count(Counter::IcmpErrorsStale);
        }
        if let icmp::Error::FragmentationNeeded { mtu } = error {
            return self.on_fragmentation_needed((mtu, seq), env);
        }
        let Some((what, severity)) = Unreachable::of(error) else { return };
        if severity == Severity::Hard && !self.state().is_synchronized() {
            // RFC 9293 3.9.2.2 (SHLD-26), and RFC 5927 5.2 for the states where it holds no more.
            self.close_with(CloseReason::Unreachable(what), Cause::Timeout, env);
        } else {
            // RFC 9293 3.9.2.2 (MUST-56, SHLD-25) and 3.9.1.8 (MUST-47): told, and no more.
            self.soft_error = Some(what);
            self.events.note_trouble(Trouble::Unreachable(what));
        }
    }

    /// No route leads to the peer, or the next hop does not answer: the end of an open, and a hint to
    /// a connection that had answers before.
    pub fn on_no_next_hop(&mut self, env: &mut Env<'_>, now: Instant) {
        let what = Unreachable::NextHop;
        // A RST has nobody that would repeat it.
        self.switches.set(Switch::OwesRst, false);
        if self.state().is_synchronized() {
            self.soft_error = Some(what);
            // What never went out has no timer yet: it is tried again, and not for ever.
            if self.has_unsent() && !self.timers.retransmit.is_armed() {
                self.timers.retransmit = Deadline::after(self.rtt.timeout(), now);
            }
        } else {
            self.close_with(CloseReason::Unreachable(what), Cause::Timeout, env);
        }
    }

    /// What the network last said of the peer, until the peer acknowledges something (RFC 9293,
    /// 3.9.2.2: SHLD-25).
    pub fn soft_error(&self) -> Option<Unreachable> {
        // RFC 9293 3.9.1.8 (MUST-47, SHLD-20): who does not ask is not disturbed.
        self.soft_error
    }

    /// Whether `seq` was sent and is not acknowledged (RFC 5927, section 4.1).
    pub fn is_in_flight(&self, seq: SeqNum) -> bool {
        seq.is_within(self.snd.una, self.snd.nxt.since(self.snd.una))
    }

    /// A segment was too long for a link on the way, whose MTU is `mtu` (RFC 1191, RFC 8201;
    /// zero from routers that are older). Believed at once only where nothing as long is known to have arrived (RFC
    /// 5927, 7.2).
    fn on_fragmentation_needed(&mut self, (mtu, seq): (u16, SeqNum), env: &mut Env<'_>) {
        let headers = self.headers();
        let now = self.snd.mss + headers;
        let claimed = if mtu == 0 { plateau_below(now) } else { mtu };
        // RFC 8201 4: no link carries less of IPv6.
        let floor = if self.tuple.remote.is_v4() { MIN_MTU } else { ipv6::MIN_MTU };
        let mtu = claimed.max(floor);
        // What was sent from `seq` on cannot have been longer than all that is out.
        let longest = self.snd.nxt.since(seq) + u32::from(headers);
        if mtu >= now || longest <= u32::from(mtu) {
            return env.counters.count(Counter::IcmpErrorsStale);
        }
        if !self.state().is_synchronized() {
            self.snd.mss = mtu - headers;
        } else if mtu - headers >= self.rare.proven {
            self.shrink_segments(mtu, env);
        } else {
            self.own_mut().claimed_mtu = Some((mtu, seq));
        }
    }

    /// A timeout: a smaller MTU that was claimed before may well be the reason.
    pub(super) fn on_timeout_proves_mtu(&mut self, env: &mut Env<'_>) {
        let claimed = self.own.as_mut().and_then(|own| own.claimed_mtu.take());
        if let Some((mtu, _)) = claimed.filter(|(mtu, _)| mtu - self.headers() < self.snd.mss) {
            self.shrink_segments(mtu, env);
        }
    }

    /// Segments fit the path from here on. What is out did not arrive and goes again at once; that
    /// is no sign of congestion (RFC 1191, section 6.4).
    fn shrink_segments(&mut self, mtu: u16, env: &mut Env<'_>) {
        env.counters.count(Counter::PathMtuReductions);
        self.snd.mss = mtu - self.headers();
        self.rare.proven = 0;
        self.resend_longer_than(self.max_text(), env);
    }

    /// `acked` octets arrived; segments of that length, or of the longest, are known to fit.
    pub(super) fn note_proven(&mut self, acked: u32) {
        self.rare.proven = self.rare.proven.max(acked.min(u32::from(self.snd.mss)) as u16);
        let una = self.snd.una;
        if let Some(own) = &mut self.own {
            own.claimed_mtu = own.claimed_mtu.filter(|(_, seq)| !seq.is_before(una));
        }
    }

    /// Octets of the headers in front of the text and the options.
    fn headers(&self) -> u16 {
        if self.tuple.remote.is_v4() { 40 } else { 60 }
    }
}

/// The next MTU that is common below `mtu` (RFC 1191, section 7.1).
fn plateau_below(mtu: u16) -> u16 {
    PLATEAUS.into_iter().find(|plateau| *plateau < mtu).unwrap_or(MIN_MTU)
}

const PLATEAUS: [u16; 7] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006];
/// Linux's floor: a forged message cannot make us send headers with no text.
const MIN_MTU: u16 = 552;

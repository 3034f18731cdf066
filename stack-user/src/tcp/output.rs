//! Building segments: the only place where a connection's segments are made.
//!
//! A segment is written at [`HEADROOM`] of its frame, so that the headers of IP and Ethernet fit in
//! front of it whatever they are.

use super::congestion::Usage;
use super::deadline::Deadline;
use super::flight::Marks;
use super::own::{self, ASKS, More, Switch};
use super::repair::Again;
use super::tcb::{Ack, Fin, stamp_clock};
use super::{Bare, Config, Env, SeqNum, State, Tcb};
use crate::counters::Counter;
use crate::time::{Duration, Instant};
use crate::wire::checksum;
use crate::wire::tcp::{Flags, Options, Timestamps, emit, fill_checksum};

/// Where the TCP header begins in a frame: Ethernet with two tags and IPv6 fit before it.
pub const HEADROOM: usize = 64;
/// The longest TCP header in octets.
pub const MAX_HEADER: usize = 60;

/// What the next segment carries.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seq: SeqNum,
    text: u32,
    flags: Flags,
    kind: Kind,
}

/// What a planned segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Something new: text, a control, or an acknowledgment.
    New,
    /// The last of several new segments that leave at once: PSH says so, now and not again.
    BurstEnd,
    /// A segment of the flight.
    Again(Again),
    /// A zero-window probe.
    Probe,
    /// A question to an idle peer.
    KeepAlive,
}

impl Plan {
    fn bare(seq: SeqNum, flags: Flags) -> Self {
        Self { seq, text: 0, flags, kind: Kind::New }
    }
}

impl Tcb {
    /// Writes the next segment that is owed, with its checksum, to the start of `out`, which has
    /// room for `MAX_HEADER` and a segment's text. Returns its length, or `None` when nothing may
    /// be sent now.
    pub fn poll_transmit(
        &mut self,
        out: &mut [u8],
        env: &mut Env<'_>,
        now: Instant,
    ) -> Option<usize> {
        if self.owes_stamped_ack() {
            return Some(self.write_ack(out, env, now));
        }
        self.write_planned(out, env, now)
    }

    /// As [`Tcb::poll_transmit`], whatever is owed.
    pub(super) fn write_planned(
        &mut self,
        out: &mut [u8],
        env: &mut Env<'_>,
        now: Instant,
    ) -> Option<usize> {
        let plan = self.plan(env, now)?;
        let options = self.options_for(plan.flags, env, now);
        let window = self.offer_window(plan.flags);
        let bare = Bare { seq: plan.seq, ack: self.rcv.nxt, flags: plan.flags, window, options };
        let mut header = bare.header(&self.tuple);
        if plan.kind == Kind::BurstEnd {
            header.flags |= Flags::PSH;
        }
        if let Some(urgent) = self.urgent_pointer(&plan) {
            header.flags |= Flags::URG;
            header.urgent = urgent;
        }
        let head = emit(&header, &options, out);
        let len = head + plan.text as usize;
        let mut sum = checksum::Partial::ZERO;
        if plan.text > 0 {
            let text = &mut out[head..len];
            let base = (self.snd.una.0, plan.seq.0);
            self.rare.cursor.read((env.pool, &self.snd.buffer), base, text);
            sum = checksum::sum(text);
        }
        fill_checksum(&mut out[..len], &self.tuple.local, &self.tuple.remote, sum);
        self.on_sent(&plan, env, now);
        Some(len)
    }

    /// Whether [`Tcb::poll_transmit`] has nothing to say, as far as a short look can tell.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        let is_acknowledged = self.owed.ack != Ack::Now && self.owed.extra_acks == 0;
        is_acknowledged && self.owes_at_most_an_ack()
    }

    /// Whether an acknowledgment is all that is owed.
    #[inline(always)]
    pub(super) fn owes_ack_alone(&self) -> bool {
        self.owed.ack == Ack::Now && self.state().is_synchronized() && self.owes_at_most_an_ack()
    }

    /// Whether more acknowledgments are owed than one.
    #[inline]
    pub fn owes_several(&self) -> bool {
        self.owed.extra_acks > 0
    }

    /// Whether neither text nor a control waits, nothing is missing, and no timer asks for anything.
    #[inline(always)]
    fn owes_at_most_an_ack(&self) -> bool {
        !self.switches.has_any_of(ASKS) && self.recovery.is_none() && !self.has_unsent()
    }

    /// Chooses what goes next: resets and SYNs, then repetitions, then new text, then bare
    /// acknowledgments.
    fn plan(&mut self, env: &mut Env<'_>, now: Instant) -> Option<Plan> {
        let bare = |seq, flags| Some(Plan::bare(seq, flags));
        if self.switches.has(Switch::OwesRst) {
            return bare(self.acceptable_seq(), Flags::RST.union(Flags::ACK));
        }
        match self.state() {
            State::Closed | State::Listen => return None,
            State::SynSent if self.switches.has(Switch::OwesSyn) => {
                return bare(self.rare.iss, Flags::SYN);
            }
            State::SynReceived if self.switches.has(Switch::OwesSyn) => {
                return bare(self.rare.iss, Flags::SYN.union(Flags::ACK));
            }
            State::SynSent => return None,
            State::SynReceived => {}
            _ => {
                if let Some(plan) = self.plan_text(env, now) {
                    return Some(plan);
                }
            }
        }
        if self.switches.has(Switch::OwesKeepAlive) {
            // RFC 9293 3.8.4 (SHLD-12): SEG.SEQ = SND.NXT-1, without data.
            let probe = Plan::bare(self.snd.una - 1, Flags::ACK);
            return Some(Plan { kind: Kind::KeepAlive, ..probe });
        }
        if self.owed.ack == Ack::Now || self.owed.extra_acks > 0 {
            return bare(self.acceptable_seq(), Flags::ACK);
        }
        None
    }

    /// The sequence number of a segment without text: SND.NXT, unless that lies beyond a window that
    /// closed or shrank. There the peer would drop it with what it acknowledges (RFC 9293, 3.10.7.4):
    /// it may not have taken the octet of a probe, nor a FIN. A window that only seems to shrink, by
    /// less than the peer's scale can say, does not count.
    pub(super) fn acceptable_seq(&self) -> SeqNum {
        let edge = self.snd.una + self.snd.wnd;
        let is_beyond = self.snd.nxt.is_after(edge)
            && (self.snd.wnd == 0 || self.snd.nxt.since(edge) >= 1 << self.snd.scale);
        if is_beyond { edge } else { self.snd.nxt }
    }

    fn plan_text(&mut self, env: &mut Env<'_>, now: Instant) -> Option<Plan> {
        // RFC 6675 4, NextSeg: what is lost, then what is new, then what may be lost.
        if let Some(again) = self.next_lost(env)
            && let Some(plan) = self.plan_again(again, env)
        {
            return Some(plan);
        }
        if self.switches.has(Switch::OwesProbe) && self.snd.wnd == 0 && self.has_unsent() {
            // A number before the window: the peer has to answer it, and nothing has to be unsent.
            return Some(Plan { kind: Kind::Probe, ..Plan::bare(self.snd.una - 1, Flags::ACK) });
        }
        // RFC 9293 3.9.1.2 (MUST-60): whatever holds text back, a timer ends it.
        let is_overdue = self.switches.take(Switch::OwesProbe);
        if is_overdue {
            self.set_more(More::Unsaid);
        }
        let is_forced = is_overdue || self.switches.has(Switch::Pushed);
        if self.has_unsent() {
            if let Some(plan) = self.plan_new(is_forced, env, now) {
                return Some(plan);
            }
            // Nothing is out whose acknowledgment could open the window: probe for it (RFC 9293
            // 3.8.6.1).
            if self.flight.is_empty() && !self.timers.retransmit.is_armed() {
                self.timers.retransmit = Deadline::after_micros(self.rtt.timeout_micros(), now);
            }
        } else {
            self.switches.set(Switch::Pushed, false);
        }
        let again = self.next_doubtful(env, now)?;
        self.plan_again(again, env)
    }

    /// Text that was never sent, or the FIN behind it.
    fn plan_new(&mut self, is_forced: bool, env: &mut Env<'_>, now: Instant) -> Option<Plan> {
        let unsent = self.text_end().since(self.snd.nxt);
        if !env.pool.records.has_room() {
            env.counters.count(Counter::FlightRecordsFull);
            return None;
        }
        if unsent == 0 {
            // Only the FIN is left: it needs no window.
            return Some(self.text_plan(self.snd.nxt, 0));
        }
        if self.flight.is_empty() {
            let idle = stamp_clock(now).wrapping_sub(self.rare.sent_at);
            self.cc.on_resumed(Duration::from_millis(idle.into()), self.rtt.timeout());
        }
        if self.window_left() == 0 {
            return None;
        }
        // RFC 9293 3.8.6 (SHLD-15): nothing new beyond the window, wherever it went.
        let usable = self.snd.wnd.saturating_sub(self.snd.nxt.since(self.snd.una));
        let most = self.max_text_now();
        let text = unsent.min(usable).min(most);
        let goes = text > 0 && (is_forced || self.is_worth_sending(text, unsent, most));
        if goes && text == unsent {
            self.switches.set(Switch::Pushed, false);
        }
        let next = ((unsent - text).min(usable - text), unsent - text);
        goes.then(|| {
            let mut plan = self.text_plan(self.snd.nxt, text);
            if self.ends_burst(next, env, now) {
                plan.kind = Kind::BurstEnd;
            }
            plan
        })
    }

    /// Plans the next segment of new text and counts it as sent, for whoever writes it; its text and
    /// flags. Nothing else may be owed.
    pub(super) fn send_planned(&mut self, env: &mut Env<'_>, now: Instant) -> Option<(u32, Flags)> {
        let plan = self.plan_new(false, env, now)?;
        let pushed = if plan.kind == Kind::BurstEnd { Flags::PSH } else { Flags::ACK };
        self.on_sent(&plan, env, now);
        Some((plan.text, plan.flags.union(pushed)))
    }

    /// The sender's SWS avoidance with Nagle's algorithm (RFC 9293, 3.8.6.2.1 and 3.7.4).
    pub(super) fn is_worth_sending(&self, text: u32, unsent: u32, most: u32) -> bool {
        // RFC 9293 3.8.6.2.1 (MUST-38), 3.9.1.2 (SHLD-27, SHLD-28, MAY-16): a full segment, or all
        // there is, or half of the largest window.
        let is_full = text == most;
        let is_last = text == unsent;
        // Nagle's algorithm as Minshall changed it (RFC 9293 3.7.4: SHLD-7): a short segment waits
        // for another short one, not for full ones.
        let is_alone = !self.rare.short.is_after(self.snd.una);
        let is_corked = self.switches.has(Switch::Cork) || self.more() == More::Held;
        let is_held = is_corked || !(is_alone || self.switches.has(Switch::NoDelay));
        // Neither the end of the text nor urgent data waits (RFC 9293 3.7.4: MUST-17 is the user's
        // own switch).
        let is_pressing = self.snd.fin == Fin::Queued || self.is_urgent();
        is_full || (is_last && (is_pressing || !is_held)) || text >= self.snd.max_wnd / 2
    }

    /// Whether urgent data is not acknowledged yet.
    fn is_urgent(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.snd_up.is_some())
    }

    /// The urgent pointer of a segment (RFC 9293, 3.8.5): set while urgent data is ahead, also
    /// where it is further ahead than the field can say (MUST-31).
    fn urgent_pointer(&self, plan: &Plan) -> Option<u16> {
        let up = self.own.as_ref()?.snd_up?;
        let is_meant = up.is_after(plan.seq) && !plan.flags.contains(Flags::RST);
        is_meant.then(|| up.since(plan.seq).min(0xffff) as u16)
    }

    /// A segment of the flight, again.
    fn plan_again(&mut self, again: Again, env: &mut Env<'_>) -> Option<Plan> {
        let sent = self.fit_again(again, self.max_text_now(), env)?;
        let mut flags = Flags::ACK;
        for (mark, flag) in [(Marks::PUSH, Flags::PSH), (Marks::FIN, Flags::FIN)] {
            if sent.marks.has(mark) {
                flags = flags.union(flag);
            }
        }
        Some(Plan { seq: sent.seq, text: sent.len.into(), flags, kind: Kind::Again(again) })
    }

    fn text_plan(&self, seq: SeqNum, text: u32) -> Plan {
        let mut flags = Flags::ACK;
        let end = seq + text;
        // RFC 9293 3.9.1 (MUST-61): the last segment of what is buffered carries PSH, and again
        // when it is repeated. A sender that never pauses says it once in half a window, as on
        // Linux.
        // CM-9.c.
        let is_half_window = end.since(self.rare.pushed) > self.snd.max_wnd / 2;
        let is_new = end.is_after(self.snd.nxt);
        let is_last = end == self.text_end() && self.more() == More::Unsaid;
        let is_pushed = is_last || end == self.rare.pushed || (is_new && is_half_window);
        if text > 0 && is_pushed {
            flags = flags.union(Flags::PSH);
        }
        if end == self.text_end() && self.snd.fin == Fin::Queued {
            flags = flags.union(Flags::FIN);
        }
        Plan { seq, text, flags, kind: Kind::New }
    }

    /// As `max_text`, less the options that only a segment sent now carries.
    pub(super) fn max_text_now(&self) -> u32 {
        let timeout = if self.switches.has(Switch::OwesTimeout) { 4 } else { 0 };
        self.max_text() - self.sack_blocks().1 as u32 - timeout
    }

    #[inline]
    pub(super) fn options_for(&self, flags: Flags, env: &Env<'_>, now: Instant) -> Options {
        let stamps = Timestamps { value: self.stamps.value(now), echo: self.stamps.recent };
        // RFC 9293 3.2 (MUST-65): the MSS is named by SYNs alone.
        if !flags.contains(Flags::SYN) {
            let timestamps = self.switches.has(Switch::Stamps).then_some(stamps);
            if flags.contains(Flags::RST) {
                return Options { timestamps, ..Options::NONE };
            }
            // RFC 5482 3.1: on the SYN and on the first segment after it, for one of them may be
            // lost, or answered from a cookie.
            let owed = self.switches.has(Switch::OwesTimeout);
            let user_timeout = if owed { self.wire_timeout(env.config) } else { None };
            let sack = self.sack_blocks().0;
            return Options { timestamps, sack, user_timeout, ..Options::NONE };
        }
        // An answer names only what the peer's SYN offered (RFC 7323, 2.2 and 3.2).
        let is_first = !flags.contains(Flags::ACK);
        let config = env.config;
        let scale = (is_first && config.window_scaling) || self.rcv.scale > 0;
        Options {
            mss: Some(self.rcv.mss),
            window_scale: scale.then_some(self.rcv.scale),
            sack_permitted: (is_first && config.sack) || self.switches.has(Switch::Sack),
            timestamps: ((is_first && config.timestamps) || self.switches.has(Switch::Stamps))
                .then_some(stamps),
            user_timeout: self.wire_timeout(config),
            ..Options::NONE
        }
    }

    fn wire_timeout(&self, config: &Config) -> Option<u16> {
        self.advertised_timeout(config).map(own::to_wire)
    }

    /// The window field, and the right edge that it offers. The edge never moves back (RFC 9293
    /// 3.8.6: SHLD-14), and forward only by a step worth an announcement (3.8.6.2.2: MUST-39).
    #[inline(always)]
    pub(super) fn offer_window(&mut self, flags: Flags) -> u16 {
        if flags.contains(Flags::SYN) {
            return self.rcv.limit.min(0xffff) as u16;
        }
        self.offer_room(self.window_room())
    }

    /// The same, where the receive buffer has room for so many octets.
    #[inline(always)]
    pub(super) fn offer_room(&mut self, room: u32) -> u16 {
        let offered = self.rcv.edge.since(self.rcv.nxt);
        // RFC 9293 3.8.6.1 (MAY-8): closed for as long as nothing is read.
        let granted = if room >= offered + self.window_step() { room } else { offered };
        let mut field = granted >> self.rcv.scale;
        if (field << self.rcv.scale) < offered {
            field += 1;
        }
        let field = field.min(0xffff);
        self.rcv.edge = self.rcv.edge.max(self.rcv.nxt + (field << self.rcv.scale));
        field as u16
    }

    /// What the receive buffer has room for in octets.
    pub(super) fn window_room(&self) -> u32 {
        self.rcv.limit.saturating_sub(self.rcv.unread.len() as u32)
    }

    /// The least step by which the window opens (RFC 9293, 3.8.6.2.2).
    pub(super) fn window_step(&self) -> u32 {
        (self.rcv.limit / 2).min(u32::from(self.rcv.full))
    }

    fn on_sent(&mut self, plan: &Plan, env: &mut Env<'_>, now: Instant) {
        env.counters.count(Counter::SegmentsOut);
        if plan.flags.contains(Flags::RST) {
            env.counters.count(Counter::ResetsOut);
            self.switches.set(Switch::OwesRst, false);
            return;
        }
        match plan.kind {
            Kind::Probe => {
                env.counters.count(Counter::WindowProbes);
                self.switches.set(Switch::OwesProbe, false);
                return;
            }
            Kind::KeepAlive => {
                env.counters.count(Counter::KeepAliveProbes);
                self.switches.set(Switch::OwesKeepAlive, false);
                return;
            }
            Kind::New | Kind::BurstEnd | Kind::Again(_) => {}
        }
        self.on_ack_sent(plan.text == 0 && plan.flags == Flags::ACK);
        if !plan.flags.contains(Flags::SYN) {
            self.switches.set(Switch::OwesTimeout, false);
        }
        if let Kind::Again(again) = plan.kind {
            env.counters.add(Counter::DataBytesOut, plan.text.into());
            self.rare.sent_at = stamp_clock(now);
            self.on_sent_again(again, env, now);
        } else {
            self.on_new_sent(plan, env, now);
        }
    }

    fn on_new_sent(&mut self, plan: &Plan, env: &mut Env<'_>, now: Instant) {
        if plan.flags.contains(Flags::SYN) {
            self.on_syn_sent_out(plan, env, now);
        } else if plan.text > 0 || plan.flags.contains(Flags::FIN) {
            self.on_text_sent(plan, env, now);
        } else {
            return;
        }
        self.rare.sent_at = stamp_clock(now);
        // RFC 6298 5.1.
        if !self.timers.retransmit.is_armed() {
            self.timers.retransmit = Deadline::after_micros(self.rtt.timeout_micros(), now);
        }
    }

    fn on_syn_sent_out(&mut self, plan: &Plan, env: &mut Env<'_>, now: Instant) {
        self.rtt.on_syn_sent(now);
        self.switches.set(Switch::OwesSyn, false);
        if self.snd.nxt.is_after(plan.seq) {
            env.counters.count(Counter::Retransmits);
            self.total_retrans = self.total_retrans.wrapping_add(1);
        }
        self.snd.nxt = self.snd.nxt.max(plan.seq + 1);
    }

    fn on_text_sent(&mut self, plan: &Plan, env: &mut Env<'_>, now: Instant) {
        env.counters.add(Counter::DataBytesOut, plan.text.into());
        let mut marks = Marks::NONE;
        for (mark, flag) in [(Marks::PUSH, Flags::PSH), (Marks::FIN, Flags::FIN)] {
            if plan.flags.contains(flag) {
                marks |= mark;
            }
        }
        let segment = (plan.seq, plan.text as u16, marks);
        let is_recorded = self.flight.push(&mut env.pool.records, segment, now);
        debug_assert!(is_recorded, "room was asked for before");
        let end = plan.seq + plan.text;
        if marks.has(Marks::PUSH) {
            self.rare.pushed = end;
        }
        if plan.text > 0 && plan.text < self.max_text() {
            self.rare.short = end;
        }
        self.snd.nxt = end + u32::from(marks.has(Marks::FIN));
        if let Some(recovery) = &mut self.recovery {
            recovery.rate.out += 1;
        }
        let is_full = self.window_left() == 0;
        let (out, una, nxt) = (self.flight.len(), self.snd.una, self.snd.nxt);
        self.cc.on_sent(Usage { out, is_full, una, nxt, rto: self.rtt.timeout() }, now);
    }

    /// Every segment but the first SYN acknowledges; a bare one may be one of several that are owed.
    pub(super) fn on_ack_sent(&mut self, is_bare: bool) {
        if self.state() == State::SynSent {
            return;
        }
        if is_bare && self.owed.extra_acks > 0 {
            self.owed.extra_acks -= 1;
        }
        self.on_acknowledged();
    }

    /// A segment that leaves acknowledges all that has arrived.
    #[inline(always)]
    pub(super) fn on_acknowledged(&mut self) {
        self.owed.ack = Ack::None;
        // All timers are looked at next: read together, they would have to wait for one just written.
        if self.timers.delayed_ack.is_armed() {
            self.timers.delayed_ack = Deadline::NEVER;
        }
        self.rcv.acked = self.rcv.nxt;
        self.rcv.duplicate = Default::default();
    }
}

//! The transmission control block: all that is kept of one connection (RFC 9293, section 3.3.1).

use super::challenge::Challenge;
use super::config::{first_window, window_scale};
use super::congestion::Congestion;
use super::events::{Events, Noted};
use super::flight::{Flight, Micros};
use super::lines::Here;
use super::own::{Own, Switch, Switches};
use super::pool::{Chain, Cursor, Pool};
use super::reassembly::Early;
use super::recovery::Recovery;
use super::rtt::Rtt;
pub(super) use super::stamps::{Stamps, stamp_clock};
use super::timers::Timers;
use super::{
    Cause, Census, CloseReason, Config, HalfOpen, SeqNum, Setting, SettingError, State, Unreachable,
};
use crate::counters::{Counter, Counters};
use crate::time::Instant;
use crate::wire::FourTuple;
use crate::wire::tcp::Options;

/// One connection, in this order in memory: what a usual segment touches lies together, from the name
/// to the first word of the round trip, then what is rare.
#[derive(Debug)]
#[repr(C)]
pub struct Tcb {
    pub(super) tuple: FourTuple,
    state: State,
    pub(super) owed: Owed,
    _here: Here,
    pub(super) switches: Switches,
    pub(super) stamps: Stamps,
    pub(super) rcv: ReceiveSpace,
    /// What is missing, while something is.
    pub(super) recovery: Option<Box<Recovery>>,
    pub(super) own: Option<Box<Own>>,
    pub(super) snd: SendSpace,
    pub(super) timers: Timers,
    /// When an acknowledgment last arrived, in milliseconds.
    pub(super) ack_at: u32,
    pub(super) events: Noted,
    pub(super) rtt: Rtt,
    /// What was sent and is not acknowledged.
    pub(super) flight: Flight,
    pub(super) cc: Congestion,
    pub(super) rare: Rare,
    /// Segments that are known to have reached the peer, SYN included.
    pub(super) delivered: u32,
    /// Segments sent again, SYN included.
    pub(super) total_retrans: u32,
    pub(super) challenge: Challenge,
    /// Keepalive probes since the peer was last heard.
    pub(super) probes: u8,
    /// An ICMP error that may pass, told as the reason should the connection time out.
    pub(super) soft_error: Option<Unreachable>,
}

/// The send sequence space, its window and its buffer.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct SendSpace {
    /// SND.UNA.
    pub una: SeqNum,
    /// SND.NXT: the highest number ever sent, and one. It never goes back: what is sent again is
    /// found in the flight.
    pub nxt: SeqNum,
    /// SND.WND in octets; all windows have 32 bits (RFC 9293 3.1: MUST-1, REC-1).
    pub wnd: u32,
    /// SND.WL1.
    pub wl1: SeqNum,
    /// SND.WL2.
    pub wl2: SeqNum,
    /// The largest window that the peer ever offered.
    pub max_wnd: u32,
    /// Unacknowledged and unsent text; its first octet is UNA.
    pub buffer: Chain,
    /// The most text and options of a segment: the lesser of the peer's MSS, of ours, and of what
    /// the path is known to carry.
    pub mss: u16,
    /// Snd.Wind.Shift.
    pub scale: u8,
    pub fin: Fin,
}

/// Of both sequence spaces what a usual segment does not touch.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// ISS.
    pub iss: SeqNum,
    /// IRS.
    pub irs: SeqNum,
    /// The number of the peer's FIN, once it was seen: see [`Tcb::peer_fin`].
    fin: SeqNum,
    /// The number after the last segment that carried PSH.
    pub pushed: SeqNum,
    /// The number after the last segment that was not full-sized.
    pub short: SeqNum,
    pub cursor: Cursor,
    /// When text was last sent, in milliseconds.
    pub sent_at: u32,
    /// Text and options of segments up to this length are known to have arrived.
    pub proven: u16,
    /// How often SND.UNA went past zero.
    pub wraps: u16,
    /// Duplicates that the peer reported.
    pub dsacks: u16,
    /// How often the SYN was sent again.
    pub syn_retries: u8,
    /// Segments that the burst of the last one may still take.
    pub burst: u8,
}

/// How far our FIN is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fin {
    /// The user has not closed.
    #[default]
    None,
    /// It follows the last octet of the buffer.
    Queued,
    /// It was acknowledged.
    Acknowledged,
}

/// The receive sequence space, its window and its buffers.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct ReceiveSpace {
    /// RCV.NXT.
    pub nxt: SeqNum,
    /// The right edge of the window as last offered: RCV.NXT + RCV.WND.
    pub edge: SeqNum,
    /// RCV.NXT as last acknowledged: Last.ACK.sent of RFC 7323.
    pub acked: SeqNum,
    /// Text that the user has not consumed.
    pub unread: Chain,
    pub early: Early,
    /// A duplicate to be reported by the next acknowledgment; none where both are equal.
    pub duplicate: (SeqNum, SeqNum),
    /// When text last arrived, or the handshake was done, in milliseconds.
    pub text_at: u32,
    /// Octets that the window may offer; grows with the measured rate.
    pub limit: u32,
    /// Text received since `measured_at`.
    pub measured: u32,
    pub measured_at: Micros,
    /// How often NXT went past zero.
    pub wraps: u16,
    /// The MSS that we offer in octets.
    pub mss: u16,
    /// The longest text seen in a segment: what counts as full-sized.
    pub full: u16,
    /// Rcv.Wind.Shift.
    pub scale: u8,
    /// Acknowledgments that still go out at once, while the peer's window opens.
    pub quick: u8,
}

impl ReceiveSpace {
    /// RCV.NXT moves over `octets`.
    pub fn advance(&mut self, octets: u32) {
        self.wraps += u16::from(self.nxt.0.checked_add(octets).is_none());
        self.nxt += octets;
    }
}

/// What output has to acknowledge when it may; what else it has to send is asked by [`Switches`].
#[derive(Debug, Default)]
pub(super) struct Owed {
    pub ack: Ack,
    /// Duplicate and challenge ACKs: each is sent (RFC 5681, section 4.2).
    pub extra_acks: u8,
}

/// Whether an acknowledgment is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ack {
    /// None.
    #[default]
    None,
    /// One, by the delayed-ACK timer at the latest.
    Delayed,
    /// One, in this turn.
    Now,
}

/// What a connection needs of its shard while it handles something.
pub struct Env<'a> {
    /// The shard's buffer pool.
    pub pool: &'a mut Pool,
    /// The shard's counters.
    pub counters: &'a mut Counters,
    /// The shard's counts of states.
    pub census: &'a mut Census,
    /// Limits and times.
    pub config: &'a Config,
}

impl Env<'_> {
    /// The same once more, for a call.
    #[inline(always)]
    pub(super) fn again(&mut self) -> Env<'_> {
        let Self { pool, counters, census, config } = self;
        Env { pool, counters, census, config }
    }
}

impl Tcb {
    /// An active open (RFC 9293, 3.10.1): enters SYN-SENT and owes a SYN. `mss` is what we can
    /// receive, `offset` the connection's timestamp offset.
    pub fn connect(
        tuple: FourTuple,
        (iss, offset): (SeqNum, u32),
        mss: u16,
        env: &mut Env<'_>,
    ) -> Self {
        let mut tcb = Self::blank(tuple, mss, env.config);
        tcb.rare.iss = iss;
        (tcb.snd.una, tcb.snd.nxt) = (iss, iss);
        (tcb.rare.pushed, tcb.rare.short) = (iss, iss);
        tcb.stamps.offset = offset;
        tcb.switches.set(Switch::OwesSyn, true);
        tcb.enter(State::SynSent, Cause::Open, env);
        env.counters.count(Counter::ActiveOpens);
        tcb
    }

    /// A passive open whose third segment has come: SYN-RECEIVED, as the record says. `mss` is what
    /// we can receive.
    pub fn accept(half: &HalfOpen, mss: u16, env: &mut Env<'_>, now: Instant) -> Self {
        let mut tcb = Self::blank(half.tuple, mss, env.config);
        tcb.rare.iss = half.iss;
        tcb.snd.una = half.iss;
        tcb.snd.nxt = half.iss + 1;
        (tcb.rare.pushed, tcb.rare.short) = (half.iss, half.iss);
        tcb.stamps.offset = half.stamp_offset;
        tcb.rcv.scale = half.scale;
        tcb.on_peer_syn(half.irs, &half.offer.options(), now);
        tcb.rcv.edge = half.irs + 1 + u32::from(half.window);
        // The SYN-ACK acknowledged the SYN.
        tcb.rcv.acked = tcb.rcv.nxt;
        tcb.rare.syn_retries = half.timeouts.max(u8::from(half.is_repeated));
        tcb.total_retrans = half.timeouts.into();
        tcb.rtt.on_syn_sent(half.sent_at + HalfOpen::lasts(half.timeouts));
        tcb.enter(State::SynReceived, Cause::Syn, env);
        tcb
    }

    /// Settings that a new connection begins with: of an active open, before its first SYN; of a
    /// passive one, with the scale that its SYN-ACK offered.
    ///
    /// # Errors
    /// The first [`SettingError`]; the connection is of no use then.
    pub fn begin_with(
        &mut self,
        settings: &[Setting],
        env: &mut Env<'_>,
        now: Instant,
    ) -> Result<(), SettingError> {
        settings.iter().try_for_each(|setting| self.configure(*setting, env, now))?;
        if self.state == State::SynSent && self.switches.has(Switch::FixedWindow) {
            self.rcv.scale = window_scale(self.rcv.limit);
        }
        let text = u32::from(self.rcv.mss) - if self.switches.has(Switch::Stamps) { 12 } else { 0 };
        self.rcv.limit = first_window(self.rcv.limit, text);
        Ok(())
    }

    fn blank(tuple: FourTuple, mss: u16, config: &Config) -> Self {
        Self {
            tuple,
            state: State::Closed,
            owed: Owed::default(),
            _here: Here::Here,
            snd: SendSpace { mss, buffer: Chain::for_sending(), ..SendSpace::default() },
            rcv: ReceiveSpace {
                limit: config.receive_window,
                scale: config.window_scale(),
                mss,
                full: DEFAULT_MSS,
                quick: QUICK_ACKS,
                ..ReceiveSpace::default()
            },
            stamps: Stamps::default(),
            timers: Timers::default(),
            events: Noted::default(),
            rare: Rare::default(),
            rtt: Rtt::default(),
            flight: Flight::default(),
            recovery: None,
            cc: Congestion::new(config.congestion),
            delivered: 0,
            total_retrans: 0,
            ack_at: 0,
            challenge: Challenge::default(),
            probes: 0,
            switches: Switches::of(config),
            soft_error: None,
            own: None,
        }
    }

    /// Takes what the peer's SYN says: its ISN and its options (RFC 9293, 3.7.1; RFC 7323; RFC
    /// 2018). Ours were offered with every SYN, so that what the peer offers is agreed.
    pub(super) fn on_peer_syn(&mut self, irs: SeqNum, options: &Options, now: Instant) {
        self.rare.irs = irs;
        self.rcv.nxt = irs + 1;
        self.rcv.edge = self.rcv.nxt + self.rcv.limit.min(0xffff);
        self.rcv.acked = irs;
        // RFC 9293 3.7.1 (MUST-14, MUST-16), CM-4.a: the lesser of what the peer takes and what our
        // link does.
        // RFC 9293 3.7.1 (MUST-15): without the option the peer takes what any host does.
        let is_v4 = self.tuple.remote.is_v4();
        let least = if is_v4 { DEFAULT_MSS } else { DEFAULT_MSS_V6 };
        self.snd.mss = self.snd.mss.min(options.mss.unwrap_or(least).max(MIN_MSS));
        // CM-4.b.
        match options.window_scale {
            // RFC 7323 2.3: a shift above 14 counts as 14.
            Some(scale) => self.snd.scale = scale.min(14),
            None => self.rcv.scale = 0,
        }
        self.switches.set(Switch::Sack, options.sack_permitted);
        if let Some(stamps) = options.timestamps {
            self.switches.set(Switch::Stamps, true);
            self.stamps.recent = stamps.value;
            self.stamps.recent_at = stamp_clock(now);
        }
        self.rcv.measured_at = now.into();
    }

    /// The number of the peer's FIN, once it was seen.
    pub(super) fn peer_fin(&self) -> Option<SeqNum> {
        self.switches.has(Switch::FinSeen).then_some(self.rare.fin)
    }

    /// The peer's FIN has this number.
    pub(super) fn set_peer_fin(&mut self, number: SeqNum) {
        self.rare.fin = number;
        self.switches.set(Switch::FinSeen, true);
    }

    /// The connection's name.
    pub fn tuple(&self) -> &FourTuple {
        &self.tuple
    }

    /// What is added to the clock of milliseconds for its timestamps.
    pub fn stamp_offset(&self) -> u32 {
        self.stamps.offset
    }

    /// The connection's state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The one place where a state changes.
    pub(super) fn enter(&mut self, next: State, cause: Cause, env: &mut Env<'_>) {
        debug_assert!(self.state.can_become(next), "{:?} to {next:?} by {cause:?}", self.state);
        tracing::trace!(tuple = ?self.tuple, from = self.state.name(), to = next.name(), ?cause);
        env.census.transfer(self.state, next);
        self.state = next;
        match next {
            State::Established => env.counters.count(Counter::Established),
            State::TimeWait => env.counters.count(Counter::TimeWaits),
            _ => {}
        }
    }

    /// Ends the connection: everything queued is gone but, where both sides closed in order, unread
    /// text, which its user may still have, and the user's timer with it.
    pub(super) fn close_with(&mut self, reason: CloseReason, cause: Cause, env: &mut Env<'_>) {
        if self.state == State::Closed {
            return;
        }
        if matches!(self.state, State::SynSent | State::SynReceived) {
            env.counters.count(Counter::FailedOpens);
        } else if matches!(reason, CloseReason::Reset | CloseReason::Aborted) {
            env.counters.count(Counter::Resets);
        }
        if reason == CloseReason::TimedOut {
            env.counters.count(Counter::TimedOut);
        }
        self.enter(State::Closed, cause, env);
        self.owed = Owed::default();
        self.switches = self.switches.without(NEEDS_PEER);
        self.stop_timers();
        if reason != CloseReason::Closed {
            self.switches.set(Switch::TextLost, true);
            self.timers = Timers::default();
        }
        self.events.note_end(reason);
        self.drop_unacknowledged(env);
        self.rcv.early.clear(env.pool);
    }

    /// What was queued or sent is of no use any more.
    fn drop_unacknowledged(&mut self, env: &mut Env<'_>) {
        self.snd.buffer.clear(env.pool);
        self.flight.clear(&mut env.pool.records);
        self.recovery = None;
    }

    /// Gives back every buffer; for a connection that its table forgets.
    pub fn release(&mut self, env: &mut Env<'_>) {
        if self.state != State::Closed {
            self.enter(State::Closed, Cause::Abort, env);
        }
        self.drop_unacknowledged(env);
        self.rcv.early.clear(env.pool);
        self.rcv.unread.clear(env.pool);
    }

    /// Takes what happened since the last call.
    pub fn poll_event(&mut self) -> Events {
        self.events.take()
    }

    /// Whether [`Tcb::poll_event`] has something.
    pub fn has_events(&self) -> bool {
        self.events.is_any()
    }

    /// Whether the peer is owed an acknowledgment, which may wait.
    pub fn owes_ack(&self) -> bool {
        self.owed.ack != Ack::None
    }

    /// Whether nothing is missing in either direction, and nothing was asked for that few ask for.
    #[inline(always)]
    pub(super) fn is_bare(&self) -> bool {
        // Nearly always all are none: a branch for each would take longer than the look.
        self.recovery.is_none() & self.rcv.early.is_empty() & self.own.is_none()
    }

    /// Whether nothing is left: CLOSED, told, and no RST owed.
    pub fn is_over(&self) -> bool {
        self.is_silent() && !self.has_events()
    }

    /// Whether nothing is left to send, now or ever: CLOSED and no RST owed.
    pub fn is_silent(&self) -> bool {
        self.state == State::Closed && !self.switches.has(Switch::OwesRst)
    }

    /// Whether text or FIN wait for their first transmission.
    #[inline(always)]
    pub(super) fn has_unsent(&self) -> bool {
        // Who only receives has nothing queued, and it ends there.
        let is_queued = !self.snd.buffer.is_empty() || self.snd.fin == Fin::Queued;
        is_queued && self.state.is_synchronized() && self.snd.nxt.is_before(self.send_end())
    }

    /// The number after all that is queued, FIN included.
    pub(super) fn send_end(&self) -> SeqNum {
        self.text_end() + u32::from(self.snd.fin == Fin::Queued)
    }

    /// The number after the last octet of queued text.
    pub(super) fn text_end(&self) -> SeqNum {
        self.snd.una + self.snd.buffer.len() as u32
    }

    /// The most text of a segment: the MSS less the options that every segment carries (RFC 6691's
    /// rule, now RFC 9293, 3.7.1).
    pub(super) fn max_text(&self) -> u32 {
        u32::from(self.snd.mss) - if self.switches.has(Switch::Stamps) { 12 } else { 0 }
    }

    /// Owes a challenge ACK, unless this connection has had its share of this second (RFC 5961,
    /// section 7).
    pub(super) fn owe_challenge(&mut self, env: &mut Env<'_>, now: Instant) {
        // CM-7.d.
        if !self.challenge.take(now) {
            env.counters.count(Counter::ChallengeAcksLimited);
            return;
        }
        env.counters.count(Counter::ChallengeAcks);
        self.owe_extra_ack();
    }

    /// Owes an ACK that is sent for itself: it does not merge with another.
    pub(super) fn owe_extra_ack(&mut self) {
        self.owed.extra_acks = self.owed.extra_acks.saturating_add(1);
    }
}

/// What is owed to nobody once a connection is over.
const NEEDS_PEER: Switches =
    Switches::NONE.with(Switch::OwesSyn).with(Switch::OwesProbe).with(Switch::OwesKeepAlive);
/// RFC 9293, 3.7.1: what a peer without the option takes over IPv4, and over IPv6.
pub(super) const DEFAULT_MSS: u16 = 536;
pub(super) const DEFAULT_MSS_V6: u16 = 1220;
/// Linux's floor: a smaller offer (CVE-2019-11479) would make us send headers with no text.
const MIN_MSS: u16 = 48;
/// Segments acknowledged at once at the start, while the peer is in slow start.
pub(super) const QUICK_ACKS: u8 = 16;

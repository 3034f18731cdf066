//! A passive half-open connection: SYN-RECEIVED by way of LISTEN, as a record of at most 128 bytes.

use super::tcb::{DEFAULT_MSS, DEFAULT_MSS_V6, stamp_clock};
use super::{Config, Segment, SeqNum};
use crate::time::{Duration, Instant};
use crate::wire::FourTuple;
use crate::wire::tcp::{Flags, Options, Timestamps};

/// What is kept between a peer's SYN and its acknowledgment of ours.
#[derive(Clone, Debug)]
pub struct HalfOpen {
    /// The connection's name.
    pub tuple: FourTuple,
    /// Our initial sequence number.
    pub iss: SeqNum,
    /// The peer's initial sequence number.
    pub irs: SeqNum,
    /// What the peer's SYN offered.
    pub offer: Offer,
    /// Added to the clock of milliseconds for our timestamps.
    pub stamp_offset: u32,
    /// The window of our SYN-ACK in octets.
    pub window: u16,
    /// The window scale that our SYN-ACK offers, where the peer did.
    pub scale: u8,
    /// The listener it belongs to.
    pub listener: u16,
    /// How often the timer of our SYN-ACK fired.
    pub timeouts: u8,
    /// The peer has acknowledged our SYN, and its data is awaited, or room to take it in.
    pub is_acknowledged: bool,
    /// Our SYN-ACK was sent more than once.
    pub is_repeated: bool,
    /// When our SYN-ACK was first sent.
    pub sent_at: Instant,
    /// What did not fit is answered again from then on, in milliseconds.
    pub answers_from: u32,
}

/// The options of a peer's SYN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The most text that the peer takes in a segment.
    pub mss: Option<u16>,
    /// The peer's window shift.
    pub window_scale: Option<u8>,
    /// Whether the peer takes SACK.
    pub sack_permitted: bool,
    /// The peer's TSval.
    pub stamp: Option<u32>,
}

impl HalfOpen {
    /// The most text that the peer takes in a segment.
    pub fn peer_mss(&self) -> u16 {
        // RFC 9293 3.7.1 (MUST-15): what holds where it does not say.
        let least = if self.tuple.remote.is_v4() { DEFAULT_MSS } else { DEFAULT_MSS_V6 };
        self.offer.mss.unwrap_or(least)
    }
}

impl Offer {
    /// What `options`, of a SYN, offer.
    pub fn of(options: &Options) -> Self {
        Self {
            mss: options.mss,
            window_scale: options.window_scale,
            sack_permitted: options.sack_permitted,
            stamp: options.timestamps.map(|stamps| stamps.value),
        }
    }

    /// What is left of it where `config` turns some off.
    pub fn within(self, config: &Config) -> Self {
        Self {
            window_scale: self.window_scale.filter(|_| config.window_scaling),
            sack_permitted: self.sack_permitted && config.sack,
            stamp: self.stamp.filter(|_| config.timestamps),
            ..self
        }
    }

    pub(super) fn options(&self) -> Options {
        Options {
            mss: self.mss,
            window_scale: self.window_scale,
            sack_permitted: self.sack_permitted,
            timestamps: self.stamp.map(|value| Timestamps { value, echo: 0 }),
            ..Options::NONE
        }
    }
}

/// What a segment asks of a half-open entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfOpenVerdict {
    /// Nothing.
    Drop,
    /// An ACK with the numbers as they are.
    Acknowledge,
    /// A RST as in CLOSED.
    Refuse,
    /// The SYN came again: so does our SYN-ACK.
    Repeat,
    /// RST or another SYN: back to LISTEN, without a word to anyone (RFC 9293, 3.10.7.4, second and
    /// fourth).
    Remove,
    /// The handshake is complete: the segment goes on to a connection.
    Open,
}

impl HalfOpen {
    /// The checks of RFC 9293, 3.10.7.4, as far as this state needs them.
    pub fn on_segment(&self, segment: &Segment<'_>) -> HalfOpenVerdict {
        let next = self.irs + 1;
        let is_repeat = segment.has(Flags::SYN) && !segment.has(Flags::ACK);
        if is_repeat && !segment.has(Flags::RST) && segment.seq == self.irs {
            // CM-10.d: from the same entry, so with the same ISN.
            return HalfOpenVerdict::Repeat;
        }
        let is_reset = segment.has(Flags::RST);
        if !is_reset && !self.passes_paws(segment) {
            return HalfOpenVerdict::Acknowledge;
        }
        if !self.is_acceptable(segment) {
            return if is_reset { HalfOpenVerdict::Drop } else { HalfOpenVerdict::Acknowledge };
        }
        if is_reset {
            // RFC 5961 3.2: exact, or a challenge.
            // RFC 9293 3.5 (MUST-11), CM-1.i: what came from LISTEN goes back to it, and no user
            // hears of it.
            let is_exact = segment.seq == next;
            return if is_exact { HalfOpenVerdict::Remove } else { HalfOpenVerdict::Acknowledge };
        }
        if segment.has(Flags::SYN) {
            // RFC 9293 3.10.7.4, fourth: a passive open returns to LISTEN; the SYN comes again.
            // CM-2.g.
            return HalfOpenVerdict::Remove;
        }
        if !segment.has(Flags::ACK) {
            return HalfOpenVerdict::Drop;
        }
        // SND.UNA < SEG.ACK =< SND.NXT, which here is one number.
        // CM-10.a: text on it goes on to the connection.
        if segment.ack == self.iss + 1 { HalfOpenVerdict::Open } else { HalfOpenVerdict::Refuse }
    }

    fn passes_paws(&self, segment: &Segment<'_>) -> bool {
        let Some(recent) = self.offer.stamp else { return true };
        let newer = |value: u32| (value.wrapping_sub(recent) as i32) >= 0;
        segment.options.timestamps.is_none_or(|stamps| newer(stamps.value))
    }

    fn is_acceptable(&self, segment: &Segment<'_>) -> bool {
        let (next, window) = (self.irs + 1, u32::from(self.window));
        let len = segment.len();
        segment.seq.is_within(next, window.max(1))
            || (len > 0 && (segment.end() - 1).is_within(next, window))
    }

    /// Whether an answer to what does not fit, or to a repeated SYN, may go now. One goes every
    /// half second, so that two ends that disagree, or a peer that repeats itself, cost little.
    pub fn may_answer(&mut self, now: Instant) -> bool {
        let now = stamp_clock(now);
        let is_due = (now.wrapping_sub(self.answers_from) as i32) >= 0;
        if is_due {
            self.answers_from = now.wrapping_add(ANSWER_EVERY);
        }
        is_due
    }

    /// The SYN came again: its timestamp is what our SYN-ACK echoes (RFC 7323, 4.3).
    pub fn on_repeated_syn(&mut self, segment: &Segment<'_>) {
        if let (Some(stamps), Some(recent)) = (segment.options.timestamps, &mut self.offer.stamp)
            && (stamps.value.wrapping_sub(*recent) as i32) > 0
        {
            *recent = stamps.value;
        }
    }

    /// How long the SYN-ACK last sent is waited for.
    pub fn timeout(&self) -> Duration {
        Self::timeout_after(self.timeouts)
    }

    /// How long that many timeouts take.
    pub fn lasts(timeouts: u8) -> Duration {
        (0..timeouts).map(Self::timeout_after).sum()
    }

    /// It doubles with each (RFC 6298, 5.5).
    fn timeout_after(timeouts: u8) -> Duration {
        (FIRST_TIMEOUT * (1 << timeouts.min(7))).min(LAST_TIMEOUT)
    }

    /// The SYN-ACK timer fired: what to do then, and how long to wait once more. `deferred` is how
    /// many timeouts a listener waits for the first data.
    pub fn on_timeout(&mut self, retries: u8, deferred: u8) -> HalfOpenTimeout {
        let waits_for_data = self.is_acknowledged && self.timeouts < deferred;
        if self.timeouts >= retries && !waits_for_data {
            // CM-10.b.
            return HalfOpenTimeout::Expire;
        }
        // A peer that has answered is asked again only at the end of the wait for its data.
        let is_silent = self.is_acknowledged && self.timeouts + 1 < deferred;
        self.timeouts += 1;
        match is_silent {
            true => HalfOpenTimeout::Wait(self.timeout()),
            false => HalfOpenTimeout::Repeat(self.timeout()),
        }
    }
}

/// What follows from the timer of a SYN-ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfOpenTimeout {
    /// The entry goes.
    Expire,
    /// Nothing is sent, for that long.
    Wait(Duration),
    /// The SYN-ACK goes again, and is waited for that long.
    Repeat(Duration),
}

/// The first timeout of a SYN-ACK (RFC 6298, 2.1), and the longest.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
const LAST_TIMEOUT: Duration = Duration::from_secs(120);
/// Between two answers to what does not fit, in milliseconds: Linux's tcp_invalid_ratelimit.
pub(super) const ANSWER_EVERY: u32 = 500;
// CM-3.f: with its place in a table well below 128 octets.
const _: () = assert!(size_of::<HalfOpen>() <= 96);

//! Which round trips a connection takes for samples.
//!
//! Every segment carries when it was sent, so that each acknowledgment of one sent once gives a
//! sample. One of a segment sent again is ambiguous (Karn; RFC 6298, section 3), but for the echoed
//! timestamp, which names the transmission that it answers (RFC 7323, 4.1). It is believed where it
//! is not older than the last retransmission: an older one says how long acknowledgments were lost,
//! not how long the path is.

use super::own::Switch;
use super::recovery::Timing;
use super::tcb::stamp_clock;
use super::{Segment, Tcb};
use crate::time::{Duration, Instant};
use crate::wire::tcp::Timestamps;

use super::congestion::Moment;

impl Tcb {
    /// SND.UNA moved by this acknowledgment (RFC 7323, 4.3: only then is there a sample).
    // RFC 9293 3.8.1 (MUST-18): Karn's rule.
    #[inline(always)]
    pub(super) fn time_round_trip(
        &mut self,
        stamps: Option<Timestamps>,
        timing: &Timing,
        now: Instant,
    ) {
        let sent_once = if timing.resent.is_none() { timing.acked } else { None };
        let echoed = || {
            let resent = Duration::from_micros(timing.resent?.into());
            self.echoed_round_trip(stamps, now - resent, now)
        };
        if let Some(sample) = sent_once.or(timing.sacked).or_else(echoed) {
            self.rtt.on_sample(sample, (self.snd.una, self.snd.nxt), now);
        }
    }

    /// The round trip of our SYN, which `segment` acknowledges.
    pub(super) fn time_handshake(&mut self, segment: &Segment<'_>, now: Instant) {
        let age = self.rtt.syn_age(now);
        let sample = match self.rare.syn_retries {
            0 => Some(age),
            _ => {
                let sent_at = now - Duration::from_micros(age.into());
                self.echoed_round_trip(segment.options.timestamps, sent_at, now)
            }
        };
        match sample {
            Some(sample) => self.rtt.on_sample(sample, (self.snd.una, self.snd.nxt), now),
            None => self.rtt.on_handshake_untimed(),
        }
        if self.rare.syn_retries > 1 {
            self.cc.on_lost_handshake();
        }
    }

    /// Microseconds since what the segment's timestamp echoes was sent, unless that was before
    /// `resent`.
    fn echoed_round_trip(
        &self,
        stamps: Option<Timestamps>,
        resent: Instant,
        now: Instant,
    ) -> Option<u32> {
        let echo = stamps.filter(|_| self.switches.has(Switch::Stamps))?.echo;
        let sent = echo.wrapping_sub(self.stamps.offset);
        let is_recent = sent.wrapping_sub(stamp_clock(resent)) as i32 >= 0;
        let age = stamp_clock(now).wrapping_sub(sent) as i32;
        (is_recent && age >= 0).then(|| (age as u32).max(1) * 1000)
    }

    /// When something happens, for the congestion control.
    pub(super) fn moment(&self, now: Instant) -> Moment {
        Moment { now, least_rtt: self.rtt.least().unwrap_or_default() }
    }
}

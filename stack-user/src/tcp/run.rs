//! Runs: new text that leaves as one packet, to be cut into segments below.
//!
//! A run is what as many calls of output would have made one after the other: each of its segments is
//! planned and recorded for itself. What is saved is the rest, headers and the way down. Only what is
//! frequent leaves so; everything else is output's.

use super::output::{ASKS, MAX_HEADER};
use super::own::Switch;
use super::tcb::Fin;
use super::{Bare, Env, State, Tcb};
use crate::time::Instant;
use crate::wire::run::{MOST_SEGMENTS, MOST_TEXT};
use crate::wire::tcp::{Flags, emit};

/// A run that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Octets of the header of TCP.
    pub head: usize,
    /// Octets of text in all.
    pub text: usize,
    /// Octets of text in each segment but the last.
    pub size: usize,
    /// How many segments there are.
    pub count: usize,
}

impl Tcb {
    /// Whether enough full segments may leave now to make a run, and nothing else is to go before.
    #[inline]
    pub fn has_run(&self) -> bool {
        let size = self.max_text();
        let unsent = self.text_end().since(self.snd.nxt);
        // The usual answer comes first.
        unsent >= WORTH * size && self.has_unsent() && self.may_run(size)
    }

    fn may_run(&self, size: u32) -> bool {
        let out = self.snd.nxt.since(self.snd.una);
        let fits = self.snd.wnd.saturating_sub(out) >= WORTH * size && self.window_left() >= WORTH;
        let asks = self.owed.rst || self.owed.syn || self.owed.probe;
        let is_special = self.switches.has_any_of(ASKS)
            || self.switches.has(Switch::OwesTimeout)
            || self.own.as_ref().is_some_and(|own| own.snd_up.is_some());
        size >= LEAST_TEXT
            && fits
            && !(asks || is_special)
            && self.state() != State::SynReceived
            && self.recovery.is_none()
            && self.sack_blocks().1 == 0
            && self.tuple.local.is_v4()
    }

    /// Writes a run to the start of `out`, its checksum left zero, where there is one
    /// ([`Tcb::has_run`]). Its header is that of the first segment, with the PSH of the last.
    pub fn poll_run(&mut self, out: &mut [u8], env: &mut Env<'_>, now: Instant) -> Option<Written> {
        if !self.has_run() {
            return None;
        }
        let (seq, size) = (self.snd.nxt, self.max_text());
        let most = out.len().saturating_sub(MAX_HEADER).min(MOST_TEXT) as u32;
        let (mut text, mut count, mut flags) = (0, 0, Flags::ACK);
        while text + size <= most && count < MOST_SEGMENTS && !self.is_before_fin(size) {
            let Some((len, with)) = self.send_planned(env, now) else { break };
            (text, count, flags) = (text + len, count + 1, flags.union(with));
            // Only the last one is short, or pushed.
            if len < size || with.contains(Flags::PSH) {
                break;
            }
        }
        if count == 0 {
            return None;
        }
        let options = self.options_for(flags, env, now);
        let window = self.offer_window(flags);
        let bare = Bare { seq, ack: self.rcv.nxt, flags, window, options };
        let head = emit(&bare.header(&self.tuple), &options, out);
        let whole = &mut out[head..head + text as usize];
        self.snd.cursor.read((env.pool, &self.snd.buffer), (self.snd.una.0, seq.0), whole);
        Some(Written { head, text: text as usize, size: size as usize, count })
    }

    /// Whether the next segment carries FIN, which no run has.
    fn is_before_fin(&self, size: u32) -> bool {
        self.snd.fin == Fin::Queued && self.text_end().since(self.snd.nxt) <= size
    }
}

/// The fewest segments for which a run is worth its own call of the kernel.
const WORTH: u32 = 3;
/// The least text of a run's segments: shorter ones are not what bulk is made of.
const LEAST_TEXT: u32 = 512;

//! Runs: new text that leaves as one packet, to be cut into segments below.
//!
//! A run is what as many calls of output would have made one after the other: each of its segments is
//! planned and recorded for itself. What is saved is the rest, headers and the way down. Only what is
//! frequent leaves so; everything else is output's.

use super::own::{ASKS, Switch};
use super::pool::Pool;
use super::tcb::Fin;
use super::{Bare, Env, SeqNum, State, Tcb};
use crate::time::Instant;
use crate::wire::run::{MOST_SEGMENTS, MOST_TEXT};
use crate::wire::tcp::{Flags, emit};

/// A run that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The number of the first octet of text.
    pub seq: SeqNum,
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
        let is_special = self.switches.has_any_of(ASKS)
            || self.switches.has(Switch::OwesTimeout)
            || self.own.as_ref().is_some_and(|own| own.snd_up.is_some());
        size >= LEAST_TEXT
            && fits
            && !is_special
            && self.state() != State::SynReceived
            && self.recovery.is_none()
            && self.sack_blocks().1 == 0
            && self.tuple.local.is_v4()
    }

    /// Writes the header of a run to the start of `out`, its checksum left zero, where there is one
    /// ([`Tcb::has_run`]): that of the first segment, with the PSH of the last. The text is
    /// [`Tcb::run_text`]'s.
    pub fn poll_run(
        &mut self,
        (out, most): (&mut [u8], usize),
        env: &mut Env<'_>,
        now: Instant,
    ) -> Option<Written> {
        if !self.has_run() {
            return None;
        }
        let (seq, size) = (self.snd.nxt, self.max_text());
        let reach = self.reach(env.pool);
        let (mut text, mut count, mut flags) = (0, 0, Flags::ACK);
        let is_all = self.snd.nxt + reach == self.text_end();
        while count < most.min(MOST_SEGMENTS) && !self.is_before_fin(size) {
            // A short one goes with them, where it is the end of the text.
            if text == reach || (text + size > reach && !is_all) {
                break;
            }
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
        Some(Written { seq, head, text: text as usize, size: size as usize, count })
    }

    /// Octets of new text that lie in so few pieces that they make one run.
    fn reach(&self, pool: &Pool) -> u32 {
        let (nxt, unsent) = (self.snd.nxt, self.text_end().since(self.snd.nxt) as usize);
        let (mut reach, mut pieces) = (0, 0);
        let at = (self.snd.una.0, nxt.0);
        // Only a look: the cursor itself moves when the text is taken.
        let mut cursor = self.rare.cursor;
        cursor.visit((pool, &self.snd.buffer), at, unsent.min(MOST_TEXT), |piece| {
            (reach, pieces) = (reach + piece.len(), pieces + 1);
            pieces < MOST_PIECES
        });
        reach as u32
    }

    /// The text of a run that was just written, as it lies in the send buffer; how many pieces.
    pub fn run_text<'p>(
        &mut self,
        run: &Written,
        pool: &'p Pool,
        pieces: &mut [&'p [u8]; MOST_PIECES],
    ) -> usize {
        let (at, mut count) = ((self.snd.una.0, run.seq.0), 0);
        self.rare.cursor.visit((pool, &self.snd.buffer), at, run.text, |piece| {
            pieces[count] = piece;
            count += 1;
            count < MOST_PIECES
        });
        count
    }

    /// Whether the next segment carries FIN, which no run has.
    fn is_before_fin(&self, size: u32) -> bool {
        self.snd.fin == Fin::Queued && self.text_end().since(self.snd.nxt) <= size
    }
}

/// The most pieces that the text of a run lies in: as many as `MOST_TEXT` takes in chunks, twice over.
pub const MOST_PIECES: usize = 36;
/// The fewest segments for which a run is worth its own call of the kernel.
const WORTH: u32 = 3;
/// The least text of a run's segments: shorter ones are not what bulk is made of.
const LEAST_TEXT: u32 = 512;

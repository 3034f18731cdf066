//! SYN cookies: handshakes without a half-open entry (RFC 4987, 3.6).
//!
//! The codec is stack-ebpf's, which the XDP program has too. Here is when a cookie goes out, and what
//! becomes of an acknowledgment that may answer one.

use stack_ebpf::cookie::{self, Keys, MSS, Offered, Period};
use stack_ebpf::siphash::Key;

use super::Secrets;
use super::demux::Arrival;
use super::inner::Core;
use super::open::Completion;
use crate::counters::Counter;
use crate::tables::flow::{FlowKind, FlowRef};
use crate::tcp::{HalfOpen, Offer, SeqNum};
use crate::time::Instant;
use crate::wire::tcp::Flags;

impl Core {
    /// Answers a SYN by a cookie.
    pub(super) fn send_cookie(&mut self, arrival: &Arrival<'_>, listener: u16, now: Instant) {
        // CM-3.g, CM-3.h: by the codec that the XDP program has, too.
        let period = Period::at(now.as_nanos());
        let keys = self.cookies.keys(&self.config.secrets, period);
        if let Some(listening) = self.listeners.at_mut(listener) {
            listening.cookies_until = Some(period.0.wrapping_add(1));
        }
        let offsets = self.offsets(arrival.hash);
        let mut record = self.half_open_for(arrival, (listener, offsets), now);
        // CM-3.g, CM-3.h.
        let mss = cookie::mss_index(record.peer_mss());
        // The keys are of this time.
        let Some(iss) = cookie::encode(&keys, offsets, record.irs.0, mss, period) else { return };
        record.iss = SeqNum(iss);
        if record.offer.stamp.is_none() {
            // Nothing would bring them back.
            record.offer = Offer { mss: record.offer.mss, ..Offer::default() };
        }
        let mut bare = record.syn_ack(self.mss_of(&record), &self.config.tcp, now);
        if let Some(stamps) = &mut bare.options.timestamps {
            // CM-3.j: not ahead of what later segments carry.
            let Offer { window_scale, sack_permitted, .. } = record.offer;
            let clock = stamps.value.wrapping_sub(record.stamp_offset);
            let stamp = Offered { window_scale, sack_permitted }.into_clock(clock);
            stamps.value = stamp.wrapping_add(record.stamp_offset);
        }
        self.counters.count(Counter::CookiesSent);
        self.reply_bare(arrival.mac, arrival.tuple, bare);
    }

    /// An acknowledgment that reached a listener, or a half-open entry with another ISS: a connection, if it answers a cookie of ours, else a
    /// RST (RFC 9293, 3.10.7.2, second). A listener that sent no cookie lately does not look, so that
    /// nothing can be guessed there.
    pub(super) fn take_cookie(
        &mut self,
        arrival: &Arrival<'_>,
        listener: u16,
        now: Instant,
    ) -> Completion {
        let period = Period::at(now.as_nanos());
        let is_recent = self.has_sent_cookies(listener, period);
        if !is_recent || self.shutdown.is_some() || arrival.segment.has(Flags::SYN) {
            return Completion::Refuse;
        }
        if !self.has_room_for_conn(listener) {
            // What follows a final ACK that was dropped does not show its cookie: none of it is reset.
            return match self.config.tcp.abort_on_overflow {
                true => Completion::Refuse,
                false => Completion::Drop,
            };
        }
        let Some(record) = self.read_cookie(arrival, (listener, period), now) else {
            self.counters.count(Counter::CookiesFailed);
            return Completion::Refuse;
        };
        if self.cookies.is_spent(arrival.hash, record.iss) {
            // What is late of a connection that is over must not make another.
            self.counters.count(Counter::CookiesFailed);
            return Completion::Refuse;
        }
        self.counters.count(Counter::CookiesReceived);
        self.counters.add(Counter::CookiesTold, arrival.cookie.is_some().into());
        if let Some(half_open) = self.find(arrival.hash, &arrival.tuple) {
            // The same SYN came again when there was room for an entry.
            self.remove_half_open(half_open.index());
        }
        let Some(index) = self.establish(&record, now) else { return Completion::Drop };
        if self.flows.insert(arrival.hash, FlowRef::new(FlowKind::Tcb, index)).is_err() {
            self.counters.count(Counter::TableFull);
            self.withdraw(index, listener);
            return Completion::Drop;
        }
        self.cookies.spend(arrival.hash, record.iss);
        self.counters.count(Counter::PassiveOpens);
        self.learn_way_back(index, (&record.tuple, arrival.mac), now);
        Completion::Open(index)
    }

    /// Whether a segment answers a cookie, of a listener that sent some lately.
    pub(super) fn answers_cookie(
        &mut self,
        arrival: &Arrival<'_>,
        listener: u16,
        now: Instant,
    ) -> bool {
        let period = Period::at(now.as_nanos());
        let segment = &arrival.segment;
        let may = segment.has(Flags::ACK) && !segment.has(Flags::SYN) && !segment.has(Flags::RST);
        may && self.has_sent_cookies(listener, period)
            && self.read_cookie(arrival, (listener, period), now).is_some()
    }

    /// Whether a cookie of this listener may be good, ours or one of the XDP program's.
    fn has_sent_cookies(&self, listener: u16, period: Period) -> bool {
        let until = self.listeners.at(listener).and_then(|listening| listening.cookies_until);
        self.is_gate_closed(listener)
            || until.is_some_and(|until| until.wrapping_sub(period.0) as i32 >= 0)
    }

    /// The half-open entry that this acknowledgment's cookie stands for.
    fn read_cookie(
        &mut self,
        arrival: &Arrival<'_>,
        (listener, period): (u16, Period),
        now: Instant,
    ) -> Option<HalfOpen> {
        let keys = self.cookies.keys(&self.config.secrets, period);
        let segment = &arrival.segment;
        let (irs, iss) = (segment.seq - 1, segment.ack - 1);
        let offsets = self.offsets(arrival.hash);
        let mss = match arrival.cookie {
            Some(mss) => mss,
            None => cookie::decode(&keys, offsets, irs.0, iss.0, period)?,
        };
        let mut record = self.half_open_for(arrival, (listener, offsets), now);
        (record.iss, record.irs) = (iss, irs);
        record.offer = Offer { mss: Some(MSS[usize::from(mss)]), ..Offer::default() };
        // When the SYN-ACK went out is not known: it times nothing.
        record.is_repeated = true;
        if let Some(stamps) = segment.options.timestamps {
            let clock = stamps.echo.wrapping_sub(record.stamp_offset);
            let Offered { window_scale, sack_permitted } = Offered::from_clock(clock);
            record.offer.stamp = Some(stamps.value);
            record.offer.window_scale = window_scale;
            record.offer.sack_permitted = sack_permitted;
        }
        record.offer = record.offer.within(&self.config.tcp);
        Some(record)
    }

    /// Takes back a connection that found no room in the flow table.
    fn withdraw(&mut self, index: u32, listener: u16) {
        if let Some(listening) = self.listeners.at_mut(listener) {
            listening.queue.retain(|id| id.index != index);
        }
        self.forget(index);
    }
}

/// What a shard knows of its cookies.
pub(super) struct Cookies {
    /// Their keys, and the period that these are for.
    keys: (Period, Keys),
    /// Marks of cookies that made a connection. One that has room nowhere takes another's place, which
    /// may then be used again: as everywhere else.
    spent: Vec<u64>,
}

impl Cookies {
    pub(super) fn new(secrets: &Secrets) -> Self {
        let period = Period(0);
        let keys = (period, Keys::at(Key::new(secrets.isn), period));
        Self { keys, spent: Vec::new() }
    }

    /// The keys for this period's cookies and the last one's.
    fn keys(&mut self, secrets: &Secrets, period: Period) -> Keys {
        if self.keys.0 != period {
            self.keys = (period, Keys::at(Key::new(secrets.isn), period));
        }
        self.keys.1
    }

    /// Whether the cookie has made a connection before. While that lives nobody asks.
    fn is_spent(&self, hash: u64, iss: SeqNum) -> bool {
        self.spent.get(place(hash)) == Some(&mark(hash, iss))
    }

    fn spend(&mut self, hash: u64, iss: SeqNum) {
        self.spent.resize(SPENT, 0);
        self.spent[place(hash)] = mark(hash, iss);
    }
}

/// Never zero.
fn mark(hash: u64, iss: SeqNum) -> u64 {
    (hash ^ u64::from(iss.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1
}

fn place(hash: u64) -> usize {
    hash as usize % SPENT
}

/// Spent cookies that are known, at eight bytes each once the first was spent.
const SPENT: usize = 1 << 14;

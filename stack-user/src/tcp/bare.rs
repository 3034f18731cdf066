//! Segments without text that are made from a record rather than a connection.

use super::tcb::stamp_clock;
use super::{Config, HalfOpen, SeqNum, TimeWait, own};
use crate::time::Instant;
use crate::wire::tcp::{Flags, Header, Options, Timestamps, emit, fill_checksum};
use crate::wire::{FourTuple, checksum};

/// A segment without text and without a connection's state.
#[derive(Clone, Debug)]
pub struct Bare {
    /// SEQ.
    pub seq: SeqNum,
    /// ACK, of use only with the ACK bit.
    pub ack: SeqNum,
    /// The control bits.
    pub flags: Flags,
    /// The window field.
    pub window: u16,
    /// The options.
    pub options: Options,
}

impl Default for Bare {
    fn default() -> Self {
        Self {
            seq: SeqNum(0),
            ack: SeqNum(0),
            flags: Flags::NONE,
            window: 0,
            options: Options::NONE,
        }
    }
}

impl Bare {
    /// Writes the segment with its checksum to the start of `out`; returns its length.
    pub fn write(&self, tuple: &FourTuple, out: &mut [u8]) -> usize {
        let len = emit(&self.header(tuple), &self.options, out);
        fill_checksum(&mut out[..len], &tuple.local, &tuple.remote, checksum::Partial::ZERO);
        len
    }

    pub(super) fn header(&self, tuple: &FourTuple) -> Header {
        Header {
            src_port: tuple.local_port,
            dst_port: tuple.remote_port,
            seq: self.seq.0,
            ack: self.ack.0,
            flags: self.flags,
            window: self.window,
            checksum: 0,
            urgent: 0,
        }
    }
}

impl HalfOpen {
    /// An ACK with the numbers as they are, in answer to what does not fit.
    pub fn ack(&self, now: Instant) -> Bare {
        let value = stamp_clock(now).wrapping_add(self.stamp_offset);
        let timestamps = self.offer.stamp.map(|echo| Timestamps { value, echo });
        Bare {
            seq: self.iss + 1,
            ack: self.irs + 1,
            flags: Flags::ACK,
            window: self.window,
            options: Options { timestamps, ..Options::NONE },
        }
    }

    /// The SYN and ACK that answers this entry's SYN. `mss` is what we can receive.
    pub fn syn_ack(&self, mss: u16, config: &Config, now: Instant) -> Bare {
        let offer = &self.offer;
        let stamp = stamp_clock(now).wrapping_add(self.stamp_offset);
        Bare {
            seq: self.iss,
            ack: self.irs + 1,
            flags: Flags::SYN.union(Flags::ACK),
            window: self.window,
            options: Options {
                mss: Some(mss),
                window_scale: offer.window_scale.map(|_| self.scale),
                sack_permitted: offer.sack_permitted,
                timestamps: offer.stamp.map(|echo| Timestamps { value: stamp, echo }),
                user_timeout: config.advertise_user_timeout.map(own::to_wire),
                ..Options::NONE
            },
        }
    }
}

impl TimeWait {
    /// The acknowledgment that answers a repeated FIN and other old segments. `offset` is the
    /// connection's timestamp offset.
    pub fn ack(&self, offset: u32, now: Instant) -> Bare {
        let stamp = stamp_clock(now).wrapping_add(offset);
        Bare {
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: Flags::ACK,
            window: self.window,
            options: Options {
                timestamps: self
                    .has_stamps
                    .then_some(Timestamps { value: stamp, echo: self.recent }),
                ..Options::NONE
            },
        }
    }
}

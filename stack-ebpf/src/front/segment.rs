//! A segment as the front line sees it.

use super::sum;
use crate::flow::Words;
use crate::frame::{self, Frame};
use crate::steer::is_martian;

/// A whole TCP segment in a packet without options or extension headers.
#[derive(Clone, Copy)]
pub(super) struct Segment<const V6: bool> {
    pub name: Words,
    pub sequence: u32,
    pub acknowledgment: u32,
    pub flags: u8,
    /// The header's length.
    pub header: usize,
    /// Where it begins.
    pub at: usize,
    /// Its length.
    pub length: usize,
}

impl Segment<false> {
    #[inline(always)]
    pub fn of_ipv4<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<Self> {
        let [first, fragment, hops, remote, local] = frame.words(at)?;
        let is_plain = u32::from_be(first) >> 24 == 0x45 && u32::from_be(fragment) & 0x3fff == 0;
        if !is_plain || (u32::from_be(hops) >> 16) as u8 != frame::TCP {
            return None;
        }
        let octets = |addr| Words::mapped(u32::from_le(addr));
        let (remote, local) = (octets(remote), octets(local));
        let length = (u32::from_be(first) as u16 as usize).checked_sub(20)?;
        Self::behind(frame, (at + 20, length), (local, remote))
    }
}

impl Segment<true> {
    #[inline(always)]
    pub fn of_ipv6<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<Self> {
        let [_, second, addrs @ ..] = frame.words::<10>(at)?;
        let second = u32::from_be(second);
        if (second >> 8) as u8 != frame::TCP {
            return None;
        }
        let word =
            |n: usize| u32::from_le(addrs[n]) as u64 | (u32::from_le(addrs[n + 1]) as u64) << 32;
        let (remote, local) = ([word(0), word(2)], [word(4), word(6)]);
        let length = (second >> 16) as usize;
        Self::behind(frame, (at + 40, length), (local, remote))
    }
}

impl<const V6: bool> Segment<V6> {
    #[inline(always)]
    fn behind<F: Frame + ?Sized>(
        frame: &F,
        (at, length): (usize, usize),
        (local, remote): ([u64; 2], [u64; 2]),
    ) -> Option<Self> {
        let [ports, sequence, acknowledgment, flags] = frame.words(at)?.map(u32::from_be);
        let header = (flags >> 28) as usize * 4;
        // Both were checked before.
        if header < 20 || header > length || at + length > frame.length() {
            return None;
        }
        Some(Self {
            name: Words { local, remote, ports: ports.rotate_left(16) },
            sequence,
            acknowledgment,
            flags: (flags >> 16) as u8,
            header,
            at,
            length,
        })
    }

    /// Whether the IP header's checksum is right, if it has one.
    #[inline(always)]
    pub fn is_sound<F: Frame + ?Sized>(&self, frame: &F) -> bool {
        V6 || frame.words::<5>(self.at - 20).is_some_and(|ip| sum::finish(sum::of(&ip)) == 0)
    }

    #[inline(always)]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Whether the sender's address is no single host's, or our own (RFC 9293, 3.9.2.3: MUST-63).
    #[inline(always)]
    pub fn is_martian(&self) -> bool {
        is_martian(self.name.remote, V6) || self.name.remote == self.name.local
    }
}

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

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
        let ip: [u16; 10] = frame.read(at)?;
        let is_plain = u16::from_be(ip[0]) >> 8 == 0x45 && u16::from_be(ip[3]) & 0x3fff == 0;
        if !is_plain || u16::from_be(ip[4]) as u8 != frame::TCP {
            return None;
        }
        let octets = |n: usize| u16::from_le(ip[n]) as u32 | (u16::from_le(ip[n + 1]) as u32) << 16;
        let (remote, local) = (Words::mapped(octets(6)), Words::mapped(octets(8)));
        let length = (u16::from_be(ip[1]) as usize).checked_sub(20)?;
        Self::behind(frame, (at + 20, length), (local, remote))
    }
}

impl Segment<true> {
    #[inline(always)]
    pub fn of_ipv6<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<Self> {
        let ip: [u16; 20] = frame.read(at)?;
        if u16::from_be(ip[3]) >> 8 != frame::TCP as u16 {
            return None;
        }
        let word = |n: usize| {
            let half = |n: usize| u16::from_le(ip[n]) as u64;
            half(n) | half(n + 1) << 16 | half(n + 2) << 32 | half(n + 3) << 48
        };
        let (remote, local) = ([word(4), word(8)], [word(12), word(16)]);
        let length = u16::from_be(ip[2]) as usize;
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
        let tcp: [u16; 7] = frame.read(at)?;
        let half = |n: usize| u16::from_be(tcp[n]);
        let word = |n: usize| (half(n) as u32) << 16 | half(n + 1) as u32;
        let header = (half(6) >> 12) as usize * 4;
        // Both were checked before.
        if header < 20 || header > length || at + length > frame.length() {
            return None;
        }
        let ports = (half(1) as u32) << 16 | half(0) as u32;
        Some(Self {
            name: Words { local, remote, ports },
            sequence: word(2),
            acknowledgment: word(4),
            flags: half(6) as u8,
            header,
            at,
            length,
        })
    }

    /// Whether the IP header's checksum is right, if it has one.
    #[inline(always)]
    pub fn is_sound<F: Frame + ?Sized>(&self, frame: &F) -> bool {
        V6 || frame.read::<[u16; 10]>(self.at - 20).is_some_and(|ip| sum::finish(sum::of(&ip)) == 0)
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

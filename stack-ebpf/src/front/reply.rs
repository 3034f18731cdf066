//! Answers that take the place of the frame that they answer.

use core::mem::size_of;

use super::answer::{Place, Wire};
use super::sum;
use crate::flow::Words;
use crate::frame::{self, Ethernet};

/// Where an answer goes, and how.
#[derive(Clone, Copy)]
pub(super) struct Reply<const V6: bool> {
    pub place: Place,
    pub name: Words,
    pub traffic_class: u8,
    pub hop_limit: u8,
}

/// What a SYN-ACK says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SynAck {
    pub iss: u32,
    pub irs: u32,
    pub window: u16,
    pub mss: u16,
    /// TSval and TSecr.
    pub stamps: Option<(u32, u32)>,
    /// The window shift that is offered.
    pub scale: Option<u8>,
    pub takes_sack: bool,
}

impl<const V6: bool> Reply<V6> {
    /// Octets of the IP header.
    const NETWORK: usize = if V6 { 40 } else { 20 };

    /// Makes the frame a SYN-ACK; `None` where it cannot be written.
    #[inline(always)]
    pub fn syn_ack<W: Wire>(&self, wire: &mut W, says: &SynAck) -> Option<()> {
        let SynAck { iss, irs, window, mss, stamps, scale, takes_sack } = *says;
        let length =
            24 + if stamps.is_some() { 12 } else { 0 } + if scale.is_some() { 4 } else { 0 };
        let at = self.begin(wire, length)?;
        let mut next = at + 24;
        let mut sum = 0;
        if let Some((value, echo)) = stamps {
            let permitted: u32 = if takes_sack { 0x0402_080a } else { 0x0101_080a };
            let words = [permitted, value, echo].map(u32::to_be);
            sum += put(wire, next, words)?;
            next += 12;
        }
        if let Some(scale) = scale {
            sum += put(wire, next, [(0x0103_0300 | scale as u32).to_be()])?;
        }
        let mss = (0x0204_0000 | mss as u32).to_be();
        sum += put(wire, at + 20, [mss])?;
        self.header(wire, at, ([iss, irs.wrapping_add(1)], (length, SYN_ACK, window)), sum)
    }

    /// Makes the frame a RST that has this sequence number (RFC 9293, 3.10.7.1).
    #[inline(always)]
    pub fn reset<W: Wire>(&self, wire: &mut W, sequence: u32) -> Option<()> {
        let at = self.begin(wire, 20)?;
        self.header(wire, at, ([sequence, 0], (20, RST, 0)), 0)
    }

    /// Writes the fixed header ahead of options that have this sum.
    #[inline(always)]
    fn header<W: Wire>(
        &self,
        wire: &mut W,
        at: usize,
        (numbers, (length, flags, window)): ([u32; 2], (usize, u32, u16)),
        sum: u64,
    ) -> Option<()> {
        let offset = (length as u32) << 26 | flags << 16 | window as u32;
        let ports = self.name.ports;
        let words = [ports, numbers[0], numbers[1], offset].map(u32::to_be);
        let sum = sum + sum::of(&words);
        let sum = sum + sum::of_addresses::<V6>(&self.name) + sum::pseudo(length);
        let [a, b, c, d] = words;
        put(wire, at, [a, b, c, d, pair(sum::finish(sum), 0)])?;
        Some(())
    }

    /// Makes the frame as long as it has to be for a segment of that length, and writes what stands before
    /// it; gives the octet at which the segment begins.
    #[inline(always)]
    fn begin<W: Wire>(&self, wire: &mut W, length: usize) -> Option<usize> {
        let at = self.place.at;
        let segment = at + Self::NETWORK;
        if !wire.resize(segment + length) {
            return None;
        }
        // The frame has the ethertype, and the tag's TPID, that the answer has too.
        let [a, b, c] = wire.words(0)?.map(u32::from_le);
        let back = [b >> 16 | c << 16, c >> 16 | a << 16, a >> 16 | b << 16];
        put(wire, 0, back.map(u32::to_le))?;
        if self.place.vlan != 0 {
            // Without the priority that the question had.
            let tag = pair(frame::TPID_CUSTOMER.to_be(), self.place.vlan.to_be());
            put(wire, size_of::<Ethernet>() - size_of::<[u16; 1]>(), [tag])?;
        }
        match V6 {
            true => self.ipv6(wire, at, length)?,
            false => self.ipv4(wire, at, length)?,
        }
        Some(segment)
    }

    #[inline(always)]
    fn ipv4<W: Wire>(&self, wire: &mut W, at: usize, length: usize) -> Option<()> {
        let first = 0x4500_0000 | (self.traffic_class as u32) << 16 | (20 + length as u32);
        // Not to be fragmented.
        let fragment = 0x4000_u32;
        let hops = (self.hop_limit as u16) << 8 | frame::TCP as u16;
        let octets = |[_, word]: [u64; 2]| ((word >> 32) as u32).to_le();
        let (local, remote) = (octets(self.name.local), octets(self.name.remote));
        let (first, fragment) = (first.to_be(), fragment.to_be());
        let hops = pair(hops.to_be(), 0);
        let sum = sum::finish(sum::of(&[first, fragment, hops, local, remote]));
        put(wire, at, [first, fragment, hops | pair(0, sum), local, remote])?;
        Some(())
    }

    #[inline(always)]
    fn ipv6<W: Wire>(&self, wire: &mut W, at: usize, length: usize) -> Option<()> {
        let first = (0x6000_0000 | (self.traffic_class as u32) << 20).to_be();
        let next = (frame::TCP as u32) << 8 | self.hop_limit as u32;
        let second = ((length as u32) << 16 | next).to_be();
        let ([a, b], [c, d]) = (self.name.local, self.name.remote);
        let (low, high) =
            (|word: u64| (word as u32).to_le(), |word: u64| ((word >> 32) as u32).to_le());
        put(wire, at, [first, second, low(a), high(a), low(b), high(b)])?;
        put(wire, at + 24, [low(c), high(c), low(d), high(d)])?;
        Some(())
    }
}

/// Writes words; gives their sum.
#[inline(always)]
fn put<W: Wire, const N: usize>(wire: &mut W, at: usize, words: [u32; N]) -> Option<u64> {
    wire.write(at, words).then(|| sum::of(&words))
}

/// Two halfwords, as they lie in memory, as a word that lies there.
#[inline(always)]
fn pair(first: u16, second: u16) -> u32 {
    (u16::from_le(first) as u32 | (u16::from_le(second) as u32) << 16).to_le()
}

const SYN_ACK: u32 = 0x12;
const RST: u32 = 0x04;

//! Answers that take the place of the frame that they answer.

use super::answer::{Place, Wire};
use super::sum;
use crate::flow::Words;
use crate::frame;

/// Where an answer is written. The frame begins at the third octet, so that headers behind that of
/// Ethernet lie at whole words.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Sheet([u32; 32]);

impl Sheet {
    /// Nothing.
    pub const EMPTY: Self = Self([0; 32]);
    /// The octet at which the frame begins.
    pub const START: usize = 2;

    /// What is on it, as it lies in memory.
    pub const fn words(&self) -> &[u32; 32] {
        &self.0
    }
}

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
    /// Makes the frame a SYN-ACK; `None` where it cannot be written.
    #[inline(always)]
    pub fn syn_ack<W: Wire>(&self, wire: &mut W, sheet: &mut Sheet, says: &SynAck) -> Option<()> {
        let SynAck { iss, irs, window, mss, stamps, scale, takes_sack } = *says;
        let length =
            24 + if stamps.is_some() { 12 } else { 0 } + if scale.is_some() { 4 } else { 0 };
        let at = self.begin(wire, sheet, length)?;
        let mut sum =
            self.header((sheet, at), (iss, irs.wrapping_add(1)), (length, SYN_ACK, window));
        sum += put(sheet, at + 5, (0x0204_0000 | mss as u32).to_be());
        let mut next = at + 6;
        if let Some((value, echo)) = stamps {
            let permitted: u32 = if takes_sack { 0x0402_080a } else { 0x0101_080a };
            sum += put(sheet, next, permitted.to_be());
            sum += put(sheet, next + 1, value.to_be());
            sum += put(sheet, next + 2, echo.to_be());
            next += 3;
        }
        if let Some(scale) = scale {
            sum += put(sheet, next, (0x0103_0300 | scale as u32).to_be());
        }
        self.finish((sheet, at), sum, length);
        wire.replace(sheet, at * 4 - Sheet::START + length).then_some(())
    }

    /// Makes the frame a RST that has this sequence number (RFC 9293, 3.10.7.1).
    #[inline(always)]
    pub fn reset<W: Wire>(&self, wire: &mut W, sheet: &mut Sheet, sequence: u32) -> Option<()> {
        let at = self.begin(wire, sheet, 20)?;
        let sum = self.header((sheet, at), (sequence, 0), (20, RST, 0));
        self.finish((sheet, at), sum, 20);
        wire.replace(sheet, at * 4 - Sheet::START + 20).then_some(())
    }

    /// Writes the fixed header without its checksum; gives its sum.
    #[inline(always)]
    fn header(
        &self,
        (sheet, at): (&mut Sheet, usize),
        (sequence, acknowledgment): (u32, u32),
        (length, flags, window): (usize, u32, u16),
    ) -> u64 {
        let offset = (length as u32) << 26 | flags << 16 | window as u32;
        put(sheet, at, self.name.ports.to_be())
            + put(sheet, at + 1, sequence.to_be())
            + put(sheet, at + 2, acknowledgment.to_be())
            + put(sheet, at + 3, offset.to_be())
    }

    /// Writes the checksum of a segment whose header and options have this sum.
    #[inline(always)]
    fn finish(&self, (sheet, at): (&mut Sheet, usize), sum: u64, length: usize) {
        let sum = sum + sum::of_addresses::<V6>(&self.name) + sum::pseudo(length);
        put(sheet, at + 4, pair(sum::finish(sum), 0));
    }

    /// Writes what stands before a segment of that length; gives the word at which that begins.
    #[inline(always)]
    fn begin<W: Wire>(&self, wire: &W, sheet: &mut Sheet, length: usize) -> Option<usize> {
        let [a, b, c, d, e, f] = wire.read::<[u16; 6]>(0)?;
        put(sheet, 0, pair(0, d));
        put(sheet, 1, pair(e, f));
        put(sheet, 2, pair(a, b));
        let ethertype = if V6 { frame::ETHERTYPE_IPV6 } else { frame::ETHERTYPE_IPV4 };
        let at = match self.place.vlan {
            0 => {
                put(sheet, 3, pair(c, ethertype.to_be()));
                4
            }
            vlan => {
                put(sheet, 3, pair(c, frame::TPID_CUSTOMER.to_be()));
                // Without the priority that the question had.
                put(sheet, 4, pair(vlan.to_be(), ethertype.to_be()));
                5
            }
        };
        Some(match V6 {
            true => self.ipv6((sheet, at), length),
            false => self.ipv4((sheet, at), length),
        })
    }

    #[inline(always)]
    fn ipv4(&self, (sheet, at): (&mut Sheet, usize), length: usize) -> usize {
        let first = 0x4500_0000 | (self.traffic_class as u32) << 16 | (20 + length as u32);
        let hops = (self.hop_limit as u16) << 8 | frame::TCP as u16;
        let octets = |[_, word]: [u64; 2]| ((word >> 32) as u32).to_le();
        let sum = put(sheet, at, first.to_be())
            // Not to be fragmented.
            + put(sheet, at + 1, 0x4000_u32.to_be())
            + hops.to_be() as u64
            + put(sheet, at + 3, octets(self.name.local))
            + put(sheet, at + 4, octets(self.name.remote));
        put(sheet, at + 2, pair(hops.to_be(), sum::finish(sum)));
        at + 5
    }

    #[inline(always)]
    fn ipv6(&self, (sheet, at): (&mut Sheet, usize), length: usize) -> usize {
        put(sheet, at, (0x6000_0000 | (self.traffic_class as u32) << 20).to_be());
        let next = (frame::TCP as u32) << 8 | self.hop_limit as u32;
        put(sheet, at + 1, ((length as u32) << 16 | next).to_be());
        let ([a, b], [c, d]) = (self.name.local, self.name.remote);
        let words = [a, b, c, d];
        let mut n = 0;
        while n < 4 {
            put(sheet, at + 2 + 2 * n, (words[n] as u32).to_le());
            put(sheet, at + 3 + 2 * n, ((words[n] >> 32) as u32).to_le());
            n += 1;
        }
        at + 10
    }
}

/// Writes a word; gives it for the sum.
#[inline(always)]
fn put(sheet: &mut Sheet, at: usize, word: u32) -> u64 {
    sheet.0[at & 31] = word;
    word as u64
}

/// Two halfwords, as they lie in memory, as a word that lies there.
#[inline(always)]
fn pair(first: u16, second: u16) -> u32 {
    (u16::from_le(first) as u32 | (u16::from_le(second) as u32) << 16).to_le()
}

const SYN_ACK: u32 = 0x12;
const RST: u32 = 0x04;

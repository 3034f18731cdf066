//! The usual frame, read in one piece: TCP with timestamps and no other option, in IPv4 without
//! options, in Ethernet without a tag. Nearly every frame of an established connection is one.
//!
//! Owns the places of its fields and nothing of their meaning: whatever differs from this form, or has
//! a checksum that is wrong, is for the parsers of each layer, which say what is the matter with it. A
//! property test compares both.

use super::checksum;
use super::ipv4::{self, Delivery};
use super::tcp::{Flags, Timestamps};
use super::{FourTuple, MacAddr, PROTOCOL_TCP};

/// A frame of that form whose checksums are right. Its fields are read where they are used: nobody needs
/// all of them, and those that are read too early wait on the stack.
#[derive(Clone, Copy)]
pub struct Usual<'a> {
    head: &'a [u8; LEN],
    text: &'a [u8],
}

/// The fields of such a frame's headers behind the one of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The sender's IPv4 address.
    pub src: [u8; 4],
    /// The receiver's IPv4 address.
    pub dst: [u8; 4],
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// SEG.SEQ.
    pub seq: u32,
    /// SEG.ACK.
    pub ack: u32,
    /// The control bits.
    pub flags: Flags,
    /// SEG.WND as it stands on the wire.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// The timestamps.
    pub stamps: Timestamps,
}

impl<'a> Usual<'a> {
    /// Reads a frame of this form; `None` for any other. Without `verifies` the checksum of TCP is
    /// not looked at.
    #[inline(always)]
    pub fn read(bytes: &'a [u8], verifies: bool) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<LEN>()?;
        let total = usize::from(u16::from_be_bytes(at(head, 16)));
        let is_usual = u32::from_be_bytes(at(head, 12)) >> 8 == 0x08_0045
            && u16::from_be_bytes(at(head, 20)) & FRAGMENT == 0
            && head[23] == PROTOCOL_TCP
            && head[46] >> 4 == 8
            && at(head, 54) == STAMPS;
        if !is_usual {
            return None;
        }
        let text = rest.get(..total.checked_sub(LEN - ETHERNET)?)?;
        if !checksum::is_right(checksum::sum(&at::<20>(head, ETHERNET))) {
            return None;
        }
        if verifies {
            // RFC 9293 3.1 (MUST-3): addresses, protocol and length of the pseudo-header as well.
            let others = u64::from(u16::from(PROTOCOL_TCP).to_be())
                + u64::from(((total - IP) as u16).to_be());
            let (addrs, others) = (at(head, 26), others.to_ne_bytes());
            let header = (at(head, 34), at(head, 42), at(head, 50), at(head, 58));
            let words = [addrs, header.0, header.1, header.2, header.3, others];
            if !checksum::is_right(checksum::sum_behind(checksum::sum_words(&words), text)) {
                return None;
            }
        }
        Some(Self { head, text })
    }

    /// The receiver's address on the link.
    #[inline(always)]
    pub fn to(&self) -> MacAddr {
        MacAddr(at(self.head, 0))
    }

    /// Whether that is `mac`.
    #[inline(always)]
    pub fn is_to(&self, MacAddr([a, b, c, d, e, f]): &MacAddr) -> bool {
        // Two comparisons, and nothing to be put together for them.
        at(self.head, 0) == [*a, *b, *c, *d] && at(self.head, 4) == [*e, *f]
    }

    /// The sender's address on the link.
    #[inline(always)]
    pub fn from(&self) -> MacAddr {
        MacAddr(at(self.head, 6))
    }

    /// The sender's and the receiver's IPv4 address.
    #[inline(always)]
    pub fn addrs(&self) -> ([u8; 4], [u8; 4]) {
        (at(self.head, 26), at(self.head, 30))
    }

    /// The sender's and the receiver's port.
    #[inline(always)]
    pub fn ports(&self) -> (u16, u16) {
        (u16::from_be_bytes(at(self.head, 34)), u16::from_be_bytes(at(self.head, 36)))
    }

    /// Both in a word, the sender's ahead.
    #[inline(always)]
    pub fn both_ports(&self) -> u32 {
        u32::from_be_bytes(at(self.head, 34))
    }

    /// SEG.SEQ.
    #[inline(always)]
    pub fn seq(&self) -> u32 {
        u32::from_be_bytes(at(self.head, 38))
    }

    /// SEG.ACK.
    #[inline(always)]
    pub fn ack(&self) -> u32 {
        u32::from_be_bytes(at(self.head, 42))
    }

    /// The control bits.
    #[inline(always)]
    pub fn flags(&self) -> Flags {
        Flags(self.head[47])
    }

    /// SEG.WND as it stands on the wire.
    #[inline(always)]
    pub fn window(&self) -> u16 {
        u16::from_be_bytes(at(self.head, 48))
    }

    /// The timestamps.
    #[inline(always)]
    pub fn stamps(&self) -> Timestamps {
        Timestamps {
            value: u32::from_be_bytes(at(self.head, 58)),
            echo: u32::from_be_bytes(at(self.head, 62)),
        }
    }

    /// The data.
    #[inline(always)]
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// All fields of its headers behind the one of the link.
    pub fn fields(&self) -> Fields {
        let ((src, dst), (src_port, dst_port)) = (self.addrs(), self.ports());
        Fields {
            src,
            dst,
            src_port,
            dst_port,
            seq: self.seq(),
            ack: self.ack(),
            flags: self.flags(),
            window: self.window(),
            urgent: u16::from_be_bytes(at(self.head, 52)),
            stamps: self.stamps(),
        }
    }
}

/// What all frames of this form begin with that have no text and leave one interface: the octets before
/// IPv4's checksum, but for the receiver's address on the link.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    octets: [u8; IP_CHECKSUM],
    /// What those of IPv4 count in a sum, in the order in which they stand there.
    sum: u64,
}

impl Start {
    /// That of frames from an address on the link.
    pub fn new(from: MacAddr, delivery: Delivery) -> Self {
        let [len_high, len_low] = ((LEN - ETHERNET) as u16).to_be_bytes();
        let mut octets = [0; IP_CHECKSUM];
        octets[6..12].copy_from_slice(&from.0);
        octets[12..16].copy_from_slice(&[0x08, 0x00, 0x45, delivery.traffic_class]);
        octets[16..18].copy_from_slice(&[len_high, len_low]);
        octets[18..22].copy_from_slice(&DONT_FRAGMENT);
        octets[22..].copy_from_slice(&[delivery.hop_limit, PROTOCOL_TCP]);
        let (words, _) = octets[ETHERNET..].as_chunks::<2>();
        let sum = words.iter().map(|word| u64::from(u16::from_ne_bytes(*word))).sum();
        Self { octets, sum }
    }

    /// IPv4's checksum in all such frames of a connection. One over IPv6 has none.
    #[inline]
    pub fn checksum_of(&self, tuple: &FourTuple) -> IpChecksum {
        self.checksum((ipv4::octets(&tuple.local), ipv4::octets(&tuple.remote)))
    }

    /// IPv4's checksum in all such frames from `src` to `dst`.
    #[inline]
    pub fn checksum(&self, (src, dst): ([u8; 4], [u8; 4])) -> IpChecksum {
        let addrs = u64::from(u32::from_ne_bytes(src)) + u64::from(u32::from_ne_bytes(dst));
        IpChecksum((!checksum::fold(self.sum + addrs)).to_ne_bytes())
    }
}

/// IPv4's checksum as [`Start::checksum`] gives it.
#[derive(Clone, Copy, Debug, Default)]
pub struct IpChecksum([u8; 2]);

impl Fields {
    /// Writes a frame of this form that has no text to an address on the link, with its checksums. The
    /// words are counted as they are written, which is faster than to read octets that have only just
    /// been written.
    #[inline(always)]
    pub fn write(
        &self,
        (start, ip_checksum): (&Start, IpChecksum),
        to: &MacAddr,
        out: &mut [u8; LEN],
    ) {
        put(out, 0, start.octets);
        put(out, 0, to.0);
        put(out, IP_CHECKSUM, ip_checksum.0);
        let addrs = count(out, 26, self.src) + count(out, 30, self.dst);
        let ports = u32::from(self.src_port) << 16 | u32::from(self.dst_port);
        let control = 0x80 << 24 | u32::from(self.flags.0) << 16 | u32::from(self.window);
        let numbers = count(out, 34, ports.to_be_bytes())
            + count(out, 38, self.seq.to_be_bytes())
            + count(out, 42, self.ack.to_be_bytes());
        let others = count(out, 46, control.to_be_bytes())
            + count(out, 50, u32::from(self.urgent).to_be_bytes())
            + count(out, 54, STAMPS);
        let stamps = count(out, 58, self.stamps.value.to_be_bytes())
            + count(out, 62, self.stamps.echo.to_be_bytes());
        // RFC 9293 3.1 (MUST-2), CM-9.d.
        let pseudo = addrs + u64::from(u32::from_ne_bytes(PSEUDO));
        let sum = pseudo + numbers + others + stamps;
        put(out, 50, (!checksum::fold(sum)).to_ne_bytes());
    }
}

/// Writes a word; how it counts in a sum, in the order in which it stands there.
#[inline(always)]
fn count(out: &mut [u8; LEN], place: usize, octets: [u8; 4]) -> u64 {
    put(out, place, octets);
    u32::from_ne_bytes(octets).into()
}

#[inline(always)]
fn put<const N: usize>(out: &mut [u8; LEN], place: usize, octets: [u8; N]) {
    out[place..place + N].copy_from_slice(&octets);
}

/// The octets at a place of the header.
#[inline(always)]
fn at<const N: usize>(head: &[u8; LEN], place: usize) -> [u8; N] {
    let mut octets = [0; N];
    octets.copy_from_slice(&head[place..place + N]);
    octets
}

const ETHERNET: usize = super::ethernet::HEADER_LEN;
const IP: usize = super::ipv4::HEADER_LEN;
/// The place of IPv4's checksum.
const IP_CHECKSUM: usize = 24;
/// The identification, which is zero, and the bit in the word of the fragment's offset.
const DONT_FRAGMENT: [u8; 4] = [0, 0, 0x40, 0];
/// Protocol and length in the pseudo-header of a segment without text.
const PSEUDO: [u8; 4] = [0, PROTOCOL_TCP, 0, (LEN - BEFORE) as u8];
/// Where such a frame begins before its TCP header.
pub const BEFORE: usize = ETHERNET + IP;
/// The length of all headers.
pub const LEN: usize = ETHERNET + IP + 32;
/// More fragments, and the offset of this one.
const FRAGMENT: u16 = 0x3fff;
/// RFC 7323, appendix A: two NOPs, then the kind and the length of timestamps.
const STAMPS: [u8; 4] = [1, 1, 8, 10];

#[cfg(test)]
mod tests;

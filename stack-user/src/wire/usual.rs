//! The usual frame, read in one piece: TCP with timestamps and no other option, in IPv4 without
//! options, in Ethernet without a tag. Nearly every frame of an established connection is one.
//!
//! Owns the places of its fields and nothing of their meaning: whatever differs from this form, or has
//! a checksum that is wrong, is for the parsers of each layer, which say what is the matter with it. A
//! property test compares both.

use super::checksum::{self, Partial};
use super::ipv4::Delivery;
use super::tcp::{Flags, Timestamps};
use super::{MacAddr, PROTOCOL_TCP};

/// A frame of that form whose checksums are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usual<'a> {
    /// The receiver's address on the link.
    pub to: MacAddr,
    /// The sender's address on the link.
    pub from: MacAddr,
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
    /// The data.
    pub text: &'a [u8],
}

impl<'a> Usual<'a> {
    /// Reads a frame of this form; `None` for any other. Without `verifies` the checksum of TCP is
    /// not looked at.
    #[inline(always)]
    pub fn read(bytes: &'a [u8], verifies: bool) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<LEN>()?;
        let total = usize::from(u16::from_be_bytes(at(head, 16)));
        let is_usual = at::<3>(head, 12) == [0x08, 0x00, 0x45]
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
        let (src, dst) = (at(head, 26), at(head, 30));
        if verifies {
            // RFC 9293 3.1 (MUST-3): addresses, protocol and length of the pseudo-header as well.
            let pseudo = checksum::sum_words(&[at(head, 26)])
                + Partial::word(u16::from(PROTOCOL_TCP))
                + Partial::word((total - IP) as u16);
            let words = [at(head, 34), at(head, 42), at(head, 50), at(head, 58)];
            let header = checksum::sum_words(&words);
            if !checksum::is_right(pseudo + header + checksum::sum(text)) {
                return None;
            }
        }
        Some(Self {
            to: MacAddr(at(head, 0)),
            from: MacAddr(at(head, 6)),
            src,
            dst,
            src_port: u16::from_be_bytes(at(head, 34)),
            dst_port: u16::from_be_bytes(at(head, 36)),
            seq: u32::from_be_bytes(at(head, 38)),
            ack: u32::from_be_bytes(at(head, 42)),
            flags: Flags(head[47]),
            window: u16::from_be_bytes(at(head, 48)),
            urgent: u16::from_be_bytes(at(head, 52)),
            stamps: Timestamps {
                value: u32::from_be_bytes(at(head, 58)),
                echo: u32::from_be_bytes(at(head, 62)),
            },
            text,
        })
    }
}

impl Usual<'_> {
    /// Writes a frame of this form that has no text, with its checksums. They are counted from the
    /// fields themselves, which is faster than from octets that have only just been written.
    #[inline(always)]
    pub fn write(&self, delivery: Delivery, out: &mut [u8; LEN]) {
        debug_assert!(self.text.is_empty(), "text has a checksum of its own");
        let (src, dst) = (u32::from_be_bytes(self.src), u32::from_be_bytes(self.dst));
        let start = 0x45 << 24 | u32::from(delivery.traffic_class) << 16 | (LEN - ETHERNET) as u32;
        let life = u32::from(delivery.hop_limit) << 24 | u32::from(PROTOCOL_TCP) << 16;
        let addrs = u64::from(src) + u64::from(dst);
        let fixed = u64::from(start) + u64::from(DONT_FRAGMENT) + u64::from(life);
        let check = !checksum::fold(addrs + fixed);
        let ports = u32::from(self.src_port) << 16 | u32::from(self.dst_port);
        let control = 0x80 << 24 | u32::from(self.flags.0) << 16 | u32::from(self.window);
        let kinds = u32::from_be_bytes(STAMPS);
        // RFC 9293 3.1 (MUST-2), CM-9.d.
        let pseudo = addrs + u64::from(PROTOCOL_TCP) + (LEN - ETHERNET - IP) as u64;
        let numbers = u64::from(ports) + u64::from(self.seq) + u64::from(self.ack);
        let others = u64::from(control) + u64::from(self.urgent) + u64::from(kinds);
        let stamps = u64::from(self.stamps.value) + u64::from(self.stamps.echo);
        let sum = !checksum::fold(pseudo + numbers + others + stamps);
        put(out, 0, self.to.0);
        put(out, 6, self.from.0);
        put(out, 12, [0x08, 0x00]);
        put(out, 14, start.to_be_bytes());
        put(out, 18, DONT_FRAGMENT.to_be_bytes());
        put(out, 22, (life | u32::from(check)).to_be_bytes());
        put(out, 26, self.src);
        put(out, 30, self.dst);
        put(out, 34, ports.to_be_bytes());
        put(out, 38, self.seq.to_be_bytes());
        put(out, 42, self.ack.to_be_bytes());
        put(out, 46, control.to_be_bytes());
        put(out, 50, (u32::from(sum) << 16 | u32::from(self.urgent)).to_be_bytes());
        put(out, 54, STAMPS);
        put(out, 58, self.stamps.value.to_be_bytes());
        put(out, 62, self.stamps.echo.to_be_bytes());
    }
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
/// The identification, which is zero, and the bit in the word of the fragment's offset.
const DONT_FRAGMENT: u32 = 0x4000;
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

//! TCP segments as tests see and forge them: frames of IP over Ethernet, without IP options.
//!
//! Owns no rule of TCP; reads fields, and writes them with checksums made anew.

use std::fmt;

use crate::family::{ETHERTYPE, HEADER, Ip, is_tcp, length, seal};

/// Control bits (RFC 9293, 3.1).
pub(crate) const FIN: u8 = 1;
/// See [`FIN`].
pub(crate) const SYN: u8 = 2;
/// See [`FIN`].
pub(crate) const RST: u8 = 4;
/// See [`FIN`].
pub(crate) const ACK: u8 = 16;

/// A TCP segment in its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    frame: Vec<u8>,
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.ports();
        let names = [(SYN, "SYN "), (FIN, "FIN "), (RST, "RST "), (ACK, "ACK ")];
        let flags: String =
            names.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, name)| *name).collect();
        let (seq, ack, window, len) = (self.seq(), self.ack(), self.window(), self.text().len());
        write!(f, "{from} to {to}: {flags}seq {seq} ack {ack} window {window} text {len}")
    }
}

impl Segment {
    /// The segment that `frame` holds.
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        let is_tcp = frame.len() >= TCP + 20 && frame[12..14] == ETHERTYPE && is_tcp(&frame[IP..]);
        if !is_tcp {
            return None;
        }
        // Short frames are padded.
        let end = IP + length(&frame[IP..]);
        Some(Self { frame: frame[..end.min(frame.len())].to_vec() })
    }

    /// The whole frame, with checksums made anew.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut frame = self.frame.clone();
        let addresses = seal(&mut frame[IP..]);
        let len = frame.len() - TCP;
        frame[TCP + 16..TCP + 18].fill(0);
        let sum = checksum(&frame[TCP..], addresses + 6 + len as u32);
        frame[TCP + 16..TCP + 18].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    /// Source and destination port.
    pub(crate) fn ports(&self) -> (u16, u16) {
        let port = |at: usize| u16::from_be_bytes([self.frame[at], self.frame[at + 1]]);
        (port(TCP), port(TCP + 2))
    }

    /// The source address, in its octets.
    pub(crate) fn source(&self) -> &[u8] {
        &self.frame[TCP - 2 * ADDRESS..TCP - ADDRESS]
    }

    /// The destination address, in its octets.
    pub(crate) fn destination(&self) -> &[u8] {
        &self.frame[TCP - ADDRESS..TCP]
    }

    /// Whether one of its ports is `port`.
    pub(crate) fn is_of(&self, port: u16) -> bool {
        self.ports().0 == port || self.ports().1 == port
    }

    /// Whether it has all of `flags`.
    pub(crate) fn has(&self, flags: u8) -> bool {
        self.frame[TCP + 13] & flags == flags
    }

    /// Whether it has none of SYN, FIN and RST, and no text.
    pub(crate) fn is_bare(&self) -> bool {
        self.frame[TCP + 13] & (SYN | FIN | RST) == 0 && self.text().is_empty()
    }

    /// The sequence number.
    pub(crate) fn seq(&self) -> u32 {
        self.word(TCP + 4)
    }

    /// The acknowledgment number.
    pub(crate) fn ack(&self) -> u32 {
        self.word(TCP + 8)
    }

    /// The window field, unscaled.
    pub(crate) fn window(&self) -> u16 {
        u16::from_be_bytes([self.frame[TCP + 14], self.frame[TCP + 15]])
    }

    /// The text.
    pub(crate) fn text(&self) -> &[u8] {
        &self.frame[self.text_at()..]
    }

    /// Another sequence number.
    pub(crate) fn with_seq(mut self, seq: u32) -> Self {
        self.frame[TCP + 4..TCP + 8].copy_from_slice(&seq.to_be_bytes());
        self
    }

    /// Another acknowledgment number.
    pub(crate) fn with_ack(mut self, ack: u32) -> Self {
        self.frame[TCP + 8..TCP + 12].copy_from_slice(&ack.to_be_bytes());
        self
    }

    /// Another source port.
    pub(crate) fn with_source_port(mut self, port: u16) -> Self {
        self.frame[TCP..TCP + 2].copy_from_slice(&port.to_be_bytes());
        self
    }

    /// Other control bits.
    pub(crate) fn with_flags(mut self, flags: u8) -> Self {
        self.frame[TCP + 13] = flags;
        self
    }

    /// Other text.
    pub(crate) fn with_text(mut self, text: &[u8]) -> Self {
        self.frame.truncate(self.text_at());
        self.frame.extend_from_slice(text);
        self
    }

    /// A timestamp `by` older.
    pub(crate) fn with_older_stamp(mut self, by: u32) -> Self {
        let at = self.stamp_at().expect("the connection has timestamps");
        let stamp = self.word(at).wrapping_sub(by);
        self.frame[at..at + 4].copy_from_slice(&stamp.to_be_bytes());
        self
    }

    fn text_at(&self) -> usize {
        TCP + usize::from(self.frame[TCP + 12] >> 4) * 4
    }

    /// Where the timestamp option's value stands.
    fn stamp_at(&self) -> Option<usize> {
        let mut at = TCP + 20;
        while at + 1 < self.text_at() {
            match self.frame[at] {
                0 => return None,
                1 => at += 1,
                8 => return Some(at + 2),
                _ => at += usize::from(self.frame[at + 1]).max(2),
            }
        }
        None
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.frame[at..at + 4].try_into().expect("four bytes"))
    }
}

fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0))).sum()
}

fn checksum(bytes: &[u8], sum: u32) -> u16 {
    let mut sum = words(bytes) + sum;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The length of an address, of which two end the IP header.
const ADDRESS: usize = size_of::<Ip>();
/// Where the IP header begins.
const IP: usize = 14;
/// Where the TCP header begins.
const TCP: usize = IP + HEADER;

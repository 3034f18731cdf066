//! TCP segments (RFC 9293 section 3.1): parsing, emission and the checksum.
//!
//! Owns the fixed header and the flags; options are in `options`. Knows no connection: sequence
//! numbers are plain 32-bit values here.

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Addr;
use super::checksum::{self, Partial};
use crate::counters::DropReason;

mod options;

pub use options::{Options, SackBlocks, Timestamps};

/// A received segment, parsed. Its checksum is not looked at: see [`verify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// SEG.SEQ.
    pub seq: u32,
    /// SEG.ACK; meaningful only with [`Flags::ACK`].
    pub ack: u32,
    /// The control bits.
    pub flags: Flags,
    /// SEG.WND as it stands on the wire, not scaled.
    pub window: u16,
    /// The checksum field.
    pub checksum: u16,
    /// The urgent pointer; meaningful only with [`Flags::URG`].
    pub urgent: u16,
    /// The options that we know.
    pub options: Options,
    /// The data.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Parses a whole TCP segment, as cut out by the IP header's length.
    ///
    /// # Errors
    ///
    /// [`DropReason::DropTcpHeader`] for an impossible data offset, [`DropReason::DropTcpOption`]
    /// for an option with an impossible length.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let (header, options, payload) = split(bytes)?;
        Ok(Self {
            src_port: header.src_port,
            dst_port: header.dst_port,
            seq: header.seq,
            ack: header.ack,
            flags: header.flags,
            window: header.window,
            checksum: header.checksum,
            urgent: header.urgent,
            options: Options::parse(options)?,
            payload,
        })
    }

    /// SEG.LEN: the sequence numbers that the segment takes, SYN and FIN included.
    #[inline]
    pub fn sequence_len(&self) -> u32 {
        let controls =
            u32::from(self.flags.has(Flags::SYN)) + u32::from(self.flags.has(Flags::FIN));
        self.payload.len() as u32 + controls
    }

    /// The fields of the fixed header.
    pub const fn header(&self) -> Header {
        Header {
            src_port: self.src_port,
            dst_port: self.dst_port,
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            checksum: self.checksum,
            urgent: self.urgent,
        }
    }
}

/// The fields of the fixed header, without the data offset, which follows from the options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// SEG.SEQ.
    pub seq: u32,
    /// SEG.ACK, zero without [`Flags::ACK`].
    pub ack: u32,
    /// The control bits.
    pub flags: Flags,
    /// SEG.WND as it stands on the wire, scaled already; unsigned (RFC 9293 3.1: MUST-1).
    pub window: u16,
    /// The checksum field; [`emit`] writes zero in its place.
    pub checksum: u16,
    /// The urgent pointer, zero without [`Flags::URG`].
    pub urgent: u16,
}

impl Header {
    /// Writes the header with its checksum field as given, then `raw_options` as they are. Returns
    /// the header's length in bytes.
    ///
    /// # Panics
    ///
    /// If the options are longer than [`MAX_OPTIONS_LEN`], their length is no multiple of four, or
    /// `buf` is too short.
    pub fn emit(&self, raw_options: &[u8], buf: &mut [u8]) -> usize {
        // CM-11.a: a captured header goes out as it came in, its checksum field too.
        let len = self.emit_fixed(raw_options.len(), buf);
        buf[HEADER_LEN..len].copy_from_slice(raw_options);
        len
    }

    /// Writes the fixed part for options of that many bytes; returns the whole header's length.
    #[inline]
    fn emit_fixed(&self, options_len: usize, buf: &mut [u8]) -> usize {
        assert!(
            options_len <= MAX_OPTIONS_LEN && options_len.is_multiple_of(4),
            "options are whole words and fit the data offset"
        );
        let len = HEADER_LEN + options_len;
        buf[..HEADER_LEN].copy_from_slice(self.fixed(len).as_bytes());
        len
    }

    /// The fixed part of a header of so many bytes.
    #[inline]
    fn fixed(&self, len: usize) -> Fixed {
        Fixed {
            src_port: self.src_port.into(),
            dst_port: self.dst_port.into(),
            seq: self.seq.into(),
            ack: self.ack.into(),
            data_offset: (len as u8 / 4) << 4,
            flags: self.flags.0,
            window: self.window.into(),
            checksum: self.checksum.into(),
            urgent: self.urgent.into(),
        }
    }
}

/// The header's fields, its options as they stand on the wire, and the data.
///
/// # Errors
///
/// [`DropReason::DropTcpHeader`] for a segment shorter than its header, or a data offset below
/// five.
#[inline]
pub fn split(bytes: &[u8]) -> Result<(Header, &[u8], &[u8]), DropReason> {
    let (fixed, rest) = Fixed::ref_from_prefix(bytes).map_err(|_| DropReason::DropTcpHeader)?;
    // RFC 9293 3.1: the data offset counts 32-bit words, the fixed header's five included.
    let options_len = (usize::from(fixed.data_offset >> 4) * 4)
        .checked_sub(HEADER_LEN)
        .ok_or(DropReason::DropTcpHeader)?;
    let (options, payload) = rest.split_at_checked(options_len).ok_or(DropReason::DropTcpHeader)?;
    let header = Header {
        src_port: fixed.src_port.get(),
        dst_port: fixed.dst_port.get(),
        seq: fixed.seq.get(),
        ack: fixed.ack.get(),
        flags: Flags(fixed.flags),
        window: fixed.window.get(),
        checksum: fixed.checksum.get(),
        urgent: fixed.urgent.get(),
    };
    Ok((header, options, payload))
}

/// Writes header and options into the front of `buf`, the checksum zero: [`fill_checksum`] comes
/// after the data is in place. Returns the header's length, [`HEADER_LEN`] + `options.len()`.
///
/// # Panics
///
/// If `buf` is too short.
#[inline]
pub fn emit(header: &Header, options: &Options, buf: &mut [u8]) -> usize {
    let header = Header { checksum: 0, ..*header };
    // RFC 7323 appendix A: what nearly every segment carries, in one piece.
    if let Some(stamps) = options.stamps_alone() {
        let fixed = header.fixed(STAMPED_LEN);
        let whole = Stamped { fixed, stamps: stamps.in_words() };
        buf[..STAMPED_LEN].copy_from_slice(whole.as_bytes());
        return STAMPED_LEN;
    }
    let len = header.emit_fixed(options.len(), buf);
    options.emit(&mut buf[HEADER_LEN..len]);
    len
}

/// Writes a whole segment without data whose only option is timestamps, with its checksum; returns its
/// length.
///
/// # Panics
///
/// If `buf` is too short.
#[inline]
pub fn emit_stamped(
    header: &Header,
    stamps: Timestamps,
    (src, dst): (&Addr, &Addr),
    buf: &mut [u8],
) -> usize {
    let mut whole = Stamped { fixed: header.fixed(STAMPED_LEN), stamps: stamps.in_words() };
    whole.fixed.checksum = 0.into();
    // RFC 9293 3.1 (MUST-2), CM-9.d.
    let sum = checksum::pseudo_header(src, dst, super::PROTOCOL_TCP, STAMPED_LEN)
        + checksum::sum(whole.as_bytes());
    whole.fixed.checksum = checksum::finish(sum).into();
    buf[..STAMPED_LEN].copy_from_slice(whole.as_bytes());
    STAMPED_LEN
}

/// Fills in the checksum of a whole segment whose checksum field is zero. `payload` is the sum of
/// its data, as [`checksum::copy_and_sum`] gave it; only the header is read here.
///
/// RFC 9293 3.1 (MUST-2): the sender generates the checksum.
///
/// # Panics
///
/// If `segment` is shorter than the header it begins with.
#[inline]
pub fn fill_checksum(segment: &mut [u8], src: &Addr, dst: &Addr, payload: Partial) {
    let header_len = usize::from(segment[DATA_OFFSET_AT] >> 4) * 4;
    let header = match segment.first_chunk::<STAMPED_LEN>() {
        // Nearly every header; of known length, it is summed three times as fast.
        Some(header) if header_len == STAMPED_LEN => checksum::sum(header),
        _ => checksum::sum(&segment[..header_len]),
    };
    // CM-9.d: there is no way around it.
    let sum =
        checksum::pseudo_header(src, dst, super::PROTOCOL_TCP, segment.len()) + header + payload;
    segment[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&checksum::finish(sum).to_be_bytes());
}

/// Whether a segment's checksum is right.
///
/// RFC 9293 3.1 (MUST-3): the receiver checks it.
#[inline]
pub fn verify(bytes: &[u8], src: &Addr, dst: &Addr) -> bool {
    let pseudo = checksum::pseudo_header(src, dst, super::PROTOCOL_TCP, bytes.len());
    checksum::finish(pseudo + checksum::sum(bytes)) == 0
}

/// The ports of a segment, source first, read before anything else of it is checked.
#[inline]
pub fn ports(bytes: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = *bytes.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// The control bits of RFC 9293 section 3.1, with those of RFC 3168.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// No control bit.
    pub const NONE: Self = Self(0);
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronizes sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Resets the connection.
    pub const RST: Self = Self(0x04);
    /// Pushes the data to the user.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment field counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);
    /// ECN-Echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// Whether every bit of `other` is set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits of both.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits of `self` without those of `other`.
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = FLAG_NAMES.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| name);
        f.write_str(names.next().unwrap_or(&"NONE"))?;
        names.try_for_each(|name| write!(f, "|{name}"))
    }
}

/// The fixed header as it stands on the wire.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Fixed {
    src_port: U16,
    dst_port: U16,
    seq: U32,
    ack: U32,
    /// In 32-bit words, in the upper four bits; the lower four are reserved and ignored.
    data_offset: u8,
    flags: u8,
    window: U16,
    checksum: U16,
    urgent: U16,
}

/// A header with timestamps and no other option.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Stamped {
    fixed: Fixed,
    stamps: [u8; 12],
}

const STAMPED_LEN: usize = size_of::<Stamped>();
/// The fixed header's length in bytes.
pub const HEADER_LEN: usize = size_of::<Fixed>();
/// The most bytes of options that the data offset can express.
pub const MAX_OPTIONS_LEN: usize = 40;

const DATA_OFFSET_AT: usize = 12;
const CHECKSUM_AT: usize = 16;

const FLAG_NAMES: [(Flags, &str); 8] = [
    (Flags::SYN, "SYN"),
    (Flags::FIN, "FIN"),
    (Flags::RST, "RST"),
    (Flags::PSH, "PSH"),
    (Flags::ACK, "ACK"),
    (Flags::URG, "URG"),
    (Flags::ECE, "ECE"),
    (Flags::CWR, "CWR"),
];

#[cfg(test)]
mod tests;

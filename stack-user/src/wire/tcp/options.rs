//! TCP options: MSS (RFC 9293 3.7.1), window scale and timestamps (RFC 7323), SACK (RFC 2018) and
//! user timeout (RFC 5482).

use crate::counters::DropReason;

use super::MAX_OPTIONS_LEN;

/// The options of one segment that we know.
///
/// Those that belong on a SYN alone are parsed on every segment: whether they count is for the
/// connection to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size, in bytes of payload.
    pub mss: Option<u16>,
    /// The shift count as sent; RFC 7323 section 2.3 has the receiver take 14 for anything above.
    pub window_scale: Option<u8>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// Selective acknowledgments.
    pub sack: SackBlocks,
    /// The user timeout as it stands on the wire: granularity in the top bit (1: minutes,
    /// 0: seconds), then 15 bits of value.
    pub user_timeout: Option<u16>,
}

/// The timestamps option of RFC 7323.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// TSval.
    pub value: u32,
    /// TSecr; meaningful only with ACK.
    pub echo: u32,
}

/// At most four SACK blocks, each (left edge, right edge), in their order on the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SackBlocks {
    /// Blocks at `len` and beyond are zero, so that equality may be derived.
    blocks: [(u32, u32); MAX_SACK_BLOCKS],
    len: u8,
}

impl SackBlocks {
    /// No block.
    pub const NONE: Self = Self { blocks: [(0, 0); MAX_SACK_BLOCKS], len: 0 };

    /// Appends a block; one beyond the fourth is left out.
    #[inline]
    pub fn push(&mut self, left: u32, right: u32) {
        if let Some(block) = self.blocks.get_mut(usize::from(self.len)) {
            *block = (left, right);
            self.len += 1;
        }
    }

    /// The blocks.
    #[inline]
    pub fn as_slice(&self) -> &[(u32, u32)] {
        &self.blocks[..usize::from(self.len)]
    }

    /// How many blocks there are.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl core::fmt::Debug for SackBlocks {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl FromIterator<(u32, u32)> for SackBlocks {
    fn from_iter<I: IntoIterator<Item = (u32, u32)>>(blocks: I) -> Self {
        let mut all = Self::NONE;
        for (left, right) in blocks {
            all.push(left, right);
        }
        all
    }
}

impl Options {
    /// No option at all.
    pub const NONE: Self = Self {
        mss: None,
        window_scale: None,
        sack_permitted: false,
        timestamps: None,
        sack: SackBlocks::NONE,
        user_timeout: None,
    };

    /// Parses the bytes between the fixed header and the data.
    ///
    /// RFC 9293 3.1 and 3.2 (MUST-4, MUST-5, MUST-64): every option may stand in any segment, in
    /// any order and at any alignment.
    ///
    /// # Errors
    ///
    /// [`DropReason::DropTcpOption`] for an impossible length.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        // RFC 7323 appendix A: what nearly every data segment carries.
        if let [NOP, NOP, TIMESTAMPS, 10, stamps @ ..] = bytes
            && let Ok(stamps) = <&[u8; 8]>::try_from(stamps)
        {
            return Ok(Self { timestamps: Some(Timestamps::parse(stamps)), ..Self::NONE });
        }
        let mut options = Self::NONE;
        let mut rest = bytes;
        while let [kind, after @ ..] = rest {
            rest = match *kind {
                EOL => break,
                NOP => after,
                kind => {
                    // RFC 9293 3.1 (MUST-7), CM-4.i: a length below two or beyond the header is
                    // dropped, without harm.
                    let len = usize::from(*after.first().ok_or(DropReason::DropTcpOption)?);
                    let value = rest.get(2..len).ok_or(DropReason::DropTcpOption)?;
                    options.take(kind, value)?;
                    &rest[len..]
                }
            };
        }
        Ok(options)
    }

    /// Takes one option in.
    fn take(&mut self, kind: u8, value: &[u8]) -> Result<(), DropReason> {
        match (kind, value) {
            (MSS, &[a, b]) => self.mss = Some(u16::from_be_bytes([a, b])),
            (WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift),
            (SACK_PERMITTED, []) => self.sack_permitted = true,
            (TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
                self.timestamps = Some(Timestamps::parse(&[a, b, c, d, e, f, g, h]));
            }
            (USER_TIMEOUT, &[a, b]) => self.user_timeout = Some(u16::from_be_bytes([a, b])),
            (SACK, edges) if !edges.is_empty() && edges.len().is_multiple_of(8) => {
                let (blocks, _) = edges.as_chunks::<8>();
                self.sack = blocks.iter().map(split_words).collect();
            }
            (MSS | WINDOW_SCALE | SACK_PERMITTED | TIMESTAMPS | USER_TIMEOUT | SACK, _) => {
                return Err(DropReason::DropTcpOption);
            }
            // RFC 9293 3.1 (MUST-6), CM-4.h: an option that we do not know is passed over.
            _ => {}
        }
        Ok(())
    }

    /// The bytes that [`Options::emit`] writes: a multiple of four, at most 40.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len_without_sack() + sack_len(self.sack_fitting())
    }

    /// Whether nothing is to be written.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of the SACK blocks find room beside the other options.
    const fn sack_fitting(&self) -> usize {
        let room = MAX_OPTIONS_LEN - self.len_without_sack();
        let fitting = room.saturating_sub(4) / 8;
        if fitting < self.sack.len() { fitting } else { self.sack.len() }
    }

    const fn len_without_sack(&self) -> usize {
        let stamps = if self.timestamps.is_some() {
            12
        } else if self.sack_permitted {
            4
        } else {
            0
        };
        let words = self.mss.is_some() as usize
            + self.window_scale.is_some() as usize
            + self.user_timeout.is_some() as usize;
        stamps + 4 * words
    }

    /// The timestamps, where there is nothing else.
    #[inline]
    pub(super) fn stamps_alone(&self) -> Option<Timestamps> {
        let is_alone = self.sack.is_empty()
            && self.mss.is_none()
            && self.window_scale.is_none()
            && !self.sack_permitted
            && self.user_timeout.is_none();
        self.timestamps.filter(|_| is_alone)
    }

    /// Writes the options into the front of `buf` and returns their length, [`Options::len`]. The
    /// order is Linux's: MSS, SACK permitted with timestamps, window scale, SACK, user timeout.
    /// SACK blocks that find no room in 40 bytes are left out, the last ones first.
    ///
    /// # Panics
    ///
    /// If `buf` is too short.
    #[inline]
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        // RFC 9293 3.1 (MUST-68, MUST-69), CM-4.j: each has its length, no-operations fill up whole
        // words, and no end of list leaves anything behind it.
        let mut out = Writer { buf, at: 0 };
        if let Some(mss) = self.mss {
            let [a, b] = mss.to_be_bytes();
            out.word([MSS, 4, a, b]);
        }
        match (self.timestamps, self.sack_permitted) {
            (Some(stamps), permitted) => {
                let [a, b] = if permitted { [SACK_PERMITTED, 2] } else { [NOP, NOP] };
                out.word([a, b, TIMESTAMPS, 10]);
                out.word(stamps.value.to_be_bytes());
                out.word(stamps.echo.to_be_bytes());
            }
            (None, true) => out.word([NOP, NOP, SACK_PERMITTED, 2]),
            (None, false) => {}
        }
        if let Some(shift) = self.window_scale {
            out.word([NOP, WINDOW_SCALE, 3, shift]);
        }
        let fitting = self.sack_fitting();
        if fitting > 0 {
            out.word([NOP, NOP, SACK, 2 + 8 * fitting as u8]);
            for (left, right) in &self.sack.as_slice()[..fitting] {
                out.word(left.to_be_bytes());
                out.word(right.to_be_bytes());
            }
        }
        if let Some(timeout) = self.user_timeout {
            let [a, b] = timeout.to_be_bytes();
            out.word([USER_TIMEOUT, 4, a, b]);
        }
        out.at
    }
}

impl Timestamps {
    #[inline]
    fn parse(bytes: &[u8; 8]) -> Self {
        let (value, echo) = split_words(bytes);
        Self { value, echo }
    }

    /// The option behind two no-operations, so that its values lie at whole words.
    #[inline]
    pub(super) const fn in_words(self) -> [u8; 12] {
        let [a, b, c, d] = self.value.to_be_bytes();
        let [e, f, g, h] = self.echo.to_be_bytes();
        [NOP, NOP, TIMESTAMPS, 10, a, b, c, d, e, f, g, h]
    }
}

/// Writes whole words one after the other.
struct Writer<'a> {
    buf: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    #[inline]
    fn word(&mut self, word: [u8; 4]) {
        self.buf[self.at..self.at + 4].copy_from_slice(&word);
        self.at += 4;
    }
}

/// Two words in network order.
#[inline]
fn split_words(bytes: &[u8; 8]) -> (u32, u32) {
    let both = u64::from_be_bytes(*bytes);
    ((both >> 32) as u32, both as u32)
}

/// The length of a SACK option with its two NOPs.
const fn sack_len(blocks: usize) -> usize {
    if blocks == 0 { 0 } else { 4 + 8 * blocks }
}

const MAX_SACK_BLOCKS: usize = 4;

const EOL: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const USER_TIMEOUT: u8 = 28;

//! An arriving segment, as the state machine sees it.

use super::SeqNum;
use crate::wire::tcp::{Flags, Options, Packet};

/// A segment with its SEG variables (RFC 9293, section 3.3.1).
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK, of use only with the ACK bit.
    pub ack: SeqNum,
    /// The control bits.
    pub flags: Flags,
    /// SEG.WND as it stands in the header, not scaled.
    pub window: u16,
    /// SEG.UP, of use only with the URG bit.
    pub urgent: u16,
    /// The options.
    pub options: Options,
    /// The text.
    pub text: &'a [u8],
}

impl<'a> From<Packet<'a>> for Segment<'a> {
    fn from(packet: Packet<'a>) -> Self {
        Self {
            seq: SeqNum(packet.seq),
            ack: SeqNum(packet.ack),
            flags: packet.flags,
            window: packet.window,
            urgent: packet.urgent,
            options: packet.options,
            text: packet.payload,
        }
    }
}

impl Segment<'_> {
    /// Whether all of `flags` are set.
    pub fn has(&self, flags: Flags) -> bool {
        self.flags.contains(flags)
    }

    /// SEG.LEN: octets of text, counting SYN and FIN.
    #[expect(clippy::len_without_is_empty, reason = "SEG.LEN, not a container")]
    pub fn len(&self) -> u32 {
        let controls = u32::from(self.has(Flags::SYN)) + u32::from(self.has(Flags::FIN));
        self.text.len() as u32 + controls
    }

    /// The number after the last that the segment occupies.
    pub fn end(&self) -> SeqNum {
        self.seq + self.len()
    }

    /// The segment without its SYN: what follows it in sequence space.
    pub(crate) fn after_syn(&self) -> Self {
        Self { seq: self.seq + 1, flags: self.flags.without(Flags::SYN), ..self.clone() }
    }
}

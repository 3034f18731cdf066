//! How a connection lies in memory.

use core::mem::offset_of;

use super::Tcb;
use super::tcb::{ReceiveSpace, SendSpace};

/// An octet that has but one value: by its others a table tells that there is no connection, and so reads
/// no line for it that a usual segment does not touch.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Here {
    Here,
}

impl Tcb {
    /// Reads a word of each cache line that a usual segment needs, so that they are there when it is
    /// handled; what comes back is of no use. The words are 64 octets from each other at most. What
    /// lies behind them is for acknowledgments of text.
    #[inline]
    pub fn touch(&self) -> u64 {
        let round = self.rtt.smoothed_micros().unwrap_or(0);
        let lines = [self.tuple.local_port.into(), self.rcv.text_at, self.snd.max_wnd, round];
        lines.into_iter().map(u64::from).sum()
    }
}

// What a usual segment touches comes first. It is 232 octets with what the shard keeps before it, which
// lie in four or five lines, wherever the connection begins.
const _: () = assert!(offset_of!(Tcb, rtt) <= 204 && size_of::<Tcb>() <= 344);
const _: () = assert!(PLACES[0] + 64 >= PLACES[1] && PLACES[1] + 64 >= PLACES[2]);
const _: () = assert!(PLACES[2] + 64 >= PLACES[3]);
/// Where the words lie that [`Tcb::touch`] reads.
const PLACES: [usize; 4] = [
    offset_of!(Tcb, tuple) + 32,
    offset_of!(Tcb, rcv) + offset_of!(ReceiveSpace, text_at),
    offset_of!(Tcb, snd) + offset_of!(SendSpace, max_wnd),
    offset_of!(Tcb, rtt),
];

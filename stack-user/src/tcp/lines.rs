//! How a connection lies in memory.

use super::Tcb;

impl Tcb {
    /// Reads a word of each cache line that an in-order segment needs, so that they are there when it is
    /// handled; what comes back is of no use. What lies behind them is for acknowledgments of text.
    #[inline]
    pub fn touch(&self) -> u64 {
        let lines = [
            self.tuple.local_port.into(),
            self.rcv.nxt.0,
            self.snd.una.0,
            self.ack_at,
            self.rtt.unanswered().into(),
        ];
        lines.into_iter().map(u64::from).sum()
    }
}

// What an in-order segment touches comes first, in two lines.
const _: () = assert!(core::mem::offset_of!(Tcb, snd) <= 128 && size_of::<Tcb>() <= 344);

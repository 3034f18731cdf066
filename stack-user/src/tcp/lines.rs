//! How a connection lies in memory.

use super::Tcb;

impl Tcb {
    /// Reads a word of each of its cache lines, so that they are there when a segment is handled; what
    /// comes back is of no use.
    #[inline]
    pub fn touch(&self) -> u64 {
        let lines = [
            self.tuple.local_port.into(),
            self.rcv.nxt.0,
            self.snd.una.0,
            self.timers.silent_since,
            self.cc.window().cwnd(),
            self.ack_at,
        ];
        lines.into_iter().map(u64::from).sum()
    }
}

// What an in-order segment touches comes first, in two lines.
const _: () = assert!(core::mem::offset_of!(Tcb, snd) <= 128 && size_of::<Tcb>() <= 344);

//! The states of a connection (RFC 9293, section 3.3.2) and the changes between them.

/// A connection's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// No connection.
    #[default]
    Closed,
    /// Waiting for a SYN from any peer.
    Listen,
    /// SYN sent, the peer's SYN awaited.
    SynSent,
    /// SYN sent and received, the acknowledgment of ours awaited.
    SynReceived,
    /// Open.
    Established,
    /// We closed first; our FIN is not yet acknowledged.
    FinWait1,
    /// We closed first; our FIN is acknowledged, the peer's is awaited.
    FinWait2,
    /// The peer closed first; our user has not closed.
    CloseWait,
    /// Both closed at once; our FIN is not yet acknowledged.
    Closing,
    /// The peer closed first; our FIN is not yet acknowledged.
    LastAck,
    /// Both are closed; old segments drain from the network.
    TimeWait,
}

impl State {
    /// Every state, in the order of its number.
    pub const ALL: [Self; 11] = [
        Self::Closed,
        Self::Listen,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
    ];

    /// The RFC's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
        }
    }

    /// Whether both sides know each other's sequence numbers (RFC 9293, section 3.5.2).
    pub const fn is_synchronized(self) -> bool {
        !matches!(self, Self::Closed | Self::Listen | Self::SynSent | Self::SynReceived)
    }

    /// Whether the peer may still send text that our user has not had.
    pub const fn is_receiving(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }

    /// Whether our user may still queue text.
    pub const fn is_sending(self) -> bool {
        matches!(self, Self::Established | Self::CloseWait)
    }

    /// Whether RFC 9293, figure 5 (with its notes) has an arrow from `self` to `next`. Every state
    /// may end in CLOSED: by RST, abort or timeout.
    pub const fn can_become(self, next: Self) -> bool {
        // CM-1.a.
        use State::*;
        matches!(
            (self, next),
            (_, Closed)
                | (Closed, Listen | SynSent | SynReceived)
                | (Listen, SynSent | SynReceived)
                | (SynSent, SynReceived | Established)
                | (SynReceived, Listen | Established | FinWait1)
                | (Established, FinWait1 | CloseWait)
                | (FinWait1, FinWait2 | Closing | TimeWait)
                | (FinWait2, TimeWait)
                | (CloseWait, LastAck)
                | (Closing, TimeWait)
        )
    }
}

/// What made a connection change its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A user's OPEN.
    Open,
    /// A user's CLOSE.
    Close,
    /// A user's ABORT.
    Abort,
    /// A SYN arrived.
    Syn,
    /// An acknowledgment arrived.
    Ack,
    /// A FIN arrived.
    Fin,
    /// A RST arrived.
    Reset,
    /// A timer gave up.
    Timeout,
}

/// How many connections are in each state; the counts of LISTEN, and of the half-open and TIME-WAIT
/// records, come from their tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census([u32; State::ALL.len()]);

impl Census {
    /// Moves one connection from `from` to `to`.
    pub(crate) fn transfer(&mut self, from: State, to: State) {
        self.0[from as usize] = self.0[from as usize].wrapping_sub(1);
        self.0[to as usize] = self.0[to as usize].wrapping_add(1);
    }

    /// How many are in `state`. CLOSED is not counted.
    pub fn of(&self, state: State) -> u32 {
        if state == State::Closed { 0 } else { self.0[state as usize] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_every_state_at_its_own_index() {
        for (index, state) in State::ALL.iter().enumerate() {
            assert_eq!(*state as usize, index);
        }
    }

    #[test]
    fn time_wait_ends_only_in_closed() {
        for next in State::ALL {
            assert_eq!(State::TimeWait.can_become(next), next == State::Closed);
        }
    }
}

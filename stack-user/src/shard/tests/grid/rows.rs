//! The rows of the grid: each state, and how the shard is led into it.

use super::rig::{ACK, FIN, Rig};

/// A state, told apart from others of its name by what holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    Closed,
    Listen,
    SynSent,
    /// A passive open: a record.
    HalfOpen,
    /// A simultaneous open: a TCB.
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    /// A record.
    TimeWait,
}

impl Row {
    pub(super) const ALL: [Self; 12] = [
        Self::Closed,
        Self::Listen,
        Self::SynSent,
        Self::HalfOpen,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::HalfOpen => "SYN-RECEIVED (record)",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT (record)",
        }
    }

    /// Whether our port listens: every connection but those that we open ourselves is a passive one.
    pub(super) fn listens(self) -> bool {
        !matches!(self, Self::Closed | Self::SynSent | Self::SynReceived)
    }

    /// Whether the user may queue text that goes out at once.
    pub(super) fn sends(self) -> bool {
        matches!(self, Self::Established | Self::CloseWait)
    }

    /// Whether something of ours is out and not acknowledged.
    pub(super) fn is_waiting(self) -> bool {
        let syn = matches!(self, Self::SynSent | Self::HalfOpen | Self::SynReceived);
        syn || matches!(self, Self::FinWait1 | Self::Closing | Self::LastAck)
    }

    /// Whether it may stay as it is for ever.
    pub(super) fn is_idle(self) -> bool {
        matches!(self, Self::Established | Self::FinWait2 | Self::CloseWait)
    }

    /// Whether the peer may send text.
    pub(super) fn receives(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }

    /// Leads a fresh shard into the state.
    pub(super) fn enter(self, rig: &mut Rig) {
        match self {
            Self::Closed | Self::Listen => {}
            Self::SynSent => rig.open(),
            Self::SynReceived => {
                rig.open();
                rig.arrive(rig.syn());
                rig.rcv = 1;
            }
            Self::HalfOpen => {
                rig.arrive(rig.syn());
                rig.rcv = 1;
                rig.nxt = 1;
            }
            Self::Established => {
                Self::HalfOpen.enter(rig);
                rig.arrive(rig.segment(ACK));
                rig.una = 1;
            }
            Self::FinWait1 => {
                Self::Established.enter(rig);
                rig.close();
                rig.nxt = 2;
            }
            Self::FinWait2 => {
                Self::FinWait1.enter(rig);
                rig.arrive(rig.segment(ACK));
                rig.una = 2;
            }
            Self::CloseWait => {
                Self::Established.enter(rig);
                rig.arrive(rig.segment(ACK | FIN));
                rig.rcv = 2;
            }
            Self::Closing => {
                Self::FinWait1.enter(rig);
                rig.arrive(rig.holding(ACK | FIN));
                rig.rcv = 2;
            }
            Self::LastAck => {
                Self::CloseWait.enter(rig);
                rig.close();
                rig.nxt = 2;
            }
            Self::TimeWait => {
                Self::FinWait2.enter(rig);
                rig.arrive(rig.segment(ACK | FIN));
                rig.rcv = 2;
            }
        }
    }
}

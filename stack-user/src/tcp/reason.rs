//! Why connections end, and which errors of the network say that they must.

use crate::wire::icmp::Error;

/// Why a connection ended, as its user is told (RFC 9293 3.6: MUST-12, CM-2.f).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Both sides sent FIN and both were acknowledged.
    Closed,
    /// We aborted it (RFC 9293, 3.10.5), or it was closed with text unread or still coming.
    Aborted,
    /// The peer sent RST.
    Reset,
    /// The peer answered our SYN with RST.
    Refused,
    /// The peer stopped answering (RFC 9293, 3.8.3: R2; the user timeout; keepalive).
    TimedOut,
    /// The network says that the peer cannot be reached: at once where an open is under way, and
    /// instead of `TimedOut` where the peer stopped answering.
    Unreachable(Unreachable),
    /// A table or a pool of ours was full.
    NoResources,
    /// The time to linger passed before the peer had acknowledged everything; the connection goes
    /// on in background.
    Lingering,
}

/// What cannot be reached, or why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// No route leads there, or the next hop does not answer.
    NextHop,
    /// The network (codes 0, 6 and 11 of ICMP's destination unreachable).
    Network,
    /// The host (codes 1, 7, 8 and 12).
    Host,
    /// The host does not speak TCP (code 2).
    Protocol,
    /// Nobody is at the port (code 3).
    Port,
    /// The source route failed (code 5).
    SourceRoute,
    /// A filter forbids it (codes 9, 10, 13, 14 and 15).
    Prohibited,
    /// Packets live too short, or their fragments never were complete (ICMP time exceeded).
    TimeExceeded,
    /// A header was not understood (ICMP parameter problem).
    ParameterProblem,
}

/// Something is wrong with a connection that goes on (RFC 9293, 3.9.1.8: ERROR_REPORT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The network reports an error that may pass.
    Unreachable(Unreachable),
    /// What was sent has gone again several times, and nothing comes back.
    Unanswered,
}

/// Whether an ICMP error may pass by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It may: what the peer says decides.
    Soft,
    /// It will not: an open that is under way fails.
    Hard,
}

impl Unreachable {
    /// What an ICMP error says, and how bad it is; `None` for what is no statement about the peer.
    pub fn of(error: Error) -> Option<(Self, Severity)> {
        use Severity::{Hard, Soft};
        Some(match error {
            // RFC 9293 3.9.2.2: codes 0, 1 and 5 are soft, 2 and 3 hard. It leaves open those of
            // RFC 1122: as on Linux, what depends on the type of service may pass.
            Error::DestinationUnreachable { code } => match code {
                0 | 11 => (Self::Network, Soft),
                1 | 12 => (Self::Host, Soft),
                2 => (Self::Protocol, Hard),
                3 => (Self::Port, Hard),
                5 => (Self::SourceRoute, Soft),
                6 => (Self::Network, Hard),
                7 | 8 => (Self::Host, Hard),
                9 | 10 | 13..=15 => (Self::Prohibited, Hard),
                _ => return None,
            },
            Error::TimeExceeded { .. } => (Self::TimeExceeded, Soft),
            Error::ParameterProblem { .. } => (Self::ParameterProblem, Soft),
            // RFC 9293 3.9.2.2 (MUST-55): source quench is ignored. The path's MTU is `mtu`'s.
            Error::SourceQuench | Error::FragmentationNeeded { .. } => return None,
        })
    }
}

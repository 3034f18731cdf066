//! TCP: what RFC 9293 says of one connection, without IO, clock or tables.
#![forbid(unsafe_code)]

/// Why a connection ended, as its user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Both sides sent FIN and both were acknowledged.
    Closed,
    /// We aborted it (RFC 9293, 3.10.5).
    Aborted,
    /// The peer sent RST.
    Reset,
    /// The peer answered our SYN with RST.
    Refused,
    /// The peer stopped answering (RFC 9293, 3.8.3: R2).
    TimedOut,
    /// The next hop or the host cannot be reached.
    Unreachable,
    /// A table or a pool of ours was full.
    NoResources,
}

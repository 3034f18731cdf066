//! A socket: what a descriptor stands for, what was set on it, and how it looks now.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use super::Errno;
use crate::service::Connection;
use crate::shard::ConnId;
use crate::tables::listeners::ListenerId;
use crate::tcp::{CloseReason, Info, State, Unreachable};
use crate::wire::Addr;

/// A TCP socket.
pub(super) struct Socket {
    /// Its descriptor: an eventfd of which nothing is ever read.
    pub fd: OwnedFd,
    /// The word of its connection ([`Connection::user`]).
    pub word: u64,
    /// Whether addresses are of AF_INET6, IPv4 in its mapped form.
    pub is_v6: bool,
    pub is_nonblocking: bool,
    pub role: Role,
    /// What it is bound to; no address for the wildcard.
    pub bound: Option<(Option<Addr>, u16)>,
    /// The name of its connection.
    pub peer: Option<(Addr, u16)>,
    /// SO_ERROR.
    pub error: Option<Errno>,
    /// `shutdown` of reading, here or by the peer's FIN or the end.
    pub is_read_shut: bool,
    /// `shutdown` of writing.
    pub is_write_shut: bool,
    /// The peer's FIN has come: reading ends with 0.
    pub is_done: bool,
    /// A `connect` that ended well has been reported.
    pub is_told: bool,
    pub view: View,
    pub set: Set,
    /// Counts what a reader may wait for, for edge-triggered waits.
    pub reads: u64,
    /// Counts what a writer may wait for.
    pub writes: u64,
    /// The peer's urgent byte, which a read passes over (unless SO_OOBINLINE is set).
    pub urgent: Urgent,
    /// The last `send` took less than it was given: room has to be announced.
    pub is_short: bool,
}

/// What a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Neither connected nor listening.
    Fresh,
    Listening(ListenerId),
    Connection {
        id: ConnId,
        phase: Phase,
    },
}

/// What is known of the urgent byte: the last one that the peer marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgent {
    /// There is none, or it has been given.
    None,
    /// It is in the stream, or still to come.
    Ahead,
    /// A read has passed it.
    Passed(u8),
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// SYN sent.
    Connecting,
    Open,
    /// It ended; only unread text may be left.
    Over,
}

/// What `setsockopt` set, for connections still to come and for `getsockopt`.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    pub reuse_addr: bool,
    pub reuse_port: bool,
    pub keepalive: bool,
    /// Seconds.
    pub keep_idle: Option<i32>,
    pub keep_interval: Option<i32>,
    pub keep_count: Option<i32>,
    /// SO_LINGER: seconds where it is on; the seconds are kept while it is off.
    pub linger: (bool, i32),
    /// As Linux shows it: twice what was set.
    pub receive_buffer: Option<u32>,
    pub send_buffer: Option<u32>,
    pub nodelay: bool,
    pub cork: bool,
    pub is_quick: Option<bool>,
    pub max_segment: Option<u16>,
    /// Milliseconds.
    pub user_timeout: u32,
    pub syn_count: Option<u8>,
    pub linger2: Option<i32>,
    pub defer_accept: i32,
    pub window_clamp: u32,
    pub notsent_lowat: u32,
    pub receive_lowat: i32,
    pub oob_inline: bool,
    /// Milliseconds.
    pub receive_timeout: Option<u64>,
    pub send_timeout: Option<u64>,
    pub inq: bool,
    pub congestion: Option<&'static str>,
    /// IP_TOS.
    pub traffic_class: u8,
    /// IP_TTL.
    pub hop_limit: Option<u8>,
    /// Options that change nothing that a script could see, and their values.
    pub plain: Vec<((i32, i32), i32)>,
}

/// What a call sees of a socket without touching it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    pub info: Info,
    /// Octets that `read` would give.
    pub unread: usize,
    /// Octets that `send` would take.
    pub room: usize,
    /// Octets queued and not acknowledged, sent or not.
    pub queued_out: usize,
    /// Octets of these that were never sent.
    pub unsent: usize,
    /// Urgent data ahead of the reader, at this distance in octets.
    pub urgent: Option<u32>,
    /// Connections that wait for `accept`.
    pub queued: usize,
}

impl View {
    pub(super) fn of(conn: &dyn Connection) -> Self {
        Self {
            info: conn.info(),
            unread: conn.unread(),
            room: conn.send_room(),
            queued_out: conn.unacknowledged(),
            unsent: conn.unsent(),
            urgent: conn.urgent_ahead(),
            queued: 0,
        }
    }

    /// The connection's state.
    pub(super) fn state(&self) -> State {
        self.info.state
    }
}

impl Socket {
    pub(super) fn new(fd: OwnedFd, word: u64, is_v6: bool, is_nonblocking: bool) -> Self {
        Self {
            fd,
            word,
            is_v6,
            is_nonblocking,
            role: Role::Fresh,
            bound: None,
            peer: None,
            error: None,
            is_read_shut: false,
            is_write_shut: false,
            is_done: false,
            is_told: false,
            view: View::default(),
            set: Set::default(),
            reads: 0,
            writes: 0,
            urgent: Urgent::None,
            is_short: false,
        }
    }

    pub(super) fn on_opened(&mut self) {
        if let Role::Connection { phase, .. } = &mut self.role {
            *phase = Phase::Open;
            self.writes += 1;
        }
    }

    pub(super) fn on_urgent(&mut self) {
        self.urgent = Urgent::Ahead;
        self.reads += 1;
    }

    pub(super) fn on_closed(&mut self, reason: CloseReason) {
        let Role::Connection { phase, .. } = &mut self.role else { return };
        let before = *phase;
        *phase = Phase::Over;
        let errno = match reason {
            CloseReason::Closed | CloseReason::Aborted | CloseReason::Lingering => None,
            CloseReason::Reset if self.view.state() == State::CloseWait => Some(libc::EPIPE),
            CloseReason::Reset if before == Phase::Connecting => Some(libc::ECONNREFUSED),
            CloseReason::Reset => Some(libc::ECONNRESET),
            CloseReason::Refused => Some(libc::ECONNREFUSED),
            CloseReason::TimedOut => Some(libc::ETIMEDOUT),
            CloseReason::Unreachable(what) => Some(unreachable(what)),
            CloseReason::NoResources => Some(libc::ENOBUFS),
        };
        self.error = errno.map(Errno).or(self.error);
        (self.is_read_shut, self.is_write_shut) = (true, true);
        self.is_done |= reason == CloseReason::Closed;
        self.reads += 1;
        self.writes += 1;
    }

    /// Takes a new look, and counts what waits may be for.
    pub(super) fn on_view(&mut self, view: View) {
        let old = core::mem::replace(&mut self.view, view);
        let state = view.state();
        let has_fin =
            matches!(state, State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
        if has_fin && !self.is_done && matches!(self.role, Role::Connection { .. }) {
            (self.is_done, self.is_read_shut) = (true, true);
            self.reads += 1;
        }
        if view.info.bytes_received > old.info.bytes_received || view.queued > old.queued {
            self.reads += 1;
        }
        if self.is_short && self.has_room() {
            self.is_short = false;
            self.writes += 1;
        }
    }

    /// Whether a writer would be told that there is room.
    pub(super) fn has_room(&self) -> bool {
        // Linux wakes a writer once a third of the buffer is free.
        let lowat = match self.set.notsent_lowat {
            0 => true,
            lowat => self.view.info.notsent < lowat,
        };
        lowat && self.view.room > 0 && self.view.room * 2 >= self.view.queued_out
    }

    /// The connection, unless there is none or it is over.
    pub(super) fn conn(&self) -> Option<ConnId> {
        match self.role {
            Role::Connection { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Takes SO_ERROR.
    pub(super) fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    /// An address as this socket's family writes it.
    pub(super) fn shown(&self, (addr, port): (Addr, u16)) -> SocketAddr {
        match (self.is_v6, addr.as_v4()) {
            (false, Some(v4)) => (v4, port).into(),
            (false, None) => (Ipv4Addr::UNSPECIFIED, port).into(),
            (true, _) => (Ipv6Addr::from(addr.0), port).into(),
        }
    }
}

/// What Linux says for an ICMP error.
fn unreachable(what: Unreachable) -> i32 {
    match what {
        Unreachable::Network => libc::ENETUNREACH,
        Unreachable::Protocol => libc::ENOPROTOOPT,
        Unreachable::Port => libc::ECONNREFUSED,
        Unreachable::SourceRoute => libc::EOPNOTSUPP,
        Unreachable::ParameterProblem => libc::EPROTO,
        Unreachable::NextHop
        | Unreachable::Host
        | Unreachable::Prohibited
        | Unreachable::TimeExceeded => libc::EHOSTUNREACH,
    }
}

//! What the clients of all shards count, and how a connection may end.
//!
//! Every value has many writers and stands for itself: no order between two of them is promised.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::tcp::CloseReason;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    /// As the task says.
    Done,
    /// Bytes came that are not the pattern's.
    Wrong,
    /// It closed in order, but with fewer or more bytes than the task says.
    Short,
    /// Nobody had told it to close: both FINs where RST was the task.
    Closed,
    /// We gave it up ourselves.
    Aborted,
    /// The peer reset it.
    Reset,
    /// The peer refused it.
    Refused,
    /// The peer did not answer.
    TimedOut,
    /// Our close waited for the peer's acknowledgment as long as it was told to, in vain.
    Lingering,
    /// The network said that the peer cannot be reached.
    Unreachable,
    /// No port, table entry or buffer was left here.
    NoResources,
}

impl Outcome {
    /// Every outcome, in the order of its index.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::Wrong,
        Self::Short,
        Self::Closed,
        Self::Aborted,
        Self::Reset,
        Self::Refused,
        Self::TimedOut,
        Self::Lingering,
        Self::Unreachable,
        Self::NoResources,
    ];

    /// Its name in `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Wrong => "wrong",
            Self::Short => "short",
            Self::Closed => "closed",
            Self::Aborted => "aborted",
            Self::Reset => "reset",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Lingering => "lingering",
            Self::Unreachable => "unreachable",
            Self::NoResources => "no_resources",
        }
    }
}

impl From<CloseReason> for Outcome {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Closed => Self::Closed,
            CloseReason::Aborted => Self::Aborted,
            CloseReason::Reset => Self::Reset,
            CloseReason::Refused => Self::Refused,
            CloseReason::TimedOut => Self::TimedOut,
            CloseReason::Lingering => Self::Lingering,
            CloseReason::Unreachable(_) => Self::Unreachable,
            CloseReason::NoResources => Self::NoResources,
        }
    }
}

/// What the clients of all shards count, for the thread that opens their connections.
#[derive(Debug, Default)]
pub struct Tally {
    opened: AtomicU64,
    open_failed: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    /// Requests that were answered in full.
    answered: AtomicU64,
    ended: [AtomicU64; Outcome::ALL.len()],
    /// Connections that clients have set out to open, and how many they may.
    asked: AtomicU64,
    allowed: AtomicU64,
    is_started: AtomicBool,
    is_over: AtomicBool,
}

/// What a client tells its [`Tally`].
#[derive(Clone, Copy)]
pub(super) enum Event {
    Opened,
    OpenFailed,
    BytesSent,
    BytesReceived,
    Answered,
    Ended(Outcome),
}

impl Tally {
    pub(super) fn add(&self, event: Event, n: u64) {
        let value = match event {
            Event::Opened => &self.opened,
            Event::OpenFailed => &self.open_failed,
            Event::BytesSent => &self.bytes_sent,
            Event::BytesReceived => &self.bytes_received,
            Event::Answered => &self.answered,
            Event::Ended(outcome) => &self.ended[outcome as usize],
        };
        value.fetch_add(n, Ordering::Relaxed);
    }

    /// Lets connections that gather begin.
    pub fn start(&self) {
        self.is_started.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_started(&self) -> bool {
        self.is_started.load(Ordering::Relaxed)
    }

    /// Lets clients open connections until they have opened `allowed`; whether that is more than
    /// before.
    pub fn allow(&self, allowed: u64) -> bool {
        self.allowed.swap(allowed, Ordering::Relaxed) < allowed
    }

    /// Takes leave to open a connection.
    pub(super) fn ask(&self) -> bool {
        let allowed = self.allowed.load(Ordering::Relaxed);
        let step = |asked| (asked < allowed).then_some(asked + 1);
        self.asked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).is_ok()
    }

    /// Connections that clients have set out to open.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The time is over: no connection is opened any more, and those that there are end with what they
    /// are at.
    pub fn end(&self) {
        self.allowed.store(0, Ordering::Relaxed);
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Requests that were answered in full.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Connections that reached ESTABLISHED.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Connections that ended before they reached ESTABLISHED.
    pub fn open_failed(&self) -> u64 {
        self.open_failed.load(Ordering::Relaxed)
    }

    /// Connections that ended as `outcome` says.
    pub fn ended_as(&self, outcome: Outcome) -> u64 {
        self.ended[outcome as usize].load(Ordering::Relaxed)
    }

    /// Connections that ended, opens that failed included.
    pub fn ended(&self) -> u64 {
        Outcome::ALL.iter().map(|outcome| self.ended_as(*outcome)).sum()
    }

    /// Bytes given to connections and taken from them.
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes_sent.load(Ordering::Relaxed), self.bytes_received.load(Ordering::Relaxed))
    }
}

//! Answers that need no connection: RST, ACKs of records, SYN-ACKs, ARP, neighbour discovery, ICMP.
//!
//! They wait in a bounded queue for a frame; one too many is dropped and counted.

use super::inner::Core;
use crate::counters::Counter;
use crate::tcp::pool::Chain;
use crate::tcp::{Bare, Segment, on_closed};
use crate::time::Instant;
use crate::wire::icmp::Answer;
use crate::wire::tcp::Flags;
use crate::wire::{Addr, FourTuple, MacAddr, arp, ndp};

/// An answer that waits for a frame.
#[derive(Debug)]
pub(super) struct Reply {
    /// Where it goes on the link.
    pub mac: MacAddr,
    pub body: Body,
}

/// What an answer is.
#[derive(Debug)]
pub(super) enum Body {
    Segment {
        tuple: FourTuple,
        bare: Bare,
    },
    Arp(arp::Packet),
    Discovery {
        local: Addr,
        remote: Addr,
        message: ndp::Message,
    },
    /// With what comes back of what is answered.
    Icmp {
        local: Addr,
        remote: Addr,
        answer: Answer,
        back: Chain,
    },
}

/// How many of something were sent in this second.
#[derive(Debug, Default)]
pub(super) struct Budget {
    second: u64,
    sent: u32,
}

impl Budget {
    /// Whether one more may go, of at most so many a second.
    pub(super) fn take(&mut self, most: u32, now: Instant) -> bool {
        let second = now.as_millis() / 1000;
        if self.second != second {
            *self = Self { second, sent: 0 };
        }
        let may = self.sent < most;
        self.sent += u32::from(may);
        may
    }
}

impl Core {
    /// Queues an answer.
    pub(super) fn reply(&mut self, mac: MacAddr, body: Body) {
        if self.replies.len() < self.config.limits.replies {
            self.replies.push_back(Reply { mac, body });
            return;
        }
        self.counters.count(Counter::RepliesDropped);
        if let Body::Icmp { mut back, .. } = body {
            back.clear(&mut self.pool);
        }
    }

    /// Queues an answer by ICMP, with a copy of what comes back, and counts it.
    pub(super) fn reply_icmp(
        &mut self,
        mac: MacAddr,
        (local, remote): (Addr, Addr),
        (answer, counter): (Answer, Counter),
        what: &[u8],
    ) {
        if !self.pool.has_room_to_receive() {
            return self.counters.count(Counter::PoolExhausted);
        }
        let mut back = Chain::default();
        back.append(&mut self.pool, what);
        self.counters.count(counter);
        self.reply(mac, Body::Icmp { local, remote, answer, back });
    }

    /// Queues a segment without a connection.
    pub(super) fn reply_bare(&mut self, mac: MacAddr, tuple: FourTuple, bare: Bare) {
        self.reply(mac, Body::Segment { tuple, bare });
    }

    /// Answers a segment as CLOSED does (RFC 9293, 3.10.7.1), within the budget of RSTs.
    pub(super) fn refuse(
        &mut self,
        mac: MacAddr,
        tuple: FourTuple,
        segment: &Segment<'_>,
        now: Instant,
    ) {
        let Some(bare) = on_closed(segment) else {
            self.counters.count(Counter::DropNoSocket);
            return;
        };
        if !self.resets.take(self.config.limits.resets_per_second, now) {
            self.counters.count(Counter::ResetsLimited);
            return;
        }
        debug_assert!(bare.flags.has(Flags::RST));
        self.reply_bare(mac, tuple, bare);
    }
}

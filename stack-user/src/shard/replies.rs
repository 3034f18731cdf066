//! Answers that need no connection: RST, ACKs of records, SYN-ACKs, ARP and ICMP echo.
//!
//! They wait in a bounded queue for a frame; one too many is dropped and counted.

use super::inner::Core;
use crate::counters::Counter;
use crate::tcp::pool::Chain;
use crate::tcp::{Bare, Segment, on_closed};
use crate::time::Instant;
use crate::wire::tcp::Flags;
use crate::wire::{Addr, FourTuple, MacAddr, arp};

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
    Segment { tuple: FourTuple, bare: Bare },
    Arp(arp::Packet),
    Echo { local: Addr, remote: Addr, ident: u16, seq: u16, payload: Chain },
}

impl Core {
    /// Queues an answer.
    pub(super) fn reply(&mut self, mac: MacAddr, body: Body) {
        if self.replies.len() < self.config.limits.replies {
            self.replies.push_back(Reply { mac, body });
            return;
        }
        self.counters.count(Counter::RepliesDropped);
        if let Body::Echo { mut payload, .. } = body {
            payload.clear(&mut self.pool);
        }
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
        let second = now.as_millis() / 1000;
        if self.resets.0 != second {
            self.resets = (second, 0);
        }
        if self.resets.1 >= self.config.limits.resets_per_second {
            self.counters.count(Counter::ResetsLimited);
            return;
        }
        self.resets.1 += 1;
        debug_assert!(bare.flags.has(Flags::RST));
        self.reply_bare(mac, tuple, bare);
    }
}

//! Neighbour discovery (RFC 4861) for addresses of our own: questions and answers, in and out. When a
//! question is asked is `next_hops`'.
//!
//! That an address is nobody else's is made sure of before a shard runs; here it is defended.

use super::inner::Core;
use super::replies::Body;
use crate::counters::Counter;
use crate::time::Instant;
use crate::wire::ndp::{Advertisement, Message, Solicitation};
use crate::wire::{Addr, MacAddr, ipv6};

impl Core {
    /// A neighbour asks or tells. Every shard learns; the one that got the frame from the wire
    /// answers.
    pub(super) fn on_discovery(
        &mut self,
        (mac, message): (MacAddr, &Message),
        src: Addr,
        answers: bool,
        now: Instant,
    ) {
        if self.local(src).is_some() {
            return self.counters.count(Counter::DropMartian);
        }
        match message {
            Message::Solicitation(asked) => self.on_solicitation((mac, asked), src, answers),
            // RFC 4861 7.2.5; RFC 4862 5.4.4: another host has, or takes, an address of ours.
            Message::Advertisement(told) if self.local(told.target).is_some() => {
                self.counters.add(Counter::AddressConflicts, u64::from(answers));
            }
            Message::Advertisement(told) => {
                let waiting = self.neighbours.advertised(told, now);
                self.wake(waiting);
            }
        }
    }

    /// RFC 4861 7.2.3 and 7.2.4.
    fn on_solicitation(
        &mut self,
        (mac, asked): (MacAddr, &Solicitation),
        src: Addr,
        answers: bool,
    ) {
        if !self.local(asked.target).is_some_and(|local| local.is_owned) {
            return self.counters.count(Counter::DropNotOurs);
        }
        let is_probe = src == Addr::UNSPECIFIED;
        if let Some(mac) = asked.source_mac {
            let waiting = self.neighbours.hear(src, mac);
            self.wake(waiting);
        }
        if !answers {
            return;
        }
        self.counters.count(Counter::SolicitationsAnswered);
        // RFC 4861 7.2.4: who has no address yet is told with everybody else (RFC 4862, 5.4.3: that it
        // cannot have this one).
        let (remote, mac) = match is_probe {
            true => (ipv6::ALL_NODES, ipv6::group_mac(&ipv6::ALL_NODES)),
            false => (src, asked.source_mac.unwrap_or(mac)),
        };
        let message = Message::Advertisement(Advertisement {
            target: asked.target,
            is_solicited: !is_probe,
            is_override: true,
            target_mac: Some(self.config.mac),
        });
        self.reply(mac, Body::Discovery { local: asked.target, remote, message });
    }

    /// Asks for a neighbour: all that may have the address, or the one that is known to have had it
    /// (RFC 4861, 7.2.2 and 7.3.3).
    pub(super) fn solicit(&mut self, (target, known): (Addr, Option<MacAddr>), local: Addr) {
        self.counters.count(Counter::SolicitationsOut);
        let group = ipv6::solicited_node(&target);
        let (remote, mac) = match known {
            Some(mac) => (target, mac),
            None => (group, ipv6::group_mac(&group)),
        };
        let message =
            Message::Solicitation(Solicitation { target, source_mac: Some(self.config.mac) });
        self.reply(mac, Body::Discovery { local, remote, message });
    }
}

//! Next hops and their link-layer addresses.

use std::collections::BTreeMap;

use super::slab::TcbId;
use crate::time::{Duration, Instant};
use crate::wire::{Addr, MacAddr};

/// The neighbours of a shard.
#[derive(Debug)]
pub struct Neighbours {
    index: BTreeMap<Addr, u32>,
    entries: Vec<Neighbour>,
    capacity: usize,
    /// Where the search for an entry that nobody uses goes on.
    hand: usize,
}

/// A next hop.
#[derive(Debug)]
pub struct Neighbour {
    /// Its address.
    pub addr: Addr,
    /// Its link-layer address, once it is known.
    pub mac: Option<MacAddr>,
    /// Requests sent since it last answered.
    pub tries: u8,
    /// When it is asked again: while it is unknown, or to see that it is still there.
    pub ask_at: Instant,
    /// Connections that send to it.
    pub users: u32,
    /// Connections that wait for it; some may be gone.
    pub waiting: Vec<TcbId>,
}

impl Neighbours {
    /// A table of at most `capacity` next hops.
    pub fn new(capacity: usize) -> Self {
        Self { index: BTreeMap::new(), entries: Vec::new(), capacity, hand: 0 }
    }

    /// The index of `addr`, which enters the table. In a full one it takes the place of an address
    /// that no connection uses; `None` where no such was found.
    pub fn intern(&mut self, addr: Addr) -> Option<u32> {
        if let Some(index) = self.index.get(&addr) {
            return Some(*index);
        }
        let (mac, ask_at) = (None, Instant::ZERO);
        let entry = Neighbour { addr, mac, tries: 0, ask_at, users: 0, waiting: Vec::new() };
        let at = if self.entries.len() < self.capacity {
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            let at = self.unused()?;
            self.index.remove(&self.entries[at].addr);
            self.entries[at] = entry;
            at
        };
        self.index.insert(addr, at as u32);
        Some(at as u32)
    }

    /// An entry that no connection uses, if there is one among the next few: whoever asks for many
    /// addresses in vain pays for each search.
    fn unused(&mut self) -> Option<usize> {
        for _ in 0..LOOK_AT.min(self.entries.len()) {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &self.entries[self.hand];
            if entry.users == 0 && entry.waiting.is_empty() {
                return Some(self.hand);
            }
        }
        None
    }

    /// The neighbour at `index`.
    pub fn at(&mut self, index: u32) -> &mut Neighbour {
        &mut self.entries[index as usize]
    }

    /// Takes what was learnt of `addr`; returns the connections that waited for it. An address that
    /// nobody asked for enters the table only if `is_wanted`.
    pub fn learn(&mut self, addr: Addr, mac: MacAddr, is_wanted: bool, now: Instant) -> Vec<TcbId> {
        let known = self.index.get(&addr).copied();
        let Some(index) = known.or_else(|| if is_wanted { self.intern(addr) } else { None }) else {
            return Vec::new();
        };
        let entry = self.at(index);
        entry.mac = Some(mac);
        entry.tries = 0;
        entry.ask_at = now + REACHABLE;
        core::mem::take(&mut entry.waiting)
    }
}

/// How long an answer counts before the neighbour is asked again (RFC 1122, 2.3.2.1).
const REACHABLE: Duration = Duration::from_secs(60);
/// The most entries looked at for one that nobody uses.
const LOOK_AT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn addr(n: u8) -> Addr {
        Ipv4Addr::new(10, 0, 0, n).into()
    }

    #[test]
    fn full_table_gives_the_place_of_what_nobody_uses() {
        let mut table = Neighbours::new(2);
        let waits = TcbId { index: 7, generation: 0 };
        let used = table.intern(addr(1)).expect("there is room");
        table.at(used).users = 1;
        let awaited = table.intern(addr(2)).expect("there is room");
        table.at(awaited).waiting.push(waits);
        assert_eq!(table.intern(addr(3)), None);
        assert!(table.learn(addr(3), MacAddr([2; 6]), true, Instant::ZERO).is_empty());
        assert_eq!(table.learn(addr(2), MacAddr([2; 6]), false, Instant::ZERO), [waits]);
        assert_eq!(table.intern(addr(3)), Some(awaited));
        assert_eq!((table.at(awaited).addr, table.at(awaited).mac), (addr(3), None));
        assert_eq!(table.intern(addr(1)), Some(used));
    }
}

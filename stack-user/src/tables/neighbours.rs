//! Next hops and their link-layer addresses.

use std::collections::BTreeMap;

use super::slab::TcbId;
use crate::time::{Duration, Instant};
use crate::wire::ndp::Advertisement;
use crate::wire::{Addr, MacAddr};

/// The neighbours of a shard.
#[derive(Debug)]
pub struct Neighbours {
    index: BTreeMap<Addr, u32>,
    entries: Vec<Neighbour>,
    capacity: usize,
    /// Where the search for an entry that nobody uses goes on.
    hand: usize,
    /// How long an answer counts.
    reachable: Duration,
}

/// A next hop.
#[derive(Debug)]
pub struct Neighbour {
    /// Its address.
    pub addr: Addr,
    /// Its link-layer address, once it is known.
    pub mac: Option<MacAddr>,
    /// How well it is known.
    pub reach: Reach,
    /// Questions sent since it last answered.
    pub tries: u8,
    /// From when on it has to be looked after, should somebody send to it.
    pub ask_at: Instant,
    /// When it is looked after whether somebody sends or not.
    pub due: Instant,
    /// Our address as which it is asked.
    pub local: Addr,
    /// Connections that send to it.
    pub users: u32,
    /// Connections that wait for it; some may be gone.
    pub waiting: Vec<TcbId>,
}

/// How well a next hop is known: the states of RFC 4861, section 7.3.2, for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Its link-layer address is not known.
    Incomplete,
    /// It answered lately.
    Reachable,
    /// It may be gone. Nobody minds before something is sent there.
    Stale,
    /// Something was sent there: if it is there, it will show.
    Delay,
    /// It is asked.
    Probe,
}

impl Neighbour {
    fn new(addr: Addr) -> Self {
        Self {
            addr,
            mac: None,
            reach: Reach::Incomplete,
            tries: 0,
            ask_at: Instant::ZERO,
            due: Instant::NEVER,
            local: Addr::UNSPECIFIED,
            users: 0,
            waiting: Vec::new(),
        }
    }

    /// It is there, at `mac`, until that time.
    fn confirm(&mut self, mac: MacAddr, until: Instant) {
        self.mac = Some(mac);
        self.enter(Reach::Reachable, (until, Instant::NEVER));
    }

    /// It may be at `mac`: that is looked after when something was sent there.
    fn suppose(&mut self, mac: MacAddr) {
        self.mac = Some(mac);
        self.enter(Reach::Stale, (Instant::ZERO, Instant::NEVER));
    }

    /// Nobody asks for it: it is as on the first day.
    pub fn forget(&mut self) {
        self.mac = None;
        self.enter(Reach::Incomplete, (Instant::ZERO, Instant::NEVER));
    }

    /// What was sent there shows by `due` whether it is there (RFC 4861, 7.3.3).
    pub fn delay(&mut self, due: Instant) {
        self.enter(Reach::Delay, (Instant::NEVER, due));
    }

    /// Something speaks against it: it is asked as soon as somebody sends.
    pub fn suspect(&mut self) {
        if matches!(self.reach, Reach::Reachable | Reach::Stale | Reach::Delay) {
            self.enter(Reach::Probe, (Instant::ZERO, Instant::NEVER));
        }
    }

    /// It was asked once more; without an answer it is looked after at `due`.
    pub fn asked(&mut self, due: Instant) {
        if self.reach != Reach::Incomplete {
            self.reach = Reach::Probe;
        }
        self.tries = self.tries.saturating_add(1);
        (self.ask_at, self.due) = (Instant::NEVER, due);
    }

    fn enter(&mut self, reach: Reach, (ask_at, due): (Instant, Instant)) {
        (self.reach, self.ask_at, self.due) = (reach, ask_at, due);
        self.tries = 0;
    }
}

impl Neighbours {
    /// A table of at most `capacity` next hops. An answer counts for half as long as
    /// `REACHABLE` to one and a half times, by `random`, so that hosts that started together do
    /// not ask together (RFC 4861, 6.3.2).
    pub fn new(capacity: usize, random: u64) -> Self {
        let spread = Duration::from_millis(random % REACHABLE.as_millis() as u64);
        let (index, entries) = (BTreeMap::new(), Vec::new());
        Self { index, entries, capacity, hand: 0, reachable: REACHABLE / 2 + spread }
    }

    /// The index of `addr`, which enters the table. In a full one it takes the place of an address
    /// that no connection uses; `None` where no such was found.
    pub fn intern(&mut self, addr: Addr) -> Option<u32> {
        if let Some(index) = self.index.get(&addr) {
            return Some(*index);
        }
        let entry = Neighbour::new(addr);
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

    /// `addr` is there, at `mac`; returns the connections that waited for it. An address that nobody
    /// asked for enters the table only if `is_wanted`.
    pub fn learn(&mut self, addr: Addr, mac: MacAddr, is_wanted: bool, now: Instant) -> Vec<TcbId> {
        let until = now + self.reachable;
        let Some(entry) = self.entry(addr, is_wanted) else { return Vec::new() };
        entry.confirm(mac, until);
        core::mem::take(&mut entry.waiting)
    }

    /// `addr` says that it is at `mac`, which does not show that our packets get there (RFC 4861,
    /// 7.2.3). Otherwise as [`Neighbours::learn`].
    pub fn hear(&mut self, addr: Addr, mac: MacAddr) -> Vec<TcbId> {
        match self.entry(addr, true) {
            Some(entry) if entry.mac != Some(mac) => {
                entry.suppose(mac);
                core::mem::take(&mut entry.waiting)
            }
            _ => Vec::new(),
        }
    }

    /// A neighbour advertises itself (RFC 4861, 7.2.5); returns the connections that waited for it.
    /// We keep no list of routers: whether it is one changes nothing.
    pub fn advertised(&mut self, told: &Advertisement, now: Instant) -> Vec<TcbId> {
        let until = now + self.reachable;
        let Some(entry) = self.entry(told.target, false) else { return Vec::new() };
        let mac = match (entry.mac, told.target_mac) {
            // Nothing is known, and nothing said that would help.
            (None, None) => return Vec::new(),
            (None, Some(mac)) => mac,
            (Some(known), Some(mac)) if mac != known && !told.is_override => {
                // It may have moved: what is known is not thrown away for that.
                if entry.reach == Reach::Reachable {
                    entry.suppose(known);
                }
                return Vec::new();
            }
            (Some(known), mac) => mac.unwrap_or(known),
        };
        match told.is_solicited {
            true => entry.confirm(mac, until),
            false if entry.mac != Some(mac) => entry.suppose(mac),
            false => {}
        }
        core::mem::take(&mut entry.waiting)
    }

    /// The neighbour with this address, which enters the table if it `is_wanted`.
    fn entry(&mut self, addr: Addr, is_wanted: bool) -> Option<&mut Neighbour> {
        let known = self.index.get(&addr).copied();
        let index = known.or_else(|| if is_wanted { self.intern(addr) } else { None })?;
        Some(self.at(index))
    }
}

/// How long an answer counts, on average (RFC 4861, 10: REACHABLE_TIME). RFC 1122, 2.3.2.1 has about
/// a minute for ARP.
const REACHABLE: Duration = Duration::from_secs(30);
/// The most entries looked at for one that nobody uses.
const LOOK_AT: usize = 16;

#[cfg(test)]
mod tests;

//! Who listens where, and what waits there: exact addresses before the wildcard.
//!
//! Owns each listener's counts and its queue of open connections that nobody has accepted yet.
//! Half- open entries lie in a table of their own; here is only how many a listener has.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::slab::TcbId;
use crate::tcp::{HalfOpen, Setting, SettingError};
use crate::time::Duration;
use crate::wire::Addr;

/// A port that accepts connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address it listens on; `None` for every address of ours.
    pub addr: Option<Addr>,
    /// The port.
    pub port: u16,
    /// The index of its service.
    pub service: u16,
    /// How many connections may wait (CM-3.b), in Linux's meaning: `backlog + 1` that are open and not
    /// yet accepted, and `backlog` that are half-open, but one at least. Per shard.
    pub backlog: u32,
    /// Who takes its connections.
    pub accepts: Accepts,
    /// Waits about that long for the peer's first data before a connection counts as open
    /// (TCP_DEFER_ACCEPT); `None` for not at all.
    pub defers_accept: Option<Duration>,
    /// What its connections begin with, besides the shard's configuration.
    pub settings: Arc<[Setting]>,
}

/// Who takes the connections of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accepts {
    /// The service has each as soon as it is open.
    #[default]
    AtOnce,
    /// It waits in the accept queue for [`Shard::accept`](crate::shard::Shard::accept). What the
    /// peer sends meanwhile is buffered within its window.
    OnCall,
}

impl Listener {
    /// A listener with the usual backlog, whose service has each connection as soon as it is open.
    pub fn new(addr: Option<Addr>, port: u16, service: u16) -> Self {
        Self {
            addr,
            port,
            service,
            backlog: BACKLOG,
            accepts: Accepts::default(),
            defers_accept: None,
            settings: Arc::new([]),
        }
    }

    /// How often the SYN-ACK timer fires before an acknowledgment without data opens the
    /// connection, zero where that is not deferred: the time is rounded up to what the timer knows.
    pub fn deferred_timeouts(&self) -> u8 {
        let Some(time) = self.defers_accept.filter(|time| !time.is_zero()) else { return 0 };
        (1..u8::MAX).find(|timeouts| HalfOpen::lasts(*timeouts) >= time).unwrap_or(u8::MAX)
    }

    fn name(&self) -> (u16, Addr) {
        (self.port, self.addr.unwrap_or(Addr::UNSPECIFIED))
    }
}

/// A listener of a shard: its place and how many tenants the place had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId {
    pub(crate) index: u16,
    generation: u32,
}

/// Why nothing listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenError {
    /// No service has this index.
    UnknownService(u16),
    /// The shard takes no new connections any more.
    ShuttingDown,
    /// The address is not the shard's.
    NoAddress(Addr),
    /// Port 0 cannot be listened on.
    NoPort,
    /// This address and port have a listener already.
    InUse,
    /// There are as many listeners as there may be.
    TooMany {
        /// The bound.
        most: usize,
    },
    /// A setting for its connections is impossible.
    Setting(SettingError),
}

impl core::fmt::Display for ListenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::UnknownService(index) => write!(f, "there is no service {index}"),
            Self::ShuttingDown => f.write_str("the shard is shutting down"),
            Self::NoAddress(addr) => write!(f, "{addr} is not an address of the shard"),
            Self::NoPort => f.write_str("port 0 cannot be listened on"),
            Self::InUse => f.write_str("the address and port have a listener already"),
            Self::TooMany { most } => write!(f, "there are {most} listeners, the most possible"),
            Self::Setting(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ListenError {}

/// A listener at work.
#[derive(Debug)]
pub(crate) struct Listening {
    pub listener: Arc<Listener>,
    /// Its half-open entries.
    pub half_open: u32,
    /// Open connections that nobody has accepted, oldest first.
    pub queue: VecDeque<TcbId>,
    /// The last period in which an acknowledgment may answer a SYN cookie.
    pub cookies_until: Option<u32>,
    /// How often the SYN-ACK timer fires before an acknowledgment without data opens a connection.
    pub deferred_timeouts: u8,
    /// The receive window of its connections in octets, where a setting says it.
    pub receive_buffer: Option<u32>,
    /// The most text of a segment in octets, where a setting says it.
    pub max_segment: Option<u16>,
}

impl Listening {
    fn new(listener: Listener) -> Self {
        let (mut receive_buffer, mut max_segment) = (None, None);
        for setting in listener.settings.iter() {
            match *setting {
                Setting::ReceiveBuffer(octets) => receive_buffer = Some(octets),
                Setting::MaxSegment(octets) => max_segment = Some(octets),
                _ => {}
            }
        }
        Self {
            half_open: 0,
            queue: VecDeque::new(),
            cookies_until: None,
            deferred_timeouts: listener.deferred_timeouts(),
            receive_buffer,
            max_segment,
            listener: Arc::new(listener),
        }
    }

    /// Takes another configuration; what waits goes on waiting.
    pub fn change(&mut self, listener: Listener) {
        let (half_open, queue) = (self.half_open, core::mem::take(&mut self.queue));
        *self = Self { half_open, queue, ..Self::new(listener) };
    }

    /// Whether no further half-open entry may begin.
    pub fn is_syn_queue_full(&self) -> bool {
        self.half_open >= self.listener.backlog.max(1)
    }

    /// Whether no further connection may wait to be accepted.
    pub fn is_accept_queue_full(&self) -> bool {
        self.queue.len() as u64 > u64::from(self.listener.backlog)
    }
}

/// The listeners of a shard, looked up once per SYN.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    places: Vec<(u32, Option<Listening>)>,
    /// Port and address, unspecified for the wildcard, to the place.
    names: BTreeMap<(u16, Addr), u16>,
}

impl Listeners {
    /// Adds a listener.
    ///
    /// # Errors
    /// [`ListenError::InUse`] and [`ListenError::TooMany`].
    pub fn insert(&mut self, listener: Listener) -> Result<ListenerId, ListenError> {
        if self.names.contains_key(&listener.name()) {
            return Err(ListenError::InUse);
        }
        let index = match self.places.iter().position(|(_, place)| place.is_none()) {
            Some(free) => free,
            None if self.places.len() < MOST => {
                self.places.push((0, None));
                self.places.len() - 1
            }
            None => return Err(ListenError::TooMany { most: MOST }),
        };
        self.names.insert(listener.name(), index as u16);
        self.places[index].1 = Some(Listening::new(listener));
        Ok(ListenerId { index: index as u16, generation: self.places[index].0 })
    }

    /// Takes a listener out; its place gets the next generation.
    pub fn remove(&mut self, id: ListenerId) -> Option<Listening> {
        let (generation, place) = self.places.get_mut(usize::from(id.index))?;
        if *generation != id.generation {
            return None;
        }
        let listening = place.take()?;
        *generation = generation.wrapping_add(1);
        self.names.remove(&listening.listener.name());
        Some(listening)
    }

    /// The place of the listener for a SYN to `addr` and `port`.
    // CM-3.a.
    pub fn find(&self, addr: Addr, port: u16) -> Option<u16> {
        let exact = self.names.get(&(port, addr));
        exact.or_else(|| self.names.get(&(port, Addr::UNSPECIFIED))).copied()
    }

    /// Whether anything listens on `port`, at whatever address.
    pub fn has_port(&self, port: u16) -> bool {
        let all = (port, Addr([0; 16]))..=(port, Addr([0xff; 16]));
        self.names.range(all).next().is_some()
    }

    /// The listener at a place.
    pub fn at(&self, index: u16) -> Option<&Listening> {
        self.places.get(usize::from(index))?.1.as_ref()
    }

    /// The listener at a place, to be changed.
    pub fn at_mut(&mut self, index: u16) -> Option<&mut Listening> {
        self.places.get_mut(usize::from(index))?.1.as_mut()
    }

    /// The listener of this id.
    pub fn get(&self, id: ListenerId) -> Option<&Listening> {
        let (generation, place) = self.places.get(usize::from(id.index))?;
        place.as_ref().filter(|_| *generation == id.generation)
    }

    /// The listener of this id, to be changed.
    pub fn get_mut(&mut self, id: ListenerId) -> Option<&mut Listening> {
        let (generation, place) = self.places.get_mut(usize::from(id.index))?;
        place.as_mut().filter(|_| *generation == id.generation)
    }

    /// Every listener.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Listening> {
        self.places.iter_mut().filter_map(|(_, place)| place.as_mut())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }
}

/// The most listeners of a shard: as many as the XDP program's map holds.
const MOST: usize = stack_ebpf::contract::MAX_LISTENERS as usize;
/// Linux's largest backlog unless told otherwise.
const BACKLOG: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn addr(n: u8) -> Addr {
        Ipv4Addr::new(10, 0, 0, n).into()
    }

    // CM-3.a.
    #[test]
    fn exact_address_goes_before_the_wildcard() {
        let mut listeners = Listeners::default();
        let wildcard = listeners.insert(Listener::new(None, 80, 0)).expect("free");
        let exact = listeners.insert(Listener::new(Some(addr(1)), 80, 1)).expect("free");
        assert_eq!(listeners.find(addr(1), 80), Some(exact.index));
        assert_eq!(listeners.find(addr(2), 80), Some(wildcard.index));
        assert_eq!(listeners.find(addr(1), 81), None);
        assert!(listeners.has_port(80) && !listeners.has_port(81) && !listeners.has_port(79));
    }

    #[test]
    fn same_address_and_port_conflict_until_the_first_is_gone() {
        let mut listeners = Listeners::default();
        for addr in [None, Some(addr(1))] {
            let first = listeners.insert(Listener::new(addr, 80, 0)).expect("free");
            let again = listeners.insert(Listener::new(addr, 80, 1));
            assert_eq!(again, Err(ListenError::InUse));
            assert!(listeners.remove(first).is_some());
            let second = listeners.insert(Listener::new(addr, 80, 1)).expect("free again");
            assert_eq!(second.index, first.index);
            assert!(listeners.get(first).is_none() && listeners.get_mut(first).is_none());
            assert!(listeners.remove(first).is_none(), "a later tenant");
            assert!(listeners.remove(second).is_some());
        }
        assert_eq!(listeners.len(), 0);
    }

    #[test]
    fn one_more_than_the_most_is_refused() {
        let mut listeners = Listeners::default();
        for port in 1..=MOST as u16 {
            listeners.insert(Listener::new(None, port, 0)).expect("room");
        }
        let one_more = listeners.insert(Listener::new(None, 60_000, 0));
        assert_eq!(one_more, Err(ListenError::TooMany { most: MOST }));
    }

    // CM-3.b. Linux: the accept queue holds one more than the backlog, the SYN queue as many.
    #[test]
    fn backlog_has_the_meaning_that_it_has_on_linux() {
        let mut listeners = Listeners::default();
        for backlog in [0, 1, 5] {
            let listener = Listener { backlog, ..Listener::new(None, 80, 0) };
            let id = listeners.insert(listener).expect("free");
            let listening = listeners.get_mut(id).expect("there");
            for index in 0..=backlog {
                assert!(!listening.is_accept_queue_full());
                listening.queue.push_back(TcbId { index, generation: 0 });
            }
            assert!(listening.is_accept_queue_full());
            for _ in 0..backlog.max(1) {
                assert!(!listening.is_syn_queue_full());
                listening.half_open += 1;
            }
            assert!(listening.is_syn_queue_full());
            listeners.remove(id);
        }
    }

    // Linux rounds the time up to the SYN-ACK timer's: 1, 3, 7, 15 seconds and so on.
    #[test]
    fn deferred_accept_is_counted_in_timeouts() {
        let timeouts = |secs| {
            let defers_accept = Some(Duration::from_secs(secs));
            Listener { defers_accept, ..Listener::new(None, 80, 0) }.deferred_timeouts()
        };
        assert_eq!([0, 1, 2, 3, 4, 7, 8, 15].map(timeouts), [0, 1, 2, 2, 3, 3, 4, 4]);
        assert_eq!(timeouts(1_000_000), u8::MAX);
        assert_eq!(Listener::new(None, 80, 0).deferred_timeouts(), 0);
    }
}

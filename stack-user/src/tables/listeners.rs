//! Who listens where: exact addresses before the wildcard.

use crate::wire::Addr;

/// A port that accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address it listens on; `None` for every address of ours.
    pub addr: Option<Addr>,
    /// The port.
    pub port: u16,
    /// The index of its service.
    pub service: u16,
}

/// The listeners of a shard: few, and looked up once per SYN.
#[derive(Debug, Default)]
pub struct Listeners(Vec<Listener>);

impl Listeners {
    /// The given listeners.
    pub fn new(mut listeners: Vec<Listener>) -> Self {
        listeners.sort_by_key(|listener| listener.addr.is_none());
        Self(listeners)
    }

    /// The listener for a SYN to `addr` and `port`: its index and itself.
    pub fn find(&self, addr: Addr, port: u16) -> Option<(u16, Listener)> {
        let is_match = |l: &Listener| l.port == port && l.addr.is_none_or(|exact| exact == addr);
        let index = self.0.iter().position(is_match)?;
        Some((index as u16, self.0[index]))
    }

    /// The listener at `index`.
    pub fn at(&self, index: u16) -> Option<Listener> {
        self.0.get(usize::from(index)).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn exact_address_goes_before_the_wildcard() {
        let addr = Addr::from(Ipv4Addr::new(10, 0, 0, 1));
        let other = Addr::from(Ipv4Addr::new(10, 0, 0, 2));
        let wildcard = Listener { addr: None, port: 80, service: 0 };
        let exact = Listener { addr: Some(addr), port: 80, service: 1 };
        let listeners = Listeners::new(vec![wildcard, exact]);
        assert_eq!(listeners.find(addr, 80).map(|found| found.1), Some(exact));
        assert_eq!(listeners.find(other, 80).map(|found| found.1), Some(wildcard));
        assert_eq!(listeners.find(addr, 81), None);
    }
}

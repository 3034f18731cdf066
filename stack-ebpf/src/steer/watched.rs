//! Maps that note what they are told, for tests.

use core::cell::Cell;

use super::Tables;
use crate::contract::{Address, AddressKey, Config};

/// Maps, and how often a frame was handed over.
pub(crate) struct Watched<'a, T> {
    tables: &'a T,
    times: Cell<u32>,
}

impl<'a, T> Watched<'a, T> {
    pub(crate) fn new(tables: &'a T) -> Self {
        Self { tables, times: Cell::new(0) }
    }

    pub(crate) fn times(&self) -> u32 {
        self.times.get()
    }
}

impl<T: Tables> Tables for Watched<'_, T> {
    fn config(&self) -> Option<&Config> {
        self.tables.config()
    }

    fn address(&self, addr: &AddressKey) -> Option<Address> {
        self.tables.address(addr)
    }

    fn is_listener(&self, local: &AddressKey, port: u16) -> bool {
        self.tables.is_listener(local, port)
    }

    fn listens(&self, local: &AddressKey, port: u16) -> bool {
        self.tables.listens(local, port)
    }

    fn hand_over(&self) {
        self.times.set(self.times.get() + 1);
    }

    fn is_blocked(&self, source: &AddressKey) -> bool {
        self.tables.is_blocked(source)
    }

    fn admits(&self, local: &AddressKey, port: u16, source: &AddressKey) -> bool {
        self.tables.admits(local, port, source)
    }
}

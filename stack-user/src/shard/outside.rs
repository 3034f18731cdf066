//! The way to connections and listeners from outside of their services: for handles, and for changes
//! while the shard runs.

use super::handle::Handle;
use super::inner::Mark;
use super::{ConnId, LocalAddr, Shard};
use crate::service::Connection;
use crate::tables::listeners::{Listener, ListenerId};
use crate::tcp::Config;
use crate::time::Instant;
use crate::wire::usual::Start;

impl Shard {
    /// Runs `run` on a connection from outside of its service, as a handle does, then sees to what
    /// that leads to. `None` when the connection is over.
    pub fn with<R>(
        &mut self,
        id: ConnId,
        now: Instant,
        run: impl FnOnce(&mut dyn Connection) -> R,
    ) -> Option<R> {
        self.core.conns.get_by_id(id)?;
        let result = run(&mut Handle::new(&mut self.core, id.index, now));
        self.settle(id.index, now);
        Some(result)
    }

    /// As [`Shard::with`], for questions alone: nothing follows from them.
    pub fn look<R>(
        &mut self,
        id: ConnId,
        now: Instant,
        run: impl FnOnce(&dyn Connection) -> R,
    ) -> Option<R> {
        self.core.conns.get_by_id(id)?;
        Some(run(&Handle::new(&mut self.core, id.index, now)))
    }

    /// Keeps unread text of a finished connection for its user, until it is read or
    /// [`Connection::close`] says that nobody will.
    pub fn hold(&mut self, id: ConnId) {
        if let Some(conn) = self.core.conns.get_mut_by_id(id) {
            conn.marks.set(Mark::Held, true);
        }
    }

    /// Changes a listener, for connections still to come. Its name stays what it was.
    pub fn change_listener(&mut self, id: ListenerId, change: impl FnOnce(&mut Listener)) {
        if let Some(listening) = self.core.listeners.get_mut(id) {
            let mut listener = Listener::clone(&listening.listener);
            let (addr, port) = (listener.addr, listener.port);
            change(&mut listener);
            listening.change(Listener { addr, port, ..listener });
        }
    }

    /// Changes TCP's limits and times, for connections still to come and, where they are not a
    /// connection's own, for those there are.
    pub fn set_tcp(&mut self, config: Config) {
        let core = &mut self.core;
        core.config.tcp = config;
        core.start = Start::new(core.config.mac, core.config.tcp.delivery());
        let indexes: Vec<u32> = core.conns.iter().map(|(id, _)| id.index).collect();
        for index in indexes {
            if let Some(conn) = core.conns.get_mut(index) {
                conn.ip_checksum = core.start.checksum_of(conn.tcb.tuple());
            }
        }
    }

    /// Serves an address more.
    pub(super) fn add_address(&mut self, local: LocalAddr) {
        if self.core.local(local.addr).is_none() {
            self.core.config.addrs.push(local);
        }
    }
}

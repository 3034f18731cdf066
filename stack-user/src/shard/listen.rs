//! Listeners come and go, and connections that wait are accepted.
//!
//! Owns the accept queue's life: into it come connections from `open`, out of it they go to their
//! service. While one waits, `deliver` keeps what it brings.

use super::inner::{Admission, Core};
use super::{ConnId, Shard};
use crate::tables::listeners::{ListenError, Listener, ListenerId, Listening};
use crate::tables::slab::TcbId;
use crate::tcp::pool::Chain;
use crate::time::Instant;

impl Shard {
    /// OPEN, passive (RFC 9293, 3.10.1): takes connections for a service from now on. Old
    /// connections of the port, in TIME-WAIT or open, stand in nobody's way (SO_REUSEADDR).
    ///
    /// # Errors
    /// [`ListenError`], and nothing listens.
    pub fn listen(&mut self, listener: Listener, _now: Instant) -> Result<ListenerId, ListenError> {
        // RFC 9293 3.9.1.1 (MUST-41, MUST-42), CM-6.f: connections of the port are left alone, in
        // whatever state.
        if usize::from(listener.service) >= self.services.len() {
            return Err(ListenError::UnknownService(listener.service));
        }
        self.core.listen(listener)
    }

    /// CLOSE in LISTEN (RFC 9293, 3.10.4). As on Linux open connections stay, those that nobody has
    /// accepted are reset, and half-open ones are forgotten: what their peers say next is answered
    /// by RST. Returns whether there was such a listener.
    pub fn unlisten(&mut self, id: ListenerId, now: Instant) -> bool {
        let Some(listening) = self.core.listeners.remove(id) else { return false };
        self.core.forget_half_open(|listener| listener == id.index);
        self.refuse_queued(listening, now);
        true
    }

    /// Takes the oldest connection that waits for a listener of [`OnCall`]: its service hears of it
    /// now, and of what came meanwhile. `None` when none waits. A connection that ended while it
    /// waited is accepted too, so that its service learns how.
    ///
    /// [`OnCall`]: crate::tables::listeners::Accepts::OnCall
    pub fn accept(&mut self, id: ListenerId, now: Instant) -> Option<ConnId> {
        let accepted = self.core.listeners.get_mut(id)?.queue.pop_front()?;
        self.core.conns.get_mut_by_id(accepted)?.admission = Admission::Admitted;
        self.deliver(accepted.index, (&[], Chain::default()), now);
        self.settle(accepted.index, now);
        Some(accepted)
    }

    /// How many connections wait to be accepted.
    pub fn waiting(&self, id: ListenerId) -> usize {
        self.core.listeners.get(id).map_or(0, |listening| listening.queue.len())
    }

    /// Empties every queue: what no service has is not waited for.
    pub(super) fn refuse_all_queued(&mut self, now: Instant) {
        let queued: Vec<_> = self
            .core
            .listeners
            .iter_mut()
            .flat_map(|listening| listening.queue.drain(..))
            .collect();
        for id in queued {
            self.refuse_conn(id, now);
        }
    }

    fn refuse_queued(&mut self, listening: Listening, now: Instant) {
        for id in listening.queue {
            self.refuse_conn(id, now);
        }
    }

    fn refuse_conn(&mut self, id: TcbId, now: Instant) {
        if !self.core.conns.contains(id) {
            return;
        }
        if let Some((conn, mut env)) = self.core.conn_env(id.index) {
            conn.admission = Admission::Refused;
            conn.tcb.abort(&mut env);
        }
        self.settle(id.index, now);
    }
}

impl Core {
    fn listen(&mut self, listener: Listener) -> Result<ListenerId, ListenError> {
        if self.shutdown.is_some() {
            return Err(ListenError::ShuttingDown);
        }
        if listener.port == 0 {
            return Err(ListenError::NoPort);
        }
        if let Some(addr) = listener.addr
            && self.local(addr).is_none()
        {
            return Err(ListenError::NoAddress(addr));
        }
        for setting in listener.settings.iter() {
            setting.check(&self.config.tcp).map_err(ListenError::Setting)?;
        }
        self.listeners.insert(listener)
    }

    /// Forgets half-open entries, and what listeners count of them.
    pub(super) fn forget_half_open(&mut self, is_meant: impl Fn(u16) -> bool) {
        let entries = self.half_open.iter();
        let meant = entries.filter(|(_, entry)| is_meant(entry.record.listener));
        let indexes: Vec<u32> = meant.map(|(id, _)| id.index).collect();
        for index in indexes {
            self.remove_half_open(index);
        }
    }
}

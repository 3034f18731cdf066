//! A connection in the hands of its service.

use super::inner::{Conn, Core, Mark};
use crate::service::Connection;
use crate::tcp::{Env, Info, Setting, SettingError, Unreachable};
use crate::time::{Duration, Instant};
use crate::wire::FourTuple;

/// A connection in the hands of its service, or of a caller from outside of it.
pub(super) struct Handle<'a> {
    core: &'a mut Core,
    index: u32,
    /// Octets of text that are neither in the receive buffer nor consumed: the service looks at them.
    held: usize,
    now: Instant,
    /// Whether something may have been done to the connection.
    is_changed: bool,
}

impl<'a> Handle<'a> {
    /// The connection at `index`, which has to be there.
    pub(super) fn new(core: &'a mut Core, index: u32, now: Instant) -> Self {
        Self { core, index, held: 0, now, is_changed: false }
    }

    /// As it is, while the service looks at `held` octets.
    pub(super) fn holding(self, held: usize) -> Self {
        Self { held, ..self }
    }

    /// Whether more than questions was asked of it.
    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    fn conn(&self) -> &Conn {
        self.core.conns.get(self.index).expect("a connection outlives the call of its service")
    }

    fn parts(&mut self) -> (&mut Conn, Env<'_>) {
        self.is_changed = true;
        self.core.conn_env(self.index).expect("a connection outlives the call of its service")
    }
}

impl Connection for Handle<'_> {
    fn tuple(&self) -> FourTuple {
        *self.conn().tcb.tuple()
    }

    fn send(&mut self, data: &[u8]) -> usize {
        let (conn, mut env) = self.parts();
        conn.tcb.send(data, &mut env)
    }

    fn send_static(&mut self, data: &'static [u8]) -> usize {
        let (conn, mut env) = self.parts();
        conn.tcb.send_static(data, &mut env)
    }

    fn send_more(&mut self, data: &[u8]) -> usize {
        let (conn, mut env) = self.parts();
        conn.tcb.send_more(data, &mut env)
    }

    fn send_urgent(&mut self, data: &[u8]) -> usize {
        let (conn, mut env) = self.parts();
        conn.tcb.send_urgent(data, &mut env)
    }

    fn send_room(&self) -> usize {
        self.conn().tcb.send_room(&self.core.pool, &self.core.config.tcp)
    }

    fn unsent(&self) -> usize {
        self.conn().tcb.unsent()
    }

    fn unacknowledged(&self) -> usize {
        self.conn().tcb.unacknowledged()
    }

    fn unread(&self) -> usize {
        self.conn().tcb.unread()
    }

    fn read(&mut self, out: &mut [u8]) -> usize {
        let (conn, mut env) = self.parts();
        conn.tcb.read(out, &mut env)
    }

    fn peek(&self, out: &mut [u8]) -> usize {
        self.conn().tcb.peek(out, &self.core.pool)
    }

    fn urgent_ahead(&self) -> Option<u32> {
        self.conn().tcb.urgent_ahead(self.held)
    }

    fn shutdown_write(&mut self) {
        let (conn, mut env) = self.parts();
        conn.tcb.shutdown_write(&mut env);
    }

    fn shutdown_read(&mut self) {
        let (conn, mut env) = self.parts();
        conn.tcb.shutdown_read(&mut env);
    }

    fn close(&mut self) {
        let now = self.now;
        let (conn, mut env) = self.parts();
        conn.tcb.close(&mut env, now);
    }

    fn abort(&mut self) {
        let (conn, mut env) = self.parts();
        conn.tcb.abort(&mut env);
    }

    fn configure(&mut self, setting: Setting) -> Result<(), SettingError> {
        let now = self.now;
        let (conn, mut env) = self.parts();
        conn.tcb.configure(setting, &mut env, now)
    }

    fn soft_error(&self) -> Option<Unreachable> {
        self.conn().tcb.soft_error()
    }

    fn resume(&mut self) {
        self.parts().0.marks.set(Mark::Resumed, true);
    }

    fn set_timer(&mut self, delay: Option<Duration>) {
        let now = self.now;
        self.parts().0.tcb.set_user_timer(delay, now);
    }

    fn info(&self) -> Info {
        self.conn().tcb.info(self.now)
    }

    fn user(&mut self) -> &mut u64 {
        &mut self.parts().0.user
    }

    fn now(&self) -> Instant {
        self.now
    }
}

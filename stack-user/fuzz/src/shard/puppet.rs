//! A service that does things by its own seed.

use sluice::service::{Connection, Service};
use sluice::time::Duration;

/// The service.
pub struct Puppet(u64);

impl Puppet {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `bound` (Marsaglia's xorshift).
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) % bound
    }

    fn act(&mut self, conn: &mut dyn Connection) {
        match self.below(12) {
            0 => conn.close(),
            1 if self.below(4) == 0 => conn.abort(),
            2 | 3 => {
                let text = vec![self.0 as u8; self.below(20_000) as usize];
                conn.send(&text);
            }
            4 => conn.set_timer(None),
            5 | 6 => {
                let delay = Duration::from_micros(self.below(3_000_000));
                conn.set_timer(Some(delay));
            }
            7 => drop(conn.send_room()),
            8 => drop(conn.info()),
            9 => *conn.user() += 1,
            _ => {}
        }
    }
}

impl Service for Puppet {
    fn on_accept(&mut self, conn: &mut dyn Connection) {
        self.act(conn);
    }

    fn on_connected(&mut self, conn: &mut dyn Connection) {
        self.act(conn);
    }

    fn on_data(&mut self, conn: &mut dyn Connection, data: &[u8]) -> usize {
        self.act(conn);
        match self.below(4) {
            0 => 0,
            1 => self.below(data.len() as u64 + 1) as usize,
            _ => data.len(),
        }
    }

    fn on_writable(&mut self, conn: &mut dyn Connection) {
        self.act(conn);
    }

    fn on_peer_fin(&mut self, conn: &mut dyn Connection) {
        self.act(conn);
    }

    fn on_timer(&mut self, conn: &mut dyn Connection) {
        if self.below(2) == 0 {
            conn.resume();
        }
        self.act(conn);
    }
}

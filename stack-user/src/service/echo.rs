//! The echo service.

use super::{Connection, Service};

/// The echo service.
#[derive(Debug, Default)]
pub struct Echo;

impl Service for Echo {
    fn on_data(&mut self, conn: &mut dyn Connection, data: &[u8]) -> usize {
        conn.send(data)
    }
}

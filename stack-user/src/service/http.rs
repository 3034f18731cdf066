//! The http service.

use super::{Connection, Service};

/// The http service.
#[derive(Debug, Default)]
pub struct Http;

impl Service for Http {
    fn on_data(&mut self, _conn: &mut dyn Connection, data: &[u8]) -> usize {
        data.len()
    }
}

//! The discard service.

use super::{Connection, Service};

/// The discard service.
#[derive(Debug, Default)]
pub struct Discard;

impl Service for Discard {
    fn on_data(&mut self, _conn: &mut dyn Connection, data: &[u8]) -> usize {
        data.len()
    }
}

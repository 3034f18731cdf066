//! The chargen service.

use super::{Connection, Service};

/// The chargen service.
#[derive(Debug, Default)]
pub struct Chargen;

impl Service for Chargen {
    fn on_data(&mut self, _conn: &mut dyn Connection, data: &[u8]) -> usize {
        data.len()
    }
}

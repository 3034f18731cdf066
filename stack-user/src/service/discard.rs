//! The discard service (RFC 863): every byte that comes in is thrown away.

use super::{Connection, Service};

/// The discard service. It never sends, and closes when the peer does.
#[derive(Debug, Default)]
pub struct Discard;

impl Service for Discard {
    fn on_data(&mut self, _conn: &mut dyn Connection, data: &[u8]) -> usize {
        data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fake::Rig;

    #[test]
    fn established_data_is_consumed_and_fin_closes() {
        let mut rig = Rig::new(Discard, 1000);
        rig.accept();
        rig.deliver(&[7; 5000]);
        assert_eq!(rig.unconsumed(), 0);
        assert!(!rig.is_closed());
        rig.fin();
        assert!(rig.is_closed());
        assert!(rig.read_all().is_empty());
    }
}

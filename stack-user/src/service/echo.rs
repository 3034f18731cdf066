//! The echo service (RFC 862): every byte that comes in goes out again.
//!
//! Owns no buffer: what the send buffer does not take stays in the receive buffer, so that a peer
//! that does not read closes its own window.

use super::{Connection, Service};

/// The echo service. The peer's FIN is answered with ours by the trait's own `on_peer_fin`, which
/// is called only once every byte before it has been sent back.
#[derive(Debug, Default)]
pub struct Echo;

impl Service for Echo {
    fn on_data(&mut self, conn: &mut dyn Connection, data: &[u8]) -> usize {
        conn.send(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fake::Rig;

    // RFC 9293 3.8.5 (SHLD-13): a service that sent urgent data would fail here and in the tests of
    // the others.
    #[test]
    fn established_data_comes_back() {
        let mut rig = Rig::new(Echo, 1000);
        rig.accept();
        rig.deliver(b"abc");
        assert_eq!(rig.read_all(), b"abc");
        assert_eq!(rig.unconsumed(), 0);
    }

    #[test]
    fn established_full_send_buffer_leaves_the_rest_unconsumed() {
        let mut rig = Rig::new(Echo, 4);
        rig.accept();
        rig.deliver(b"abcdefghij");
        assert_eq!(rig.unconsumed(), 6);
        assert_eq!(rig.read(3), b"abc");
        assert_eq!(rig.unconsumed(), 3);
        assert_eq!(rig.read_all(), b"defghij");
    }

    #[test]
    fn close_wait_closes_only_after_everything_was_sent() {
        let mut rig = Rig::new(Echo, 4);
        rig.accept();
        rig.deliver(b"abcdef");
        rig.fin();
        assert!(!rig.is_closed());
        assert_eq!(rig.read_all(), b"abcdef");
        assert!(rig.is_closed());
    }
}

//! Closing in the midst of a call, and what the peer gets to see of it.

use super::raw::{ACK, FIN, RST, Raw, Says, syn};
use super::*;

/// Takes this many octets of the first text, and closes for good.
struct Bites(usize);

impl Service for Bites {
    fn on_data(&mut self, conn: &mut dyn Connection, _data: &[u8]) -> usize {
        conn.close();
        self.0
    }

    fn on_peer_fin(&mut self, _conn: &mut dyn Connection) {
        panic!("a service that has closed for good is not called");
    }
}

fn serving(bite: usize) -> Raw {
    Raw::serving(Box::new(Bites(bite)))
}

// RFC 9293 3.6.1 (SHLD-3): what it leaves of a segment in its hands is unread data too.
// CM-5.e
#[test]
fn established_close_that_leaves_a_part_of_the_text_is_a_reset() {
    let mut raw = serving(3);
    let syn_ack = raw.open(1000);
    let sent = raw.hear(Says { text: b"abcdef", ..syn(1000).answer(&syn_ack) });
    assert_eq!(sent.len(), 1);
    assert!(sent[0].is(RST.union(ACK)));
    assert_eq!((raw.shard.flows(), raw.shard.buffered()), (0, 0));
    assert_eq!(raw.count(Counter::AbortsOnClose), 1);
}

#[test]
fn established_close_that_takes_all_of_the_text_is_a_fin() {
    let mut raw = serving(6);
    let syn_ack = raw.open(1000);
    let says = syn(1000).answer(&syn_ack);
    let sent = raw.hear(Says { text: b"abcdef", ..says });
    assert!(sent[0].is(FIN.union(ACK)));
    assert_eq!(raw.shard.orphans(), 1);
    // The peer's FIN comes with the acknowledgment of ours: nobody is told, and TIME-WAIT follows.
    let fin = Says { seq: says.seq + 6, ack: says.ack + 1, flags: FIN.union(ACK), ..says };
    raw.hear(fin);
    assert_eq!((raw.shard.orphans(), raw.shard.flows()), (0, 1));
}

// Text and FIN in one segment, of which a part is read: the peer waits for nothing, and gets a RST
// where our side of the connection was still open.
#[test]
fn established_close_that_leaves_text_before_a_fin_is_a_reset() {
    let mut raw = serving(3);
    let syn_ack = raw.open(1000);
    let says = Says { text: b"abcdef", flags: FIN.union(ACK), ..syn(1000).answer(&syn_ack) };
    let sent = raw.hear(says);
    assert!(sent.iter().any(|hears| hears.is(RST.union(ACK))), "{sent:?}");
    assert_eq!(raw.shard.flows(), 0);
}

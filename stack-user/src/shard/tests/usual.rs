//! Segments that come alone, whose connection is looked for where the last one was.

use super::raw::{ACK, FIN, Hears, RST, Raw, Says, full_syn, syn};
use crate::tables::listeners::{Accepts, ListenerId};
use crate::tables::slab::TcbId;
use crate::tcp;

/// A connection, and what its peer says next.
struct Open {
    id: TcbId,
    next: Says,
}

fn listening() -> (Raw, ListenerId) {
    Raw::listening(|listener| listener.accepts = Accepts::OnCall, |_| {})
}

fn open(raw: &mut Raw, listener: ListenerId, port: u16) -> Open {
    let syn_ack = raw.answer(full_syn(port, 1));
    let ack = syn(port).answer(&syn_ack);
    raw.hear(ack);
    let id = raw.shard.accept(listener, raw.now).expect("it is open");
    raw.told();
    Open { id, next: ack }
}

impl Open {
    /// The peer says this, alone; what answers.
    fn says(&mut self, raw: &mut Raw, text: &'static [u8]) -> Vec<Hears> {
        let heard = raw.hear(Says { text, ..self.next });
        self.next.seq += text.len() as u32;
        heard
    }
}

#[test]
fn lone_segments_of_connections_in_turn_reach_their_own() {
    let (mut raw, listener) = listening();
    let mut conns = [2000, 3000].map(|port| open(&mut raw, listener, port));
    for turn in [0, 0, 1, 0, 1, 1, 0] {
        let conn = &mut conns[turn];
        conn.says(&mut raw, b"text");
        assert_eq!(raw.told(), [format!("{}: text", conn.next.port)]);
    }
}

#[test]
fn lone_segment_of_a_name_that_was_closed_and_opened_again_is_of_the_new_one() {
    let (mut raw, listener) = listening();
    let mut first = open(&mut raw, listener, 2000);
    first.says(&mut raw, b"old");
    assert_eq!(raw.told(), ["2000: old"]);
    // The peer resets it, and opens another with the same name.
    raw.hear(Says { flags: RST, ..first.next });
    raw.told();
    let stray = first.says(&mut raw, b"lost");
    assert!(stray.iter().all(|heard| heard.flags.has(RST)) && !stray.is_empty(), "{stray:?}");
    assert!(raw.told().is_empty(), "nobody has it");
    let mut second = open(&mut raw, listener, 2000);
    assert_ne!(second.id, first.id);
    second.says(&mut raw, b"new");
    assert_eq!(raw.told(), ["2000: new"]);
}

#[test]
fn lone_segment_behind_a_close_goes_the_long_way() {
    let (mut raw, listener) = listening();
    let mut conn = open(&mut raw, listener, 2000);
    conn.says(&mut raw, b"text");
    raw.shard.with(conn.id, raw.now, |conn| conn.shutdown_write());
    assert!(raw.sent().iter().any(|heard| heard.is(FIN.union(ACK))));
    // FIN-WAIT-1, then FIN-WAIT-2: text is taken still.
    conn.says(&mut raw, b"more");
    conn.next.ack += 1;
    conn.says(&mut raw, b"last");
    assert_eq!(raw.told(), ["2000: text", "2000: more", "2000: last"]);
}

#[test]
fn lone_acknowledgments_are_carried_as_the_configuration_says_now() {
    let (mut raw, listener) = listening();
    let mut conn = open(&mut raw, listener, 2000);
    // Its next hop is found for the first.
    conn.says(&mut raw, b"text");
    for (traffic_class, hop_limit) in [(0x28, 7), (0, 64)] {
        let tcp = raw.shard.core.config.tcp.clone();
        raw.shard.set_tcp(tcp::Config { traffic_class, hop_limit, ..tcp });
        let heard = conn.says(&mut raw, b"text");
        let carried: Vec<_> = heard.iter().map(|heard| heard.carried).collect();
        assert_eq!(carried, [(traffic_class, hop_limit)]);
    }
}

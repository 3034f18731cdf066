//! The pool of buffers, where connections have to share what is left of it.

use super::raw::{ACK, Raw, Says, syn};
use crate::service::Connection;
use crate::tables::listeners::Accepts;
use crate::tcp::Setting;

// A sender that found its buffer full, and whose text is acknowledged while others take what that
// frees, is told of the little room that is left: no acknowledgment will come any more to tell it.
#[test]
fn established_sender_hears_of_the_little_room_that_others_leave() {
    let (mut raw, listener) = Raw::listening(
        |listener| listener.accepts = Accepts::OnCall,
        |config| config.limits.buffers = 1 << 20,
    );
    raw.open(1000);
    let hungry = raw.shard.accept(listener, raw.now).expect("one waits");
    let syn_ack = raw.open(1001);
    let small = raw.shard.accept(listener, raw.now).expect("one waits");
    let take = |raw: &mut Raw| {
        let all = |conn: &mut dyn Connection| {
            conn.configure(Setting::SendBuffer(1 << 20)).expect("any connection may");
            conn.send(&vec![1; 1 << 20])
        };
        raw.shard.with(hungry, raw.now, all);
        raw.frames();
    };

    let now = raw.now;
    let taken = raw.shard.with(small, now, |conn| conn.send(&[1; 100_000])).expect("it is open");
    assert!(taken < 100_000);
    take(&mut raw);
    let ack = syn(1001).answer(&syn_ack);
    let mut left = taken as u32;
    while left > 0 {
        left = left.saturating_sub(10 * 1460);
        raw.hear(Says { ack: ack.ack + taken as u32 - left, flags: ACK, ..ack });
        take(&mut raw);
    }
    assert!(raw.told().contains(&"1001: writable".to_owned()));
}

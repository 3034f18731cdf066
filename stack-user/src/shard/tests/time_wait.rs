//! TIME-WAIT through a shard: 2MSL, what it answers, and who may take its name.

use super::raw::*;
use super::*;
use crate::shard::{Open, OpenError};
use crate::tables::listeners::{Accepts, ListenerId};
use crate::wire::tcp::{Options, Timestamps};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn listening(adjust: impl FnOnce(&mut ShardConfig)) -> (Raw, ListenerId) {
    Raw::listening(|listener| listener.accepts = Accepts::OnCall, adjust)
}

fn stamped(says: Says, value: u32) -> Says {
    let timestamps = Some(Timestamps { value, echo: 0 });
    Says { options: Options { timestamps, ..says.options }, ..says }
}

fn count(raw: &Raw) -> u32 {
    raw.shard.census()[State::TimeWait as usize]
}

// RFC 9293 3.10.7.4 (CM-6.c): a repeated FIN is acknowledged, each time, and 2MSL begins anew.
#[test]
fn time_wait_repeated_fin_is_acknowledged_and_restarts_2msl() {
    let (mut raw, id) = listening(|_| {});
    let (snd_nxt, rcv_nxt) = raw.time_wait(id, 1000, None);
    let fin = Says { seq: rcv_nxt - 1, ack: snd_nxt, flags: FIN.union(ACK), ..syn(1000) };
    raw.pass(secs(40));
    for _ in 0..3 {
        let ack = raw.answer(fin);
        assert_eq!((ack.flags, ack.seq, ack.ack), (ACK, snd_nxt, rcv_nxt));
    }
    raw.pass(secs(59));
    assert_eq!(count(&raw), 1);
    raw.pass(secs(2));
    assert_eq!((count(&raw), raw.shard.flows()), (0, 0));
}

// RFC 1337 (CM-6.d): neither RST nor an old segment ends it or prolongs it.
#[test]
fn time_wait_old_segments_and_rst_change_nothing() {
    let (mut raw, id) = listening(|_| {});
    let (snd_nxt, rcv_nxt) = raw.time_wait(id, 1000, None);
    raw.pass(secs(40));
    let says = |seq, flags| Says { seq, ack: snd_nxt, flags, ..syn(1000) };
    for seq in [rcv_nxt - 1, rcv_nxt, rcv_nxt + 1] {
        raw.hear(says(seq, RST));
        raw.hear(says(seq, RST.union(ACK)));
    }
    raw.hear(says(rcv_nxt, ACK));
    raw.hear(Says { text: b"old", ..says(rcv_nxt - 10, ACK) });
    assert_eq!(count(&raw), 1);
    raw.pass(secs(21));
    assert_eq!(count(&raw), 0);
}

#[test]
fn time_wait_what_does_not_fit_is_answered_within_a_limit() {
    let (mut raw, id) = listening(|_| {});
    let (snd_nxt, rcv_nxt) = raw.time_wait(id, 1000, None);
    let old = Says { seq: rcv_nxt - 10, ack: snd_nxt, flags: ACK, ..syn(1000) };
    let answers: usize = (0..100).map(|_| raw.hear(old).len()).sum();
    assert_eq!((answers, raw.count(Counter::ChallengeAcksLimited)), (1, 99));
    raw.pass(Duration::from_millis(500));
    assert!(raw.answer(old).is(ACK));
}

// RFC 7323 5.3: a FIN with an old timestamp does not renew the record.
#[test]
fn time_wait_paws_rejects_what_is_older() {
    let (mut raw, id) = listening(|_| {});
    let (snd_nxt, rcv_nxt) = raw.time_wait(id, 1000, Some(5_000));
    let fin = Says { seq: rcv_nxt - 1, ack: snd_nxt, flags: FIN.union(ACK), ..syn(1000) };
    raw.pass(secs(40));
    assert!(raw.answer(stamped(fin, 4_999)).is(ACK));
    assert_eq!(raw.count(Counter::PawsDropped), 1);
    raw.pass(secs(21));
    assert_eq!(count(&raw), 0);
}

// RFC 9293 3.6.1 (SHLD-4, MAY-2), CM-6.e. RFC 6191 section 2, case by case: timestamps of the old
// connection, of the new one, and the sequence number after or before the last one seen.
#[test]
fn time_wait_syn_takes_the_name_as_rfc_6191_says() {
    let cases: [(Option<u32>, Option<u32>, i32, bool); 11] = [
        (Some(5_000), Some(5_001), -1_000, true),
        (Some(5_000), Some(5_001), 1_000, true),
        (Some(5_000), Some(5_000), 1_000, true),
        (Some(5_000), Some(5_000), -1_000, false),
        (Some(5_000), Some(4_999), 1_000, false),
        (Some(5_000), None, 1_000, true),
        (Some(5_000), None, -1_000, false),
        (None, Some(1), -1_000, true),
        (None, Some(1), 1_000, true),
        (None, None, 1_000, true),
        (None, None, -1_000, false),
    ];
    for (old, new, by, opens) in cases {
        let (mut raw, id) = listening(|_| {});
        let (snd_nxt, rcv_nxt) = raw.time_wait(id, 1000, old);
        let asked = Says { seq: rcv_nxt.wrapping_add_signed(by), ..syn(1000) };
        let answer = raw.answer(new.map_or(asked, |value| stamped(asked, value)));
        let case = format!("{old:?} {new:?} {by}");
        if !opens {
            assert_eq!((answer.flags, answer.ack, count(&raw)), (ACK, rcv_nxt, 1), "{case}");
            continue;
        }
        assert_eq!((answer.flags, answer.ack), (SYN.union(ACK), asked.seq + 1), "{case}");
        // RFC 9293 3.10.7.4 (MAY-2): above every number of the old connection.
        assert!((answer.seq.wrapping_sub(snd_nxt) as i32) > 0, "{case}");
        assert_eq!((count(&raw), raw.count(Counter::TimeWaitReuses)), (0, 1), "{case}");
        assert_eq!(raw.shard.flows(), 1);
        raw.hear(syn(1000).answer(&answer));
        assert_eq!(raw.shard.waiting(id), 1, "{case}");
    }
}

// Linux: a reused name needs no room in the SYN queue, and no cookie.
#[test]
fn time_wait_syn_takes_the_name_though_the_syn_queue_is_full() {
    let (mut raw, id) = listening(|config| config.tcp.syn_cookies = crate::tcp::SynCookies::Always);
    let (snd_nxt, rcv_nxt) = raw.time_wait(id, 1000, None);
    let sent = raw.count(Counter::CookiesSent);
    let answer = raw.answer(Says { seq: rcv_nxt + 9, ..syn(1000) });
    assert!((answer.seq.wrapping_sub(snd_nxt) as i32) > 0);
    assert_eq!(raw.count(Counter::CookiesSent), sent);
    assert_eq!(raw.shard.census()[State::SynReceived as usize], 1);
}

// CM-6.f.
#[test]
fn time_wait_syn_without_listener_leaves_it() {
    let (mut raw, id) = listening(|_| {});
    let (_, rcv_nxt) = raw.time_wait(id, 1000, None);
    raw.shard.unlisten(id, raw.now);
    raw.hear(Says { seq: rcv_nxt + 9, ..syn(1000) });
    assert_eq!(count(&raw), 1);
    // A new listener of the port stands in nobody's way, and takes the name over.
    let listener = Listener { accepts: Accepts::OnCall, ..Listener::new(None, PORT, 0) };
    raw.shard.listen(listener, raw.now).expect("TIME-WAIT does not hold the port");
    assert!(raw.answer(Says { seq: rcv_nxt + 9, ..syn(1000) }).is(SYN.union(ACK)));
}

// CM-6.g. Linux's tcp_max_tw_buckets: beyond the bound a connection ends without TIME-WAIT,
// counted.
#[test]
fn time_wait_full_table_ends_the_connection_at_once() {
    let (mut raw, id) = listening(|config| config.limits.time_wait = 1);
    raw.time_wait(id, 1000, None);
    let (snd_nxt, rcv_nxt) = raw.time_wait(id, 1001, None);
    assert_eq!((raw.count(Counter::TimeWaitOverflow), raw.shard.flows()), (1, 1));
    let fin = Says { seq: rcv_nxt - 1, ack: snd_nxt, flags: FIN.union(ACK), ..syn(1001) };
    assert!(raw.answer(fin).is(RST));
}

fn open(port: Option<u16>) -> Open {
    let local = Some(addr(1));
    Open {
        local,
        local_port: port,
        remote: addr(2),
        remote_port: 1000,
        service: 0,
        settings: Vec::new(),
        user: 0,
    }
}

// Linux's tcp_tw_reuse: our own open takes the name a second later, if timestamps tell the two apart.
#[test]
fn time_wait_own_open_takes_the_name_after_a_second() {
    let (mut raw, id) = listening(|_| {});
    let (snd_nxt, _) = raw.time_wait(id, 1000, Some(5_000));
    assert_eq!(raw.shard.open(&open(Some(PORT)), raw.now), Err(OpenError::InUse));
    raw.pass(secs(1));
    assert_eq!(raw.shard.open(&open(Some(PORT)), raw.now), Err(OpenError::InUse));
    raw.pass(Duration::from_millis(1));
    raw.shard.open(&open(Some(PORT)), raw.now).expect("the record gives way");
    let sent = raw.sent();
    assert_eq!((sent.len(), sent[0].flags), (1, SYN));
    assert!((sent[0].seq.wrapping_sub(snd_nxt) as i32) > 0);
    assert_eq!((count(&raw), raw.shard.flows(), raw.count(Counter::TimeWaitReuses)), (0, 1, 1));
}

#[test]
fn time_wait_own_open_without_timestamps_waits_to_the_end() {
    let (mut raw, id) = listening(|_| {});
    raw.time_wait(id, 1000, None);
    raw.pass(secs(59));
    assert_eq!(raw.shard.open(&open(Some(PORT)), raw.now), Err(OpenError::InUse));
    raw.pass(secs(2));
    assert!(raw.shard.open(&open(Some(PORT)), raw.now).is_ok());
}

#[test]
fn time_wait_own_open_takes_it_only_when_no_port_is_free() {
    // Only the port that the listener had, and one more.
    let (mut raw, id) = listening(|config| config.local_ports = PORT..=PORT + 1);
    raw.time_wait(id, 1000, Some(5_000));
    raw.shard.unlisten(id, raw.now);
    raw.pass(secs(2));
    let ports: Vec<_> = (0..3)
        .map(|_| {
            let id = raw.shard.open(&open(None), raw.now)?;
            Ok(raw.shard.with(id, raw.now, |conn| conn.tuple().local_port))
        })
        .collect();
    assert_eq!(ports, [Ok(Some(PORT + 1)), Ok(Some(PORT)), Err(OpenError::NoPort)]);
}

// As on Linux: a port that is listened on is not chosen.
#[test]
fn closed_open_does_not_choose_the_port_of_a_listener() {
    let (mut raw, _) = listening(|config| config.local_ports = PORT..=PORT);
    assert_eq!(raw.shard.open(&open(None), raw.now), Err(OpenError::NoPort));
    assert!(raw.shard.open(&open(Some(PORT)), raw.now).is_ok(), "it may be asked for");
}

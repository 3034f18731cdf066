//! How long a connection waits, and what its user is told: opens that fail, user timeouts.

use sluice::counters::Counter;
use sluice::tcp::{CloseReason, Setting, State};
use sluice::time::Duration;
use sluice::wire::tcp::Flags;

use crate::impairment::Impairment;
use crate::network::Fate;
use crate::user::{Pair, Told};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

// RFC 9293 3.8.3 (MUST-22, MUST-23): 247 seconds of SYNs.
// CM-2.c CM-2.f
#[test]
fn syn_sent_nobody_answers_times_out_after_247_seconds() {
    let mut pair = Pair::new();
    // ARP is answered: it is the host that says nothing.
    pair.net.filter = Box::new(|sight| if sight.is_discovery { Fate::Carry } else { Fate::Drop });
    pair.open(vec![]);
    pair.run(secs(246));
    assert_eq!(pair.told(0), []);
    pair.run(secs(2));
    assert_eq!(pair.told(0), [Told::Closed(CloseReason::TimedOut)]);
    pair.net.nodes[0].assert_clean();
}

// CM-2.f
#[test]
fn syn_sent_reset_after_the_handshake_is_no_refusal() {
    let mut pair = Pair::new();
    let ids = pair.connect(vec![]);
    pair.on(1, ids[1], |conn| conn.abort());
    pair.run(secs(1));
    assert_eq!(pair.told(0), [Told::Opened, Told::Closed(CloseReason::Reset)]);
}

#[test]
fn syn_sent_user_timeout_is_the_connect_timeout() {
    let mut pair = Pair::new();
    pair.net.filter = Box::new(|sight| if sight.is_discovery { Fate::Carry } else { Fate::Drop });
    pair.open(vec![Setting::UserTimeout(Some(secs(4)))]);
    pair.run(Duration::from_millis(3_990));
    assert_eq!(pair.told(0), []);
    pair.run(Duration::from_millis(50));
    assert_eq!(pair.told(0), [Told::Closed(CloseReason::TimedOut)]);
}

// RFC 9293 3.8.3 (MUST-20): at R1 the network layer hears of it: the next hop is asked again, long
// before its turn. The user takes no reports, and is none the worse (RFC 9293 3.9.1.8: SHLD-20).
#[test]
fn established_third_timeout_asks_for_the_next_hop() {
    let mut pair = Pair::new();
    let ids = pair.connect(vec![]);
    pair.net.filter = Box::new(|sight| if sight.is_discovery { Fate::Carry } else { Fate::Drop });
    let question = crate::FAMILY.question();
    let asked = pair.net.nodes[0].count(question);
    pair.on(0, ids[0], |conn| conn.send(b"text"));
    pair.run(Duration::from_millis(1_000));
    assert_eq!(pair.net.nodes[0].count(question), asked);
    pair.run(Duration::from_millis(1_500));
    assert_eq!(pair.net.nodes[0].count(question), asked + 1);
}

// CM-8.d
#[test]
fn established_user_timeout_outlives_an_outage_or_does_not() {
    for (timeout, survives) in [(30, false), (3_000, true)] {
        let mut pair = Pair::new();
        let ids = pair.connect(vec![Setting::UserTimeout(Some(secs(timeout)))]);
        let from = pair.net.now;
        let until = from + secs(1_500);
        pair.net.filter = Box::new(move |sight| {
            let is_lost = !sight.is_discovery && sight.at < until;
            if is_lost { Fate::Drop } else { Fate::Carry }
        });
        pair.on(0, ids[0], |conn| conn.send(b"text"));
        pair.run(secs(1_800));
        let expected = if survives { State::Established } else { State::Closed };
        assert_eq!(pair.state(0, ids[0]), expected);
        assert_eq!(pair.scribes[1].notes().text.len(), if survives { 4 } else { 0 });
    }
}

// RFC 5482: one end tells, the other follows.
// CM-4.g
#[test]
fn established_user_timeout_is_told_and_followed() {
    let mut pair = Pair::with(Impairment::default(), 1, |config| match config.mac.0[5] {
        1 => config.tcp.advertise_user_timeout = Some(secs(2_000)),
        _ => config.tcp.adopt_user_timeout = true,
    });
    let ids = pair.connect(vec![]);
    pair.run(secs(1));
    pair.net.filter = Box::new(|sight| if sight.is_discovery { Fate::Carry } else { Fate::Drop });
    pair.on(1, ids[1], |conn| conn.send(b"text"));
    pair.run(secs(1_990));
    assert_eq!(pair.state(1, ids[1]), State::Established);
    pair.run(secs(20));
    assert_eq!(pair.told(1), [Told::Opened, Told::Closed(CloseReason::TimedOut)]);
}

// RFC 5482 3.1: off by default, on the wire as well.
#[test]
fn established_user_timeout_option_is_not_sent_unless_asked_for() {
    let mut pair = Pair::new();
    pair.net.filter = Box::new(|sight| {
        let told = sight.segment.and_then(|segment| segment.options.user_timeout);
        assert_eq!(told, None);
        Fate::Carry
    });
    let ids = pair.connect(vec![]);
    pair.on(0, ids[0], |conn| conn.send(b"text"));
    pair.run(secs(5));
}

// The client of a published capture, from end to end: ten repetitions of its FIN, then RST.
// CM-5.a CM-11.b
#[test]
fn fin_wait_1_peer_that_never_acknowledges_our_fin_gets_ten_and_a_rst() {
    let mut pair = Pair::with(Impairment::default(), 1, |config| config.tcp.orphan_retries = 10);
    let ids = pair.connect(vec![]);
    pair.run(secs(1));
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = seen.clone();
    pair.net.filter = Box::new(move |sight| {
        if let Some(segment) = sight.segment
            && sight.from == 0
        {
            kept.lock().expect("no panic before").push((segment.flags, segment.seq));
        }
        if sight.is_discovery { Fate::Carry } else { Fate::Drop }
    });
    pair.on(0, ids[0], |conn| conn.close());
    pair.run(secs(1_000));
    let seen = seen.lock().expect("no panic before");
    let (last, fins) = seen.split_last().expect("segments were sent");
    let fin = Flags::FIN.union(Flags::ACK);
    assert_eq!(fins.len(), 11);
    assert!(fins.iter().all(|sent| *sent == (fin, fins[0].1)));
    assert_eq!(*last, (Flags::RST.union(Flags::ACK), fins[0].1 + 1));
    assert_eq!(pair.told(0), [Told::Opened, Told::Closed(CloseReason::TimedOut)]);
    assert_eq!(pair.net.nodes[0].count(Counter::AbortsOnTimeout), 1);
}

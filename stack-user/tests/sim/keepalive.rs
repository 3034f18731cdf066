//! Idle connections: peers that are there, that are gone, and that came back without a memory.

use sluice::counters::Counter;
use sluice::tcp::{CloseReason, KeepAlive, Setting, State, Unreachable};
use sluice::time::Duration;
use sluice::wire::tcp::Flags;

use crate::impairment::Impairment;
use crate::network::Fate;
use crate::user::{Pair, Told};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn keepalive() -> Setting {
    Setting::KeepAlive(Some(KeepAlive { idle: secs(600), interval: secs(75), count: 9 }))
}

/// From now on nothing arrives anywhere.
fn cut(pair: &mut Pair) {
    pair.net.filter = Box::new(|_| Fate::Drop);
}

// RFC 9293 3.8.4 (MUST-25): nothing is ever sent on an idle connection, and it lasts.
// CM-8.b
#[test]
fn established_idle_connection_is_silent_for_a_week() {
    let mut pair = Pair::new();
    let ids = pair.connect(vec![]);
    pair.run(secs(2));
    let sent = pair.net.sent;
    pair.run(secs(7 * 86_400));
    assert_eq!(pair.net.sent, sent);
    for (node, id) in ids.into_iter().enumerate() {
        assert_eq!(pair.state(node, id), State::Established);
    }
}

// RFC 9293 3.8.4: a peer that answers keeps its connection for as long as it likes.
// CM-8.a
#[test]
fn established_idle_peer_that_answers_is_kept() {
    for loss in [0.0, 0.3] {
        let mut pair = Pair::with(Impairment::loss(loss), 3, |_| {});
        let ids = pair.connect(vec![keepalive()]);
        pair.run(secs(86_400));
        assert_eq!(pair.state(0, ids[0]), State::Established);
        let probes = pair.net.nodes[0].count(Counter::KeepAliveProbes);
        assert!((120..400).contains(&probes), "{probes}");
    }
}

// RFC 9293 3.8.4 (MUST-29).
#[test]
fn established_idle_peer_that_is_gone_is_given_up() {
    let mut pair = Pair::new();
    let ids = pair.connect(vec![keepalive()]);
    pair.run(secs(10));
    cut(&mut pair);
    pair.run(secs(600 + 8 * 75));
    assert_eq!(pair.state(0, ids[0]), State::Established);
    pair.run(secs(2 * 75));
    // The peer does not answer ARP either.
    let reason = CloseReason::Unreachable(Unreachable::NextHop);
    assert_eq!(pair.told(0), [Told::Opened, Told::Closed(reason)]);
    assert_eq!(pair.net.nodes[0].count(Counter::KeepAliveDrops), 1);
}

// RFC 9293 3.5.1: the probe finds a peer that has forgotten the connection.
// CM-7.f
#[test]
fn established_idle_peer_that_rebooted_answers_with_rst() {
    let mut pair = Pair::new();
    pair.connect(vec![keepalive()]);
    pair.run(secs(10));
    pair.reboot(1);
    pair.run(secs(700));
    assert_eq!(pair.told(0), [Told::Opened, Told::Closed(CloseReason::Reset)]);
}

// RFC 9293 figure 10: data finds it.
// CM-7.f
#[test]
fn established_data_to_a_rebooted_peer_is_answered_with_rst() {
    let mut pair = Pair::new();
    let ids = pair.connect(vec![]);
    pair.run(secs(10));
    pair.reboot(1);
    pair.on(0, ids[0], |conn| conn.send(b"are you there?"));
    pair.run(secs(1));
    assert_eq!(pair.told(0), [Told::Opened, Told::Closed(CloseReason::Reset)]);
}

// RFC 9293 figure 9: the end that rebooted opens again from the same port. The other challenges the
// SYN, believes the RST that follows, and takes the SYN when it comes again.
// CM-7.f
#[test]
fn established_syn_of_a_rebooted_peer_ends_the_old_and_opens_the_new() {
    let mut pair =
        Pair::with(Impairment::default(), 1, |config| config.local_ports = 40_000..=40_000);
    pair.connect(vec![]);
    pair.run(secs(10));
    pair.reboot(0);
    assert_eq!(pair.told(0), [Told::Opened]);
    // The new node's range is another: the same port is asked for.
    let open = sluice::shard::Open {
        local: None,
        local_port: Some(40_000),
        remote: crate::node::addr(2),
        remote_port: crate::node::PORT,
        service: 0,
        settings: vec![],
        user: 0,
    };
    let now = pair.net.now;
    let id = pair.net.nodes[0].shard.open(&open, now).expect("the port is free");
    pair.run(secs(5));
    assert_eq!(pair.state(0, id), State::Established);
    assert_eq!(pair.told(1), [Told::Opened, Told::Closed(CloseReason::Reset)]);
    assert_eq!(pair.net.nodes[1].count(Counter::ChallengeAcks), 1);
}

// Nothing but a probe is sent, and it is what RFC 9293 3.8.4 (SHLD-12) says.
#[test]
fn established_probe_is_one_number_before_and_empty() {
    let mut pair = Pair::new();
    pair.connect(vec![keepalive()]);
    pair.run(secs(10));
    pair.net.filter = Box::new(|sight| {
        if let Some(segment) = sight.segment {
            assert!(segment.payload.is_empty() && segment.flags == Flags::ACK);
        }
        Fate::Carry
    });
    let sent = pair.net.sent;
    pair.run(secs(600));
    assert!(pair.net.sent > sent);
}

//! Opening a connection, with and without losses.

use sluice::counters::Counter;
use sluice::tables::listeners::{Accepts, Listener};
use sluice::tcp::{CloseReason, State, Unreachable};
use sluice::time::Duration;
use sluice::wire::tcp::{Flags, Packet};

use crate::impairment::Impairment;
use crate::network::{Fate, drop_first};
use crate::node::{PORT, addr};
use crate::path::Path;
use crate::peer::{Close, plans};

fn path(there: u64, back: u64) -> Path {
    Path::new(plans(there, back), Impairment::default(), 1)
}

fn is_syn(segment: &Packet<'_>) -> bool {
    segment.flags.has(Flags::SYN) && !segment.flags.has(Flags::ACK)
}

fn is_syn_ack(segment: &Packet<'_>) -> bool {
    segment.flags.has(Flags::SYN) && segment.flags.has(Flags::ACK)
}

fn is_bare_ack(segment: &Packet<'_>) -> bool {
    segment.flags.has(Flags::ACK) && segment.sequence_len() == 0
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn closed_open_reaches_established_on_both_ends_in_a_round_trip_and_a_half() {
    let mut plans = plans(0, 0);
    plans.iter_mut().for_each(|plan| plan.close = Close::Never);
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.net.connect();
    path.net.run_for(ms(100));
    for (node, log) in path.net.nodes.iter().zip(&path.logs) {
        assert_eq!(node.in_state(State::Established), 1);
        assert_eq!(node.count(Counter::Established), 1);
        assert_eq!(log.conns().len(), 1);
    }
    // ARP takes a round trip before the SYN does.
    assert_eq!(path.logs[0].only().opened.as_millis(), 40);
    assert_eq!(path.logs[1].only().opened.as_millis(), 50);
}

// RFC 9293 3.7.1 (MUST-14, SHLD-5, MAY-3), CM-4.a, CM-4.b, CM-4.c.
#[test]
fn listen_syn_offers_are_answered_in_kind() {
    let mut path = path(0, 0);
    let (seen, log) = std::sync::mpsc::channel();
    path.net.filter = Box::new(move |sight| {
        if let Some(segment) = sight.segment.filter(|s| s.flags.has(Flags::SYN)) {
            seen.send(segment.options).expect("the receiver outlives the run");
        }
        Fate::Carry
    });
    path.transfer(1, ms(1_000));
    drop(path);
    let offers: Vec<_> = log.iter().collect();
    assert_eq!(offers.len(), 2, "one SYN, one SYN-ACK");
    for options in offers {
        assert_eq!(options.mss, Some(1500 - crate::FAMILY.headers() as u16));
        assert!(options.window_scale.is_some());
        assert!(options.sack_permitted);
        assert!(options.timestamps.is_some());
    }
}

// CM-2.f.
#[test]
fn syn_sent_refused_port_is_told_after_one_round_trip() {
    let mut path = path(1, 1);
    path.net.nodes[0].connect(2, PORT + 1, path.net.now);
    path.net.run_for(ms(100));
    assert_eq!(path.logs[0].failed(), [CloseReason::Refused]);
    assert!(path.logs[1].conns().is_empty());
    assert_eq!(path.net.nodes[1].count(Counter::ResetsOut), 1);
    path.assert_clean();
}

#[test]
fn syn_sent_lost_syn_is_sent_again_after_a_second() {
    let mut path = path(1_000, 1_000);
    path.net.filter = drop_first(1, |_, segment| is_syn(segment));
    path.transfer(1, ms(5_000));
    assert!((1_000..1_100).contains(&path.logs[0].only().opened.as_millis()));
    path.assert_clean();
}

// CM-10.d.
#[test]
fn syn_received_lost_syn_ack_is_sent_again() {
    let mut path = path(1_000, 1_000);
    path.net.filter = drop_first(1, |_, segment| is_syn_ack(segment));
    path.transfer(1, ms(5_000));
    assert!((1_000..1_100).contains(&path.logs[0].only().opened.as_millis()));
    path.assert_clean();
}

// CM-10.a.
#[test]
fn syn_received_lost_final_ack_is_made_up_by_data() {
    let mut path = path(1_000, 1_000);
    path.net.filter = drop_first(1, |from, segment| from == 0 && is_bare_ack(segment));
    path.transfer(1, ms(1_000));
    path.assert_clean();
}

// CM-10.b.
#[test]
fn syn_received_lost_final_ack_without_data_is_made_up_by_the_syn_ack() {
    let mut plans = plans(0, 5_000);
    plans[0].close = Close::AfterPeer;
    plans[1].close = Close::AfterSending;
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.net.filter = drop_first(1, |from, segment| from == 0 && is_bare_ack(segment));
    path.transfer(1, ms(5_000));
    assert_eq!(path.net.nodes[1].count(Counter::SynAckRetransmits), 1);
    path.assert_clean();
}

// CM-2.f.
#[test]
fn syn_sent_peer_that_never_answers_times_out() {
    let mut path = path(1, 1);
    path.net.filter = drop_first(usize::MAX, |_, segment| is_syn(segment));
    path.net.connect();
    path.net.run_to_end(Duration::from_secs(300));
    assert_eq!(path.logs[0].failed(), [CloseReason::TimedOut]);
    // RFC 9293 3.8.3 (MUST-23): the limit for a SYN is at least three minutes.
    assert!(path.net.now.as_millis() >= 180_000, "{:?}", path.net.now);
    path.assert_clean();
}

// CM-2.d, CM-10.b.
#[test]
fn syn_received_client_that_vanished_is_forgotten() {
    let mut path = path(1, 1);
    path.net.filter = drop_first(usize::MAX, |from, segment| from == 0 && !is_syn(segment));
    path.net.connect();
    path.net.run_for(ms(100));
    assert_eq!(path.net.nodes[1].in_state(State::SynReceived), 1);
    path.net.run_for(Duration::from_secs(300));
    assert_eq!(path.net.nodes[1].in_state(State::SynReceived), 0);
    assert_eq!(path.net.nodes[1].shard.flows(), 0);
    assert!(path.logs[1].conns().is_empty());
}

#[test]
fn syn_sent_lost_arp_delays_the_open_only() {
    let mut path = path(1_000, 1_000);
    let mut left = 2;
    path.net.filter = Box::new(move |sight| {
        let is_meant = sight.is_discovery && left > 0;
        left -= i32::from(is_meant);
        if is_meant { Fate::Drop } else { Fate::Carry }
    });
    path.transfer(1, ms(10_000));
    path.assert_clean();
}

// RFC 9293 3.5 (MUST-10), CM-1.b.
#[test]
fn syn_sent_simultaneous_open_makes_one_connection() {
    // RFC 9293, figure 7: both ends open to each other's port at once.
    let mut plans = plans(20_000, 30_000);
    plans[1].close = Close::AfterSending;
    let mut path =
        Path::with(plans, Impairment::default(), 1, |config| config.local_ports = 40_000..=40_000);
    let now = path.net.now;
    path.net.nodes[0].connect(2, 40_000, now);
    path.net.nodes[1].connect(1, 40_000, now);
    let logs = path.logs.clone();
    path.net.run_until(ms(10_000), |_| logs.iter().all(|log| log.are_over(1)));
    path.assert_complete();
    path.assert_clean();
}

#[test]
fn listen_hundreds_of_connections_at_once_are_all_served() {
    let mut path = path(3_000, 7_000);
    path.transfer(500, ms(30_000));
    assert_eq!(path.net.nodes[1].count(Counter::PassiveOpens), 500);
    path.assert_clean();
}

#[test]
fn closed_second_open_from_the_only_port_fails_alone() {
    let mut plans = plans(0, 0);
    plans[0].close = Close::Never;
    let mut path =
        Path::with(plans, Impairment::default(), 1, |config| config.local_ports = 40_000..=40_000);
    path.net.connect();
    path.net.connect();
    path.net.run_for(ms(500));
    assert_eq!(path.logs[0].failed(), [CloseReason::NoResources]);
    assert_eq!(path.logs[0].conns().len(), 1);
}

// CM-2.f.
#[test]
fn syn_sent_address_that_nobody_has_is_unreachable() {
    let mut path = path(1, 1);
    let now = path.net.now;
    path.net.nodes[0].connect(9, PORT, now);
    path.net.run_for(Duration::from_secs(30));
    assert_eq!(path.logs[0].failed(), [CloseReason::Unreachable(Unreachable::NextHop)]);
    assert_ne!(addr(9), addr(2));
    path.assert_clean();
}

// As on Linux a connection that was reset before anybody accepted it is accepted, and then its end
// told.
#[test]
fn established_reset_before_accept_is_told_after_it() {
    let mut plans = plans(3_000, 3_000);
    plans[0].close = Close::AbortAfter(ms(200));
    let mut path = Path::new(plans, Impairment::default(), 1);
    let listener = Listener { accepts: Accepts::OnCall, ..Listener::new(None, PORT + 1, 0) };
    let id = path.net.nodes[1].shard.listen(listener, path.net.now).expect("the port is free");
    path.net.nodes[0].connect(2, PORT + 1, path.net.now);
    path.net.run_for(ms(1_000));
    assert!(path.logs[1].conns().is_empty());
    assert!(path.net.nodes[1].shard.accept(id, path.net.now).is_some());
    assert_eq!(path.logs[1].only().closed, Some(CloseReason::Reset));
    path.assert_clean();
}

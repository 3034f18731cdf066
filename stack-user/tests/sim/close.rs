//! Closing: half, at once, with losses, by reset, and what TIME-WAIT leaves.

use sluice::counters::Counter;
use sluice::shard::Command;
use sluice::tcp::{CloseReason, State, Unreachable};
use sluice::time::Duration;
use sluice::wire::tcp::Flags;

use crate::impairment::Impairment;
use crate::network::{Fate, drop_first};
use crate::path::Path;
use crate::peer::{Close, plans};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

// CM-1.d, CM-1.g: we close first.
#[test]
fn fin_wait_2_half_closed_end_reads_to_the_end() {
    let mut path = Path::new(plans(1_000, 4 << 20), Impairment::default(), 1);
    path.net.connect();
    let logs = path.logs.clone();
    path.net.run_until(secs(1), |_| {
        logs[1].conns().first().is_some_and(|seen| seen.peer_fin.is_some())
    });
    assert!(logs[0].only().received < 4 << 20, "the answer is still on its way");
    path.net.run_until(secs(20), |_| logs.iter().all(|log| log.are_over(1)));
    path.assert_complete();
    path.assert_clean();
}

// RFC 9293 3.6.1 (MUST-13), CM-6.b.
#[test]
fn time_wait_is_with_the_end_that_closed_first_and_expires() {
    let mut path = Path::new(plans(10, 10), Impairment::default(), 1);
    path.net.connect();
    path.net.run_for(secs(30));
    path.assert_complete();
    assert_eq!(path.net.nodes[0].in_state(State::TimeWait), 1);
    assert_eq!(path.net.nodes[0].shard.flows(), 1);
    path.net.nodes[1].assert_clean();
    path.net.run_for(secs(31));
    path.net.nodes[0].assert_clean();
}

// CM-1.c.
#[test]
fn established_simultaneous_close_leaves_time_wait_on_both_ends() {
    let mut plans = plans(5_000, 5_000);
    // The other end opens 10 ms later; 5 ms before the FIN arrives it closes too.
    plans[0].close = Close::After(Duration::from_millis(1_000));
    plans[1].close = Close::After(Duration::from_millis(995));
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.transfer(1, secs(5));
    for node in &path.net.nodes {
        assert_eq!(node.in_state(State::TimeWait), 1);
        assert_eq!(node.count(Counter::TimeWaits), 1);
        assert_eq!(node.count(Counter::Retransmits), 0);
    }
    path.assert_clean();
}

#[test]
fn fin_wait_1_lost_fin_is_sent_again() {
    for from in [0, 1] {
        let mut path = Path::new(plans(1_000, 1_000), Impairment::default(), 1);
        path.net.filter =
            drop_first(1, move |sender, segment| sender == from && segment.flags.has(Flags::FIN));
        path.transfer(1, secs(5));
        path.assert_clean();
    }
}

// CM-6.c.
#[test]
fn time_wait_lost_last_ack_is_sent_again() {
    let mut path = Path::new(plans(1_000, 1_000), Impairment::default(), 1);
    let mut has_fin = false;
    let mut left = 1;
    path.net.filter = Box::new(move |sight| {
        let Some(segment) = sight.segment else { return Fate::Carry };
        has_fin |= sight.from == 1 && segment.flags.has(Flags::FIN);
        if has_fin && sight.from == 0 && left > 0 {
            left -= 1;
            return Fate::Drop;
        }
        Fate::Carry
    });
    path.transfer(1, secs(10));
    assert!(path.net.nodes[1].count(Counter::Retransmits) > 0);
    path.assert_clean();
}

#[test]
fn last_ack_vanished_peer_times_out() {
    let mut path = Path::new(plans(1_000, 1_000), Impairment::default(), 1);
    let mut has_fin = false;
    path.net.filter = Box::new(move |sight| {
        let is_fin = sight.segment.is_some_and(|segment| segment.flags.has(Flags::FIN));
        has_fin |= sight.from == 1 && is_fin;
        match has_fin && sight.from == 0 {
            true => Fate::Drop,
            false => Fate::Carry,
        }
    });
    path.net.connect();
    path.net.run_to_end(secs(4_000));
    // Nor does it answer ARP any more, which explains the silence (RFC 9293 3.9.2.2: SHLD-25).
    let reason = CloseReason::Unreachable(Unreachable::NextHop);
    assert_eq!(path.logs[1].only().closed, Some(reason));
    // RFC 9293 3.8.3 (SHLD-11): R2 is at least 100 seconds.
    assert!(path.net.now.as_millis() >= 100_000);
    path.assert_clean();
}

// RFC 9293 3.6 (MUST-12), CM-2.f, CM-5.g: both users learn how it ended.
#[test]
fn established_abort_resets_the_peer() {
    let mut plans = plans(100_000, 100_000);
    plans[0].close = Close::AbortAfter(secs(1));
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.net.connect();
    path.net.run_for(secs(3));
    assert_eq!(path.logs[0].only().closed, Some(CloseReason::Aborted));
    assert_eq!(path.logs[1].only().closed, Some(CloseReason::Reset));
    path.net.nodes.iter().for_each(|node| node.assert_clean());
}

#[test]
fn established_abort_in_full_flow_leaves_nothing() {
    for seed in 1..20 {
        let mut plans = plans(50 << 20, 50 << 20);
        plans[0].close = Close::AbortAfter(Duration::from_millis(150 + seed * 7));
        let mut path = Path::new(plans, Impairment::loss(0.01), seed);
        path.net.connect();
        path.net.run_for(secs(200));
        assert_eq!(path.logs[0].only().closed, Some(CloseReason::Aborted));
        assert_eq!(path.logs[1].only().closed, Some(CloseReason::Reset));
        path.assert_clean();
    }
}

// CM-6.e.
#[test]
fn time_wait_new_syn_of_the_same_name_takes_its_place() {
    // RFC 9293 3.10.7.4 (MAY-2) with RFC 6191: the listener's end closes first.
    let mut plans = plans(1_000, 2_000);
    plans[0].close = Close::AfterPeer;
    plans[1].close = Close::AfterSending;
    let mut path =
        Path::with(plans, Impairment::default(), 1, |config| config.local_ports = 40_000..=40_000);
    for round in 1..=5 {
        path.net.connect();
        let logs = path.logs.clone();
        path.net.run_until(secs(5), |_| logs.iter().all(|log| log.are_over(round)));
        path.assert_complete();
        assert_eq!(path.net.nodes[1].in_state(State::TimeWait), 1);
        assert_eq!(path.net.nodes[1].count(Counter::TimeWaitReuses), round as u64 - 1);
        path.net.run_for(secs(2));
    }
    path.assert_clean();
}

#[test]
fn established_shutdown_closes_with_fin_and_resets_what_is_left() {
    let mut plans = plans(1_000, 1_000);
    plans[0].close = Close::Never;
    plans[1].close = Close::Never;
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.net.connect();
    path.net.run_for(secs(1));
    let (now, deadline) = (path.net.now, path.net.now + secs(2));
    path.net.nodes[1].shard.on_command(Command::Shutdown { deadline }, now);
    path.net.run_for(secs(1));
    assert!(path.logs[0].only().peer_fin.is_some());
    assert_eq!(path.logs[0].only().closed, None);
    path.net.run_for(secs(2));
    assert_eq!(path.logs[0].only().closed, Some(CloseReason::Reset));
    assert_eq!(path.logs[1].only().closed, Some(CloseReason::Aborted));
    path.net.connect();
    path.net.run_for(secs(20));
    assert_eq!(path.logs[1].conns().len(), 1, "no new connection during a shutdown");
}

#[test]
fn fin_wait_2_peer_that_never_closes_is_forgotten() {
    let mut plans = plans(1_000, 0);
    plans[0].close = Close::ForGood;
    plans[1].close = Close::Never;
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.net.connect();
    path.net.run_for(secs(30));
    assert_eq!(path.net.nodes[0].in_state(State::FinWait2), 1);
    path.net.run_for(secs(100));
    assert_eq!(path.net.nodes[0].in_state(State::FinWait2), 0);
}

//! Flow control: windows that close, and open again.

use sluice::counters::Counter;
use sluice::time::Duration;

use crate::impairment::Impairment;
use crate::network::Fate;
use crate::path::Path;
use crate::peer::{Close, plans};
use crate::seed;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn established_closed_window_holds_the_sender_and_opens_again() {
    let mut plans = plans(20 << 20, 0);
    plans[1].stall = Some((100_000, secs(60)));
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.net.connect();
    path.net.run_for(secs(30));
    let seen = path.logs[1].only();
    assert!(seen.received < 1 << 20, "{} octets were consumed", seen.received);
    assert!(path.net.nodes[1].shard.buffered() < 8 << 20, "the window bounds what is kept");
    // RFC 9293 3.8.6.1 (MUST-36): the sender probes.
    assert!(path.net.nodes[0].count(Counter::WindowProbes) > 0);
    let logs = path.logs.clone();
    path.net.run_until(secs(120), |_| logs.iter().all(|log| log.are_over(1)));
    path.assert_complete();
    path.assert_clean();
}

// RFC 9293 3.8.6.1 (MAY-8).
#[test]
fn established_window_closed_for_an_hour_is_survived() {
    // RFC 9293 3.8.6.1 (MUST-37): while the receiver answers, the connection stays.
    let mut plans = plans(1 << 20, 0);
    plans[1].stall = Some((0, secs(3_600)));
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.transfer(1, secs(3_800));
    path.assert_clean();
}

#[test]
fn established_lost_window_update_is_made_up_by_a_probe() {
    let mut plans = plans(1 << 20, 0);
    plans[1].stall = Some((10_000, secs(20)));
    let mut path = Path::new(plans, Impairment::default(), 1);
    let (from, until) = (path.net.now + secs(20), path.net.now + Duration::from_millis(20_500));
    path.net.filter = Box::new(move |sight| {
        let is_meant = sight.from == 1 && sight.at >= from && sight.at < until;
        if is_meant { Fate::Drop } else { Fate::Carry }
    });
    path.transfer(1, secs(200));
    path.assert_clean();
}

#[test]
fn established_both_windows_close_at_once() {
    let mut plans = plans(10 << 20, 10 << 20);
    plans[0].stall = Some((50_000, secs(15)));
    plans[1].stall = Some((200_000, secs(10)));
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.transfer(1, secs(120));
    path.assert_clean();
}

#[test]
fn close_wait_unread_data_before_the_fin_is_read_first() {
    // All the data and the FIN wait in the receive buffer while the reader stalls.
    let mut plans = plans(30_000, 0);
    plans[1].stall = Some((0, secs(10)));
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.net.connect();
    path.net.run_for(secs(9));
    assert_eq!((path.logs[1].only().received, path.logs[1].only().peer_fin), (0, None));
    path.net.run_for(secs(5));
    path.assert_complete();
    path.assert_clean();
}

#[test]
fn time_wait_unread_data_is_read_by_the_timer() {
    let mut plans = plans(1_000, 30_000);
    plans[0].stall = Some((0, secs(10)));
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.net.connect();
    path.net.run_for(secs(9));
    assert_eq!(path.logs[0].only().closed, None);
    path.net.run_for(secs(5));
    path.assert_complete();
    path.assert_clean();
}

#[test]
fn last_ack_unread_data_is_read_by_the_timer() {
    // The reader of the last data closes its own direction long before it reads.
    let mut plans = plans(30_000, 1 << 20);
    plans[1].stall = Some((0, secs(10)));
    plans[1].close = Close::AfterSending;
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.net.connect();
    path.net.run_for(secs(9));
    assert_eq!(path.logs[1].only().closed, None);
    path.net.run_for(secs(5));
    path.assert_complete();
    path.assert_clean();
}

#[test]
fn established_closed_window_under_loss_opens_again() {
    seed::each(20, |seed| {
        let mut plans = plans(300_000, 0);
        plans[1].stall = Some((seed * 1_000, secs(30)));
        let mut path = Path::new(plans, Impairment::loss(0.1), seed);
        path.transfer(1, secs(1_000));
        path.assert_clean();
    });
}

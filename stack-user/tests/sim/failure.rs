//! Connections that may fail: peers that fall silent, aborts, tables and pools that are too small.
//! They may fail in no other way than they say, and leave nothing behind.

use sluice::counters::Counter;
use sluice::shard::{Command, Limits, Open, ShardConfig};
use sluice::tcp::{self, CloseReason, Unreachable};
use sluice::time::{Duration, Instant};

use crate::impairment::Impairment;
use crate::network::{Fate, Network};
use crate::node::{Node, PORT, addr};
use crate::path::Path;
use crate::peer::{Close, Log, Plan, plans};
use crate::seed::{self, Rng};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// From `since` on nothing arrives.
fn silence(net: &mut Network, since: Instant) {
    net.filter = Box::new(move |sight| if sight.at >= since { Fate::Drop } else { Fate::Carry });
}

// RFC 9293 3.8.3: both ends give up after R2.
#[test]
fn established_silent_peer_times_out() {
    seed::each(20, |seed| {
        let mut path =
            Path::with(plans(50 << 20, 50 << 20), Impairment::default(), seed, |config| {
                config.tcp.retries = 6;
            });
        // Early enough that there is text left to send, whatever the seed.
        let since = Instant::from_millis(150 + 10 * (seed % 20));
        // Neighbours are found: it is the host that says nothing.
        path.net.filter = Box::new(move |sight| match sight.is_discovery || sight.at < since {
            true => Fate::Carry,
            false => Fate::Drop,
        });
        path.net.connect();
        let logs = path.logs.clone();
        // 200 ms doubled six times, and the wait after the last.
        path.net.run_until(secs(60), |_| logs.iter().all(|log| log.are_over(1)));
        for log in &path.logs {
            assert_eq!(log.only().closed, Some(CloseReason::TimedOut));
        }
        path.assert_clean();
    });
}

// The peer's FIN waits behind unread text when the service aborts: it is not told of an end that it
// did not read to.
#[test]
fn close_wait_abort_before_the_last_text_hides_the_fin() {
    let mut plans = plans(30_000, 0);
    plans[1].stall = Some((0, secs(1)));
    plans[1].close = Close::AbortAfter(secs(1));
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.net.connect();
    path.net.run_for(secs(3));
    let seen = path.logs[1].only();
    assert_eq!((seen.closed, seen.peer_fin), (Some(CloseReason::Aborted), None));
    assert_eq!(path.logs[0].only().closed, Some(CloseReason::Reset));
    path.assert_clean();
}

// Both pools are filled by other connections' unread and unsent text: a service that then finds no
// room to send is told when there is room again, though no acknowledgment comes for it.
#[test]
fn established_exhausted_pool_delays_and_loses_nothing() {
    seed::each(5, |seed| {
        let mut plans = plans(200_000, 200_000);
        plans[0].stall = Some((0, secs(5)));
        plans[1].stall = Some((0, secs(10)));
        let mut path = Path::with(plans, Impairment::default(), seed, |config| {
            config.limits.buffers = 1 << 20;
        });
        path.transfer(24, secs(900));
        path.assert_clean();
    });
}

// What waits behind a gap may not take the room of what fills it.
#[test]
fn established_gaps_of_many_connections_do_not_fill_the_pool() {
    seed::each(5, |seed| {
        let impairment = Impairment { rate: Some(50_000_000), ..Impairment::loss(0.05) };
        let mut path = Path::with(plans(400_000, 0), impairment, seed, |config| {
            config.limits.buffers = if config.mac.0[5] == 2 { 1 << 20 } else { 64 << 20 };
            // Timeouts that doubled outlive the usual ones.
            config.tcp.fin_wait_2 = secs(600);
            config.tcp.time_wait = secs(300);
        });
        path.transfer(64, secs(900));
        path.assert_clean();
    });
}

// The SYNs are repeated at the same moments, and sixteen of them get in each time.
#[test]
fn listen_full_syn_queue_serves_all_in_the_end() {
    let mut path = Path::with(plans(5_000, 3_000), Impairment::default(), 1, |config| {
        config.limits.half_open = 16;
    });
    path.transfer(100, secs(200));
    assert!(path.net.nodes[1].count(Counter::SynQueueFull) > 0);
    path.assert_clean();
}

#[test]
fn any_failure_is_told_and_leaves_nothing() {
    seed::each(200, any_failure);
}

fn any_failure(seed: u64) {
    let mut rng = Rng::new(seed ^ 0xfa11);
    let plans = manners(&mut rng);
    let impairment = faults(&mut rng);
    let (limits, stack) = (small_tables(&mut rng), short_patience(&mut rng));
    let adjust = |config: &mut ShardConfig| {
        config.limits = Limits { neighbours: config.limits.neighbours, ..limits };
        config.tcp = stack.clone();
        config.mtu = impairment.mtu as u16;
    };
    let mut path = Path::with(plans, impairment, seed, adjust);
    path.net.now = Instant::from_millis(rng.below(1 << 33));
    if rng.chance(0.2) {
        let since = path.net.now + ms(rng.below(2_000));
        silence(&mut path.net, since);
    }
    let count = 1 + rng.below(12) as usize;
    (0..count).for_each(|_| path.net.connect());
    path.net.run_to_end(secs(4 * 3600));
    let told = path.logs[0].conns().len() + path.logs[0].failed().len();
    assert_eq!(told, count, "each open is told once");
    check_ends(&path.logs);
    shut_down(&mut path.net);
    path.assert_clean();
}

/// How the two ends use a connection. One of them at least ends of its own accord.
fn manners(rng: &mut Rng) -> [Plan; 2] {
    let size = |rng: &mut Rng| rng.next() >> (47 + rng.below(17));
    let mut plans = plans(size(rng), size(rng));
    for plan in &mut plans {
        plan.close = match rng.below(8) {
            0..3 => Close::AfterSending,
            3..6 => Close::AfterPeer,
            6 => Close::After(ms(rng.below(2_000))),
            _ => Close::AbortAfter(ms(rng.below(1_000))),
        };
        // Only one thing can wait for the timer.
        let has_timer = matches!(plan.close, Close::After(_) | Close::AbortAfter(_));
        plan.stall =
            (!has_timer && rng.chance(0.4)).then(|| (rng.below(60_000), ms(1 + rng.below(3_000))));
    }
    if plans.iter().all(|plan| plan.close == Close::AfterPeer) {
        plans[rng.below(2) as usize].close = Close::AfterSending;
    }
    plans
}

fn faults(rng: &mut Rng) -> Impairment {
    let mut part = |most: f64| match rng.chance(0.5) {
        true => (rng.below(1_000) as f64 / 1_000.0) * most,
        false => 0.0,
    };
    let impairment = Impairment {
        loss: part(0.25),
        reorder: part(0.3),
        duplicate: part(0.2),
        corrupt: part(0.1),
        ..Impairment::default()
    };
    let mtus = [576, 1280, 1500, 3498];
    Impairment {
        delay: Duration::from_micros(1 + rng.below(100_000)),
        jitter: Duration::from_micros(rng.below(20_000)),
        lateness: Duration::from_micros(rng.below(200_000)),
        rate: rng.chance(0.3).then(|| 400_000 + rng.below(40_000_000)),
        mtu: mtus[rng.below(4) as usize],
        ..impairment
    }
}

fn small_tables(rng: &mut Rng) -> Limits {
    Limits {
        connections: 8 + rng.below(16) as usize,
        half_open: 1 + rng.below(16) as usize,
        time_wait: rng.below(16) as usize,
        buffers: 1 << (20 + rng.below(4)),
        ..Limits::default()
    }
}

fn short_patience(rng: &mut Rng) -> tcp::Config {
    tcp::Config {
        receive_window: 4_000 + rng.below(100_000) as u32,
        max_receive_window: 1 << (17 + rng.below(6)),
        nodelay: rng.chance(0.5),
        retries: 4 + rng.below(8) as u8,
        syn_retries: 1 + rng.below(7) as u8,
        ..tcp::Config::default()
    }
}

/// Every connection has ended, but for those whose other end was lost while they had nothing to
/// send: they cannot know. One that ended in order had everything.
fn check_ends(logs: &[Log; 2]) {
    let ends = logs.each_ref().map(Log::conns);
    for (own, other) in [(0, 1), (1, 0)] {
        for seen in &ends[own] {
            let twin = ends[other].iter().find(|twin| twin.port == seen.port);
            let is_whole = twin.is_none_or(|twin| seen.received == twin.sent);
            assert!(seen.peer_fin.is_none() || is_whole, "the end too early: {seen:?} {twin:?}");
            match seen.closed {
                Some(CloseReason::Closed) => assert!(seen.peer_fin.is_some(), "{seen:?}"),
                Some(_) => {}
                None => {
                    let reason = twin.map_or(Some(CloseReason::TimedOut), |twin| twin.closed);
                    let is_lost = reason.is_some_and(|reason| reason != CloseReason::Closed);
                    assert!(is_lost, "stuck: {seen:?}, the other end: {twin:?}");
                }
            }
        }
    }
}

/// Both nodes shut down, over a path that is whole again.
fn shut_down(net: &mut Network) {
    let now = net.now;
    net.filter = Box::new(|_| Fate::Carry);
    let deadline = now + secs(10);
    let tell = |node: &mut Node| node.shard.on_command(Command::Shutdown { deadline }, now);
    net.nodes.iter_mut().for_each(tell);
}

// The next hop is known to be gone before the last connection sends: nothing of it ever goes out, and
// still it comes to an end.
#[test]
fn established_text_for_a_host_that_is_gone_ends_unreachable() {
    let mut plans = plans(0, 0);
    plans[0].close = Close::Never;
    let mut path = Path::with(plans, Impairment::default(), 1, |config| config.tcp.retries = 4);
    let open = |path: &mut Path| {
        let now = path.net.now;
        let id = path.net.nodes[0].shard.open(&to_node_1(), now);
        path.net.run_for(secs(1));
        id.expect("there is room")
    };
    let conns = [(); 3].map(|()| open(&mut path));
    path.net.run_for(secs(100));
    path.net.crash(1, None);
    for (sent, id) in conns.into_iter().enumerate() {
        let now = path.net.now;
        let taken = path.net.nodes[0].shard.with(id, now, |conn| conn.send(b"anybody there?"));
        assert_eq!(taken, Some(14));
        path.net.run_for(secs(100));
        assert_eq!(path.net.nodes[0].shard.with(id, path.net.now, |_| ()), None, "{sent}");
    }
    let reason = CloseReason::Unreachable(Unreachable::NextHop);
    let ends: Vec<_> = path.logs[0].conns().iter().map(|seen| seen.closed).collect();
    assert_eq!(ends, [Some(CloseReason::TimedOut), Some(reason), Some(reason)]);
}

fn to_node_1() -> Open {
    let (local, local_port) = (None, None);
    let settings = Vec::new();
    Open { local, local_port, remote: addr(2), remote_port: PORT, service: 0, settings, user: 0 }
}

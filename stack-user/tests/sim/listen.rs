//! Listening: handshakes that lose a segment, queues that are full, cookies, names used again.

use sluice::counters::Counter;
use sluice::shard::{Open, ShardConfig};
use sluice::tables::listeners::{Accepts, Listener, ListenerId};
use sluice::tcp::{CloseReason, State, SynCookies};
use sluice::time::{Duration, Instant};
use sluice::wire::tcp::{Flags, Packet};

use crate::impairment::Impairment;
use crate::network::{Fate, drop_first};
use crate::node::{PORT, addr};
use crate::path::Path;
use crate::peer::{Close, Plan, plans};
use crate::seed;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn is_syn(segment: &Packet<'_>) -> bool {
    segment.flags.has(Flags::SYN) && !segment.flags.has(Flags::ACK)
}

fn is_syn_ack(segment: &Packet<'_>) -> bool {
    segment.flags.contains(Flags::SYN.union(Flags::ACK))
}

/// A path whose node 1 listens as `change` says, and accepts `left` connections as soon as they wait.
fn listening(
    plans: [Plan; 2],
    change: impl FnOnce(&mut Listener),
    (left, adjust): (usize, impl Fn(&mut ShardConfig)),
) -> (Path, ListenerId) {
    let mut path = Path::with(plans, Impairment::default(), 1, |config| {
        config.listeners.clear();
        adjust(config);
    });
    let mut listener = Listener::new(None, PORT, 0);
    change(&mut listener);
    let now = path.net.now;
    let id = path.net.nodes[1].shard.listen(listener, now).expect("the port is free");
    path.net.nodes[1].on_call = Some((id, left));
    (path, id)
}

fn on_call(backlog: u32) -> impl FnOnce(&mut Listener) {
    move |listener| (listener.accepts, listener.backlog) = (Accepts::OnCall, backlog)
}

// CM-10.b, CM-10.c: the client is established, the server is not, and everything that the client says is lost
// until the entry is gone. What it says then is answered by RST.
#[test]
fn syn_received_lost_third_ack_of_a_silent_client_ends_in_a_reset() {
    let mut plans = plans(2_000, 0);
    plans[0].close = Close::Never;
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.net.filter = Box::new(|sight| {
        let is_lost = sight.from == 0 && sight.at.as_millis() < 70_000;
        let is_data = sight.segment.is_some_and(|segment| !is_syn(&segment));
        if is_lost && is_data { Fate::Drop } else { Fate::Carry }
    });
    path.net.connect();
    path.net.run_for(secs(1));
    assert_eq!(path.net.nodes[0].in_state(State::Established), 1);
    assert_eq!(path.net.nodes[1].in_state(State::SynReceived), 1);
    path.net.run_for(secs(64));
    assert_eq!(path.net.nodes[1].count(Counter::SynAckRetransmits), 5);
    assert_eq!(path.net.nodes[1].shard.flows(), 0);
    path.net.run_for(secs(120));
    assert_eq!(path.logs[0].only().closed, Some(CloseReason::Reset));
    assert!(path.logs[1].conns().is_empty());
    path.assert_clean();
}

// CM-10.d: a client whose SYN-ACK was lost repeats its SYN, and is answered with the same ISN.
#[test]
fn syn_received_lost_syn_ack_is_answered_again_with_the_same_isn() {
    let mut path = Path::new(plans(1_000, 1_000), Impairment::default(), 1);
    let (seen, isns) = std::sync::mpsc::channel();
    let mut left = 3;
    path.net.filter = Box::new(move |sight| {
        let Some(segment) = sight.segment.filter(is_syn_ack) else { return Fate::Carry };
        seen.send(segment.seq).expect("the receiver outlives the run");
        left -= 1;
        if left >= 0 { Fate::Drop } else { Fate::Carry }
    });
    path.transfer(1, secs(30));
    path.assert_clean();
    drop(path);
    let isns: Vec<_> = isns.iter().collect();
    assert!(isns.len() >= 4, "{isns:?}");
    assert!(isns.iter().all(|isn| *isn == isns[0]), "{isns:?}");
}

// CM-3.e: what clients send before they are accepted waits in the receive buffers.
#[test]
fn established_before_accept_everything_waits_and_is_delivered() {
    let (mut path, _) = listening(plans(30_000, 5_000), on_call(100), (0, |_| {}));
    for _ in 0..50 {
        path.net.connect();
    }
    path.net.run_for(secs(5));
    assert_eq!(path.logs[0].conns().len(), 50);
    assert!(path.logs[1].conns().is_empty());
    if let Some((_, left)) = &mut path.net.nodes[1].on_call {
        *left = 50;
    }
    path.net.poke(1);
    let logs = path.logs.clone();
    path.net.run_until(secs(60), |_| logs.iter().all(|log| log.are_over(50)));
    path.assert_complete();
    path.assert_clean();
}

// CM-3.c. Linux's policy: the last ACK is dropped, the client tries again, and all are served in the end.
#[test]
fn syn_received_full_accept_queue_delays_clients_and_refuses_none() {
    let (mut path, id) = listening(plans(3_000, 1_000), on_call(2), (0, |_| {}));
    for _ in 0..12 {
        path.net.connect();
    }
    path.net.run_for(secs(1));
    assert_eq!(path.net.nodes[1].shard.waiting(id), 3);
    assert!(path.net.nodes[1].count(Counter::AcceptQueueFull) > 0);
    let logs = path.logs.clone();
    for _ in 0..200 {
        if let Some((_, left)) = &mut path.net.nodes[1].on_call {
            *left = 1;
        }
        path.net.poke(1);
        path.net.run_for(ms(500));
    }
    assert!(logs.iter().all(|log| log.are_over(12)), "{:?}", logs[0].conns().len());
    path.assert_complete();
    path.assert_clean();
}

// CM-3.d.
#[test]
fn syn_received_abort_on_overflow_tells_the_client() {
    let abort = |config: &mut ShardConfig| config.tcp.abort_on_overflow = true;
    let mut plans = plans(3_000, 0);
    plans[0].close = Close::Never;
    let (mut path, id) = listening(plans, on_call(0), (0, abort));
    for _ in 0..5 {
        path.net.connect();
    }
    path.net.run_for(secs(1));
    assert_eq!(path.net.nodes[1].shard.waiting(id), 1);
    let reset = |seen: &crate::peer::Seen| seen.closed == Some(CloseReason::Reset);
    assert!(path.logs[0].conns().iter().filter(|seen| reset(seen)).count() >= 1);
}

// CM-3.g, CM-3.h, CM-3.j: a handshake without a half-open entry gives a connection like any other: window scale, SACK and
// timestamps are there, and no segment of ours is older than the SYN-ACK (RFC 7323, 5.3).
#[test]
fn listen_cookies_give_full_connections_at_any_time() {
    seed::each(40, |seed| {
        let mut path = Path::with(plans(400_000, 300_000), Impairment::default(), seed, |config| {
            config.tcp.syn_cookies = SynCookies::Always;
        });
        // Any reading of the clock of timestamps, near its wrap too.
        path.net.now = Instant::from_millis(
            (1 << 32) * (seed % 3) - u64::from(seed % 3 > 0) * 40 + 977 * seed,
        );
        path.transfer(20, secs(60));
        assert_eq!(path.net.nodes[1].count(Counter::CookiesReceived), 20);
        for node in &path.net.nodes {
            assert_eq!(node.count(Counter::PawsDropped), 0);
        }
        path.assert_clean();
    });
}

// Cookies keep a small SYN queue open to everybody.
#[test]
fn listen_small_syn_queue_serves_hundreds_at_once_with_cookies() {
    let mut plans = plans(5_000, 3_000);
    plans[1].close = Close::AfterPeer;
    let (mut path, _) = listening(plans, |listener| listener.backlog = 4, (0, |_| {}));
    path.transfer(300, secs(30));
    assert!(path.net.nodes[1].count(Counter::CookiesReceived) > 200);
    assert_eq!(path.net.nodes[1].count(Counter::PassiveOpens), 300);
    path.assert_clean();
}

// What is lost of a handshake by cookie is repeated by the client alone.
#[test]
fn listen_lost_cookie_is_made_again() {
    let always = |config: &mut ShardConfig| config.tcp.syn_cookies = SynCookies::Always;
    let mut path = Path::with(plans(1_000, 1_000), Impairment::default(), 1, always);
    path.net.filter = drop_first(2, |_, segment| is_syn_ack(segment));
    path.transfer(1, secs(10));
    assert_eq!(path.net.nodes[1].count(Counter::CookiesSent), 3);
    path.assert_clean();
}

// The third ACK of a handshake by cookie is lost: the data makes up for it.
#[test]
fn listen_cookie_comes_back_with_data() {
    let always = |config: &mut ShardConfig| config.tcp.syn_cookies = SynCookies::Always;
    let mut path = Path::with(plans(1_000, 1_000), Impairment::default(), 1, always);
    path.net.filter = drop_first(1, |from, segment| {
        from == 0 && segment.sequence_len() == 0 && !segment.flags.has(Flags::RST)
    });
    path.transfer(1, secs(10));
    path.assert_clean();
}

#[test]
fn syn_received_deferred_accept_hides_clients_that_say_nothing() {
    let mut plans = plans(0, 0);
    plans[0].close = Close::After(secs(3));
    let defers = |listener: &mut Listener| listener.defers_accept = Some(secs(30));
    let (mut path, _) = listening(plans, defers, (0, |_| {}));
    path.net.connect();
    path.net.run_for(secs(2));
    assert_eq!(path.logs[0].conns().len(), 1);
    assert!(path.logs[1].conns().is_empty());
    // Its FIN is the first that the service hears of it.
    path.net.run_for(secs(2));
    assert_eq!(path.logs[1].conns().len(), 1);
    path.assert_clean();
}

// CM-1.j; RFC 9293 3.5, figure 7, with a listener on the port that opens: one connection, not two.
#[test]
fn syn_sent_peer_that_listens_and_opens_too_makes_one_connection() {
    let mut plans = plans(20_000, 30_000);
    plans[1].close = Close::AfterSending;
    let mut path = Path::new(plans, Impairment::default(), 1);
    let now = path.net.now;
    let open = |to, local_port, remote_port| Open {
        local: None,
        local_port: Some(local_port),
        remote: addr(to),
        remote_port,
        service: 0,
        settings: Vec::new(),
        user: 0,
    };
    path.net.nodes[0].shard.open(&open(2, 40_000, PORT), now).expect("the name is free");
    path.net.nodes[1].shard.open(&open(1, PORT, 40_000), now).expect("the name is free");
    let logs = path.logs.clone();
    path.net.run_until(secs(10), |_| logs.iter().all(|log| log.are_over(1)));
    assert_eq!(path.net.nodes[1].count(Counter::PassiveOpens), 0);
    path.assert_complete();
    path.assert_clean();
}

// CM-6.e: the server closes first and holds TIME-WAIT; the client uses its only port again at once (RFC 6191).
#[test]
fn time_wait_of_the_server_gives_way_to_the_same_port() {
    let mut plans = plans(2_000, 3_000);
    (plans[0].close, plans[1].close) = (Close::AfterPeer, Close::AfterSending);
    let mut path =
        Path::with(plans, Impairment::default(), 1, |config| config.local_ports = 40_000..=40_000);
    for count in 1..=30 {
        path.net.connect();
        let logs = path.logs.clone();
        path.net.run_until(secs(10), |_| logs.iter().all(|log| log.are_over(count)));
    }
    assert_eq!(path.net.nodes[1].count(Counter::TimeWaitReuses), 29);
    path.assert_complete();
    path.assert_clean();
}

// The client closes first and holds TIME-WAIT: its own open takes the name after a second, when there
// is no other port.
#[test]
fn time_wait_of_the_client_gives_way_to_its_own_open_after_a_second() {
    let mut path = Path::with(plans(2_000, 3_000), Impairment::default(), 1, |config| {
        config.local_ports = 40_000..=40_000;
    });
    path.transfer(1, secs(5));
    path.net.connect();
    assert_eq!(path.logs[0].failed(), [CloseReason::NoResources], "too early");
    for count in 2..=20 {
        path.net.run_for(ms(1_100));
        path.net.connect();
        let logs = path.logs.clone();
        path.net.run_until(secs(10), |_| logs.iter().all(|log| log.conns().len() == count));
        path.net.run_until(secs(10), |_| logs.iter().all(|log| log.are_over(count)));
    }
    assert_eq!(path.net.nodes[0].count(Counter::TimeWaitReuses), 19);
    for log in &path.logs {
        assert!(log.conns().iter().all(|seen| seen.closed == Some(CloseReason::Closed)));
    }
    path.assert_clean();
}

// A listener goes while clients are at every stage, and comes back at once.
#[test]
fn unlisten_in_the_middle_of_handshakes_leaves_nothing_behind() {
    seed::each(30, |seed| {
        let mut plans = plans(20_000, 10_000);
        plans[0].close = Close::AfterPeer;
        plans[1].close = Close::AfterSending;
        let (mut path, id) = listening(plans, on_call(8), (4, |_| {}));
        for _ in 0..20 {
            path.net.connect();
        }
        path.net.run_for(ms(20 + 7 * seed));
        let now = path.net.now;
        assert!(path.net.nodes[1].shard.unlisten(id, now));
        path.net.poke(1);
        let listener = Listener { backlog: 100, ..Listener::new(None, PORT, 0) };
        path.net.nodes[1].shard.listen(listener, now).expect("the port is free");
        path.net.run_to_end(secs(2_000));
        for log in &path.logs {
            assert!(log.conns().iter().all(|seen| seen.closed.is_some()), "all have an end");
        }
        path.assert_clean();
    });
}

//! Closing for good: in background, within a time, at once; and what becomes of orphans.

use sluice::counters::Counter;
use sluice::tcp::{CloseReason, Setting, State};
use sluice::time::Duration;

use crate::impairment::Impairment;
use crate::network::Fate;
use crate::seed;
use crate::user::{Pair, Told};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

// CM-5.c
#[test]
fn fin_wait_1_close_in_background_delivers_everything() {
    seed::each(10, |seed| {
        let mut pair = Pair::with(Impairment::loss(0.1), seed, |config| {
            config.tcp.fin_wait_2 = secs(600);
        });
        let ids = pair.connect(vec![]);
        let text = vec![7; 60_000];
        assert_eq!(pair.on(0, ids[0], |conn| conn.send(&text)), Some(text.len()));
        pair.on(0, ids[0], |conn| conn.close());
        assert_eq!(pair.net.nodes[0].shard.orphans(), 1);
        pair.run(secs(300));
        assert_eq!(pair.told(1), [Told::Opened, Told::Fin]);
        assert_eq!(pair.scribes[1].notes().text, text);
        pair.on(1, ids[1], |conn| conn.close());
        pair.run(secs(600));
        assert_eq!(pair.told(1), [Told::Closed(CloseReason::Closed)]);
        assert_eq!(pair.net.nodes[0].shard.orphans(), 0);
        pair.net.nodes.iter().for_each(crate::node::Node::assert_clean);
    });
}

// CM-5.d
#[test]
fn fin_wait_1_close_with_a_time_releases_the_user_within_it() {
    let mut pair = Pair::new();
    let ids = pair.connect(vec![Setting::Linger(Some(secs(5)))]);
    pair.on(0, ids[0], |conn| conn.send(b"text"));
    pair.on(0, ids[0], |conn| conn.close());
    pair.run(Duration::from_millis(100));
    assert_eq!(pair.told(0), [Told::Opened, Told::Closed(CloseReason::Closed)]);
    assert_eq!(pair.state(0, ids[0]), State::FinWait2);
    let stuck = pair.connect(vec![Setting::Linger(Some(secs(5)))]);
    pair.net.filter = Box::new(|sight| if sight.from == 0 { Fate::Drop } else { Fate::Carry });
    pair.on(0, stuck[0], |conn| conn.send(b"text"));
    pair.on(0, stuck[0], |conn| conn.close());
    pair.run(Duration::from_millis(4_990));
    assert_eq!(pair.told(0), [Told::Opened]);
    pair.run(Duration::from_millis(20));
    assert_eq!(pair.told(0), [Told::Closed(CloseReason::Lingering)]);
    // In background it goes on.
    pair.net.filter = Box::new(|_| Fate::Carry);
    pair.run(secs(30));
    assert_eq!(pair.scribes[1].notes().text, b"texttext");
    assert_eq!(pair.told(0), []);
}

// CM-5.e CM-5.g
#[test]
fn established_close_with_no_time_resets_the_peer() {
    let mut pair = Pair::new();
    let ids = pair.connect(vec![Setting::Linger(Some(Duration::ZERO))]);
    pair.on(0, ids[0], |conn| conn.send(&[1; 100_000]));
    pair.on(0, ids[0], |conn| conn.close());
    pair.run(secs(1));
    assert_eq!(pair.told(0), [Told::Opened, Told::Closed(CloseReason::Aborted)]);
    assert_eq!(pair.told(1), [Told::Opened, Told::Closed(CloseReason::Reset)]);
    pair.net.nodes.iter().for_each(crate::node::Node::assert_clean);
}

// RFC 2525 2.17.
// CM-5.f
#[test]
fn established_close_with_unread_data_resets_the_peer() {
    let mut pair = Pair::new();
    let ids = pair.connect(vec![]);
    pair.scribes[1].notes().is_lazy = true;
    pair.on(0, ids[0], |conn| conn.send(b"nobody reads this"));
    pair.run(secs(1));
    assert_eq!(pair.on(1, ids[1], |conn| conn.unread()), Some(17));
    pair.on(1, ids[1], |conn| conn.close());
    pair.run(secs(1));
    assert_eq!(pair.told(0), [Told::Opened, Told::Closed(CloseReason::Reset)]);
    assert_eq!(pair.net.nodes[1].count(Counter::AbortsOnClose), 1);
}

// RFC 1122 4.2.2.13: the peer must know that nobody reads what it sends.
#[test]
fn fin_wait_2_orphan_answers_data_with_rst() {
    let mut pair = Pair::new();
    let ids = pair.connect(vec![]);
    pair.on(0, ids[0], |conn| conn.close());
    pair.run(secs(1));
    assert_eq!(pair.told(1), [Told::Opened, Told::Fin]);
    pair.on(1, ids[1], |conn| conn.send(b"but I have more"));
    pair.run(secs(1));
    assert_eq!(pair.told(1), [Told::Closed(CloseReason::Reset)]);
    assert_eq!(pair.told(0), [Told::Opened, Told::Closed(CloseReason::Aborted)]);
    pair.net.nodes.iter().for_each(crate::node::Node::assert_clean);
}

// A half-close is no close: an hour later the peer's data still comes through.
#[test]
fn fin_wait_2_half_close_lasts_while_somebody_reads() {
    let mut pair = Pair::new();
    let ids = pair.connect(vec![]);
    pair.on(0, ids[0], |conn| conn.shutdown_write());
    pair.run(secs(3_600));
    pair.on(1, ids[1], |conn| conn.send(b"late"));
    pair.run(secs(3_600));
    pair.on(1, ids[1], |conn| conn.close());
    pair.run(secs(1));
    assert_eq!(pair.scribes[0].notes().text, b"late");
    assert_eq!(pair.told(0), [Told::Opened, Told::Fin, Told::Closed(CloseReason::Closed)]);
    assert_eq!(pair.told(1), [Told::Opened, Told::Fin, Told::Closed(CloseReason::Closed)]);
}

// CM-5.b
#[test]
fn fin_wait_2_orphan_whose_peer_never_closes_is_forgotten() {
    let mut pair = Pair::new();
    let ids = pair.connect(vec![]);
    pair.on(0, ids[0], |conn| conn.close());
    pair.run(secs(59));
    assert_eq!(pair.state(0, ids[0]), State::FinWait2);
    pair.run(secs(2));
    assert_eq!(pair.told(0), [Told::Opened, Told::Closed(CloseReason::TimedOut)]);
    pair.net.nodes[0].assert_clean();
    // The peer finds out when it speaks.
    pair.on(1, ids[1], |conn| conn.close());
    pair.run(secs(1));
    assert_eq!(pair.told(1), [Told::Opened, Told::Fin, Told::Closed(CloseReason::Reset)]);
}

// CM-5.h
#[test]
fn fin_wait_2_one_orphan_too_many_is_reset() {
    let mut pair = Pair::with(Impairment::default(), 1, |config| config.limits.orphans = 4);
    let all: Vec<_> = (0..10).map(|_| pair.connect(vec![])[0]).collect();
    for id in &all {
        pair.on(0, *id, |conn| conn.close());
    }
    pair.run(secs(1));
    assert_eq!(pair.net.nodes[0].shard.orphans(), 4);
    assert_eq!(pair.net.nodes[0].count(Counter::AbortsOnMemory), 6);
    let reset = Told::Closed(CloseReason::Reset);
    assert_eq!(pair.told(1).into_iter().filter(|told| *told == reset).count(), 6);
    pair.run(secs(100));
    assert_eq!(pair.net.nodes[0].shard.orphans(), 0);
    pair.net.nodes[0].assert_clean();
}

// The third mark of the pool: those who hold memory for nobody go, the first of them first, and a
// connection that somebody wants only after its window has been closed for long.
#[test]
fn established_exhausted_pool_resets_orphans_first_then_long_closed_windows() {
    let mut pair = Pair::with(Impairment::default(), 1, |config| {
        if config.mac.0[5] == 1 {
            config.limits.buffers = 4 << 20;
        }
    });
    pair.scribes[1].notes().is_lazy = true;
    // The receivers read nothing: what they have no window for stays with the sender.
    let text = vec![1; 200_000];
    let wanted = pair.connect(vec![])[0];
    let orphan = pair.connect(vec![])[0];
    for id in [wanted, orphan] {
        pair.on(0, id, |conn| conn.send(&text));
        pair.run(secs(5));
        pair.on(0, id, |conn| conn.send(&text));
    }
    pair.on(0, orphan, |conn| conn.close());
    pair.run(secs(10));
    pair.told(0);
    let fill = |pair: &mut Pair| {
        for _ in 0..200 {
            let id = pair.connect(vec![])[0];
            pair.on(0, id, |conn| conn.send(&text));
            pair.run(Duration::from_millis(500));
            let taken = pair.on(0, id, |conn| conn.send(&text));
            if taken.is_none_or(|taken| taken < 1_000) {
                return;
            }
        }
        panic!("the pool has no end");
    };
    fill(&mut pair);
    pair.run(Duration::from_millis(100));
    assert_eq!(pair.state(0, orphan), State::Closed);
    assert_eq!(pair.state(0, wanted), State::Established);
    assert!(pair.told(0).contains(&Told::Closed(CloseReason::NoResources)));
    pair.run(secs(120));
    fill(&mut pair);
    pair.run(secs(1));
    assert_eq!(pair.state(0, wanted), State::Closed);
    assert!(pair.net.nodes[0].count(Counter::AbortsOnMemory) >= 2);
}

// A pool that senders have filled is no reason to reset an orphan that a timeout has just held up.
#[test]
fn fin_wait_1_orphan_in_a_full_pool_is_reset_only_when_it_was_silent_for_long() {
    let mut pair = Pair::with(Impairment::default(), 1, |config| {
        if config.mac.0[5] == 1 {
            config.limits.buffers = 4 << 20;
        }
    });
    pair.scribes[1].notes().is_lazy = true;
    let text = vec![1; 200_000];
    let mut ids = Vec::new();
    for _ in 0..200 {
        let id = pair.connect(vec![])[0];
        pair.on(0, id, |conn| conn.send(&text));
        pair.run(Duration::from_millis(500));
        ids.push(id);
        if pair.on(0, id, |conn| conn.send(&text)).is_none_or(|taken| taken < 1_000) {
            break;
        }
    }
    // The last found no room; the one before it is the youngest that has text.
    let orphan = ids[ids.len() - 2];
    pair.on(0, orphan, |conn| conn.close());
    pair.run(secs(2));
    assert_eq!(pair.state(0, orphan), State::FinWait1);
    pair.run(secs(10));
    assert_eq!(pair.state(0, orphan), State::Closed);
}

//! Tests of the client: a task in, what it sends and counts out.

use super::*;
use crate::service::fake::Rig;
use crate::service::http::pattern;

fn rig(task: Task) -> (Rig<Client>, Arc<Tally>) {
    let tally = Arc::new(Tally::default());
    (Rig::new(Client::new(task, target(), Arc::clone(&tally)), 1000), tally)
}

fn target() -> Target {
    let addr = Addr::from(core::net::Ipv4Addr::new(192, 0, 2, 1));
    let from = [3, 4].map(|last| Addr::from(core::net::Ipv4Addr::new(192, 0, 2, last)));
    Target { addr, port: 7, from: from.to_vec(), at_once: 2 }
}

fn bytes(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    pattern(0, &mut bytes);
    bytes
}

#[test]
fn established_all_sent_and_received_closes_first() {
    let (mut rig, tally) = rig(Task { send: 5000, receive: 5000, ..Task::default() });
    rig.connect();
    assert_eq!(rig.read_all(), bytes(5000));
    assert!(!rig.is_closed());
    rig.deliver(&bytes(5000));
    assert!(rig.is_closed());
    rig.end(CloseReason::Closed);
    assert_eq!((tally.opened(), tally.ended_as(Outcome::Done)), (1, 1));
    assert_eq!(tally.bytes(), (5000, 5000));
}

#[test]
fn established_passive_waits_for_the_peer() {
    let (mut rig, tally) = rig(Task { receive: 10, close: Close::Passive, ..Task::default() });
    rig.connect();
    rig.deliver(&bytes(10));
    assert!(!rig.is_closed());
    rig.fin();
    assert!(rig.is_closed());
    rig.end(CloseReason::Closed);
    assert_eq!(tally.ended_as(Outcome::Done), 1);
}

#[test]
fn established_half_closes_and_goes_on_receiving() {
    let half = Task { send: 3, receive: 10, close: Close::Half, ..Task::default() };
    let (mut rig, tally) = rig(half);
    rig.connect();
    assert!(rig.is_closed());
    rig.deliver(&bytes(10));
    rig.fin();
    rig.end(CloseReason::Closed);
    assert_eq!(tally.ended_as(Outcome::Done), 1);
}

#[test]
fn established_reset_aborts_after_the_hold() {
    let hold = Duration::from_secs(1);
    let (mut rig, tally) = rig(Task { close: Close::Reset, hold, ..Task::default() });
    rig.connect();
    assert!(!rig.conn.aborted);
    rig.advance(hold);
    assert!(rig.conn.aborted);
    rig.end(CloseReason::Aborted);
    assert_eq!(tally.ended_as(Outcome::Done), 1);
}

#[test]
fn established_gathering_sends_nothing_before_the_start() {
    let (mut rig, tally) = rig(Task { send: 10, gathers: true, ..Task::default() });
    rig.connect();
    rig.advance(Duration::from_secs(1));
    assert!(rig.read_all().is_empty());
    tally.start();
    rig.advance(GATHERING);
    assert_eq!(rig.read_all(), bytes(10));
}

#[test]
fn established_pausing_leaves_text_unread_until_its_time() {
    let pause = Duration::from_secs(1);
    let (mut rig, tally) = rig(Task { receive: 10, pause, ..Task::default() });
    rig.connect();
    rig.deliver(&bytes(10));
    assert_eq!(rig.unconsumed(), 10);
    rig.advance(pause);
    assert_eq!(rig.unconsumed(), 0);
    assert_eq!(tally.bytes(), (0, 10));
}

#[test]
fn closed_with_other_bytes_or_fewer_or_by_reset_is_no_success() {
    for (given, reason, outcome) in [
        (&[0xee; 10][..], CloseReason::Closed, Outcome::Wrong),
        (&bytes(9), CloseReason::Closed, Outcome::Short),
        (&bytes(11), CloseReason::Closed, Outcome::Short),
        (&bytes(10), CloseReason::Reset, Outcome::Reset),
    ] {
        let (mut rig, tally) = rig(Task { receive: 10, ..Task::default() });
        rig.connect();
        rig.deliver(given);
        rig.fin();
        rig.end(reason);
        assert_eq!((tally.ended_as(outcome), tally.ended()), (1, 1), "{outcome:?}");
    }
}

#[test]
fn syn_sent_refused_is_counted_without_an_exchange() {
    let (mut rig, tally) = rig(Task::default());
    rig.end(CloseReason::Refused);
    assert_eq!((tally.opened(), tally.open_failed()), (0, 1));
    assert_eq!(tally.ended_as(Outcome::Refused), 1);
}

#[test]
fn closed_opens_as_many_at_once_as_it_may_from_its_addresses_in_turn() {
    let (mut rig, tally) = rig(Task::default());
    assert_eq!(rig.service.poll_open(), None, "nothing is allowed yet");
    assert!(tally.allow(3) && !tally.allow(3));
    let from = |peer: Option<Peer>| peer.and_then(|peer| peer.local);
    let [first, second] = [0, 1].map(|n| Some(target().from[n]));
    assert_eq!(from(rig.service.poll_open()), first);
    assert_eq!(from(rig.service.poll_open()), second);
    assert_eq!(rig.service.poll_open(), None, "two at once");
    rig.connect();
    rig.end(CloseReason::Closed);
    assert_eq!(from(rig.service.poll_open()), first);
    rig.service.on_closed(0, CloseReason::Refused);
    assert_eq!((rig.service.poll_open(), tally.asked()), (None, 3));
    assert!(tally.allow(9));
    tally.end();
    assert_eq!(rig.service.poll_open(), None, "the time is over");
}

#[test]
fn established_many_requests_go_on_until_the_end() {
    let task = Task { send: 5, receive: 5, requests: Requests::Many, ..Task::default() };
    let (mut rig, tally) = rig(task);
    rig.connect();
    for n in 0..3 {
        assert_eq!((rig.read_all(), tally.answered()), (bytes(5), n));
        rig.deliver(&bytes(5));
    }
    assert_eq!(rig.read_all(), bytes(5));
    tally.end();
    rig.deliver(&bytes(3));
    assert!(!rig.is_closed());
    rig.deliver(&bytes(5)[3..]);
    assert!(rig.is_closed());
    rig.end(CloseReason::Closed);
    assert_eq!((tally.answered(), tally.ended_as(Outcome::Done)), (3, 1));
}

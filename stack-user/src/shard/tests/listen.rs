//! Listeners: their queues and bounds, connections that wait, half-open entries.

use super::raw::*;
use super::*;
use crate::tables::listeners::{Accepts, ListenError};
use crate::tcp::Setting;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn on_call(backlog: u32) -> impl FnOnce(&mut Listener) {
    move |listener| {
        listener.accepts = Accepts::OnCall;
        listener.backlog = backlog;
    }
}

fn no_cookies(config: &mut ShardConfig) {
    config.tcp.syn_cookies = crate::tcp::SynCookies::Never;
}

#[test]
fn listen_impossible_listener_is_refused_by_its_reason() {
    let (mut raw, _) = Raw::listening(|_| {}, |_| {});
    let listener = Listener::new(None, 81, 0);
    let cases = [
        (Listener { service: 7, ..listener.clone() }, ListenError::UnknownService(7)),
        (Listener { port: 0, ..listener.clone() }, ListenError::NoPort),
        (Listener { port: PORT, ..listener.clone() }, ListenError::InUse),
        (Listener { addr: Some(addr(9)), ..listener.clone() }, ListenError::NoAddress(addr(9))),
    ];
    for (asked, error) in cases {
        assert_eq!(raw.shard.listen(asked, raw.now), Err(error));
    }
    let settings: Arc<[Setting]> = Arc::new([Setting::MaxSegment(1)]);
    let asked = Listener { settings, ..listener.clone() };
    let refused = raw.shard.listen(asked, raw.now);
    assert!(matches!(refused, Err(ListenError::Setting(_))), "{refused:?}");
    // The wildcard and an address of its own stand beside each other.
    let exact = Listener { addr: Some(addr(1)), port: PORT, ..listener.clone() };
    assert!(raw.shard.listen(exact, raw.now).is_ok());
    raw.shard.on_command(Command::Shutdown { deadline: raw.now + secs(1) }, raw.now);
    assert_eq!(raw.shard.listen(listener, raw.now), Err(ListenError::ShuttingDown));
}

// RFC 9293 3.9.1.1 (MUST-41), CM-6.f. Linux: open connections of the port, and those in TIME-WAIT,
// do not keep a listener away.
#[test]
fn listen_port_with_old_connections_is_free_again() {
    let (mut raw, id) = Raw::listening(|_| {}, |_| {});
    let syn_ack = raw.open(1000);
    assert!(raw.shard.unlisten(id, raw.now));
    assert!(!raw.shard.unlisten(id, raw.now), "it is gone");
    assert!(raw.answer(syn(1001)).is(RST.union(ACK)));
    let text = Says { text: b"still here", ..syn(1000).answer(&syn_ack) };
    raw.hear(text);
    assert_eq!(raw.told(), ["1000: accepted", "1000: still here"]);
    raw.shard.listen(Listener::new(None, PORT, 0), raw.now).expect("the port is free");
    raw.open(1001);
    assert_eq!(raw.told(), ["1001: accepted"]);
}

// CM-3.b, CM-3.c. Linux: backlog + 1 connections wait; then final ACKs and new SYNs are dropped.
#[test]
fn syn_received_accept_queue_holds_one_more_than_the_backlog() {
    let (mut raw, id) = Raw::listening(on_call(2), no_cookies);
    for port in 1000..1002 {
        raw.open(port);
    }
    // Two more are half-open when the queue becomes full.
    let late: Vec<_> = [1002, 1003].map(|port| raw.answer(syn(port))).into();
    assert!(raw.hear(syn(1002).answer(&late[0])).is_empty());
    assert_eq!(raw.shard.waiting(id), 3);
    assert!(raw.hear(syn(1003).answer(&late[1])).is_empty());
    assert_eq!((raw.shard.waiting(id), raw.count(Counter::AcceptQueueFull)), (3, 1));
    assert!(raw.hear(syn(1004)).is_empty(), "a new SYN is dropped");
    assert_eq!(raw.count(Counter::AcceptQueueFull), 2);
    assert!(raw.told().is_empty());
    // The entry stays, and its SYN-ACK goes again, so that the peer tries again.
    let again = raw.pass(secs(2));
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].1.port, again[0].1.seq), (1003, late[1].seq));
    assert!(raw.shard.accept(id, raw.now).is_some());
    assert_eq!(raw.told(), ["1000: accepted"]);
    raw.hear(syn(1003).answer(&late[1]));
    assert_eq!(raw.shard.waiting(id), 3);
    for port in 1001..1004 {
        assert!(raw.shard.accept(id, raw.now).is_some());
        assert_eq!(raw.told(), [format!("{port}: accepted")]);
    }
    assert_eq!(raw.shard.accept(id, raw.now), None);
}

// CM-3.d.
#[test]
fn syn_received_abort_on_overflow_resets_the_peer() {
    let (mut raw, id) = Raw::listening(on_call(0), |config| config.tcp.abort_on_overflow = true);
    let early = raw.answer(syn(1000));
    raw.hear(syn(1000).answer(&early));
    assert_eq!(raw.shard.waiting(id), 1);
    // A cookie's acknowledgment is answered alike, in `cookies`.
    let (mut raw, _) = Raw::listening(on_call(1), |config| config.tcp.abort_on_overflow = true);
    raw.open(1000);
    let late = raw.answer(syn(1001));
    raw.shard.on_command(Command::Routes(Arc::new([])), raw.now);
    raw.open(1002);
    let reset = raw.answer(syn(1001).answer(&late));
    assert_eq!((reset.flags, reset.seq), (RST, late.seq + 1));
    assert_eq!(raw.shard.census()[State::SynReceived as usize], 0);
}

// CM-3.e: what came before the connection was accepted is told with it, in its order.
#[test]
fn established_before_accept_data_and_fin_are_kept() {
    let (mut raw, id) = Raw::listening(on_call(4), |_| {});
    let syn_ack = raw.answer(syn(1000));
    let first = Says { text: b"with the ACK", ..syn(1000).answer(&syn_ack) };
    raw.hear(first);
    let rest = Says { seq: first.seq + 12, text: b", after it", flags: FIN.union(ACK), ..first };
    let acks = raw.hear(rest);
    assert_eq!(acks.last().map(|ack| ack.ack), Some(IRS + 1 + 12 + 10 + 1));
    assert!(raw.told().is_empty() && !raw.shard.has_work());
    let conn = raw.shard.accept(id, raw.now).expect("one waits");
    let told = raw.told();
    assert_eq!(told, ["1000: accepted", "1000: with the ACK, after it", "1000: fin"]);
    assert_eq!(raw.shard.with(conn, raw.now, |conn| conn.tuple().remote_port), Some(1000));
}

// CM-3.e: the window is the bound of what is kept.
#[test]
fn established_before_accept_the_window_closes() {
    let (mut raw, id) = Raw::listening(on_call(4), |config| config.tcp.receive_window = 4_380);
    let syn_ack = raw.open(1000);
    let mut window = 4_380;
    for n in 0..6 {
        let says = Says { text: &[b'x'; 1000], ..syn(1000).answer(&syn_ack) };
        let acks = raw.hear(Says { seq: says.seq + 1000 * n, ..says });
        window = acks.last().map_or(window, |ack| ack.window.into());
    }
    assert_eq!((window, raw.shard.buffered() / 4096), (0, 2));
    raw.shard.accept(id, raw.now).expect("one waits");
    let told = raw.told();
    assert_eq!(told.iter().skip(1).map(|text| text.len() - 6).sum::<usize>(), 4_380);
}

// Linux: a connection that was reset while it waited is accepted, and then says so.
#[test]
fn established_before_accept_reset_is_told_after_it() {
    let (mut raw, id) = Raw::listening(on_call(4), |_| {});
    raw.open(1000);
    raw.hear(Says { seq: IRS + 1, flags: RST, ..syn(1000) });
    assert_eq!((raw.shard.waiting(id), raw.shard.flows()), (1, 0));
    assert!(raw.told().is_empty());
    // Its name is free.
    raw.open(1000);
    let first = raw.shard.accept(id, raw.now).expect("one waits");
    assert_eq!(raw.told(), ["1000: accepted", "1000: Reset"]);
    assert_eq!(raw.shard.with(first, raw.now, |_| ()), None);
    raw.shard.accept(id, raw.now).expect("another waits");
    assert_eq!(raw.told(), ["1000: accepted"]);
    assert_eq!(raw.shard.flows(), 1);
}

// Linux: what nobody accepted is reset, and half-open entries are forgotten.
#[test]
fn unlisten_resets_what_waits_and_keeps_what_was_accepted() {
    let (mut raw, id) = Raw::listening(on_call(4), |_| {});
    let accepted = raw.open(1000);
    raw.shard.accept(id, raw.now).expect("one waits");
    raw.told();
    let waiting = raw.open(1001);
    let ended = raw.open(1002);
    raw.hear(Says { seq: IRS + 1, flags: RST, ..syn(1002) });
    let half_open = raw.answer(syn(1003));
    assert!(raw.shard.unlisten(id, raw.now));
    let resets = raw.sent();
    assert_eq!(resets.len(), 1, "{resets:?}");
    assert_eq!((resets[0].port, resets[0].seq), (1001, waiting.seq + 1));
    assert!(resets[0].flags.contains(RST));
    let late = raw.answer(syn(1003).answer(&half_open));
    assert_eq!((late.flags, late.seq), (RST, half_open.seq + 1));
    assert!(raw.pass(secs(100)).is_empty());
    raw.hear(Says { text: b"on", ..syn(1000).answer(&accepted) });
    assert_eq!(raw.told(), ["1000: on"], "nobody hears of the others: {ended:?}");
    assert_eq!((raw.shard.flows(), raw.shard.buffered()), (1, 0));
    assert_eq!(raw.shard.accept(id, raw.now), None);
}

#[test]
fn shutdown_resets_what_waits() {
    let (mut raw, id) = Raw::listening(on_call(4), |_| {});
    raw.open(1000);
    raw.answer(syn(1001));
    raw.shard.on_command(Command::Shutdown { deadline: raw.now + secs(1) }, raw.now);
    assert!(raw.sent().iter().all(|sent| sent.flags.contains(RST)));
    assert_eq!((raw.shard.waiting(id), raw.shard.flows()), (0, 0));
    assert!(raw.shard.is_idle() && raw.told().is_empty());
}

// CM-3.b. Linux: the SYN queue is full at backlog entries; without cookies further SYNs are
// dropped.
#[test]
fn listen_full_syn_queue_drops_without_cookies() {
    let (mut raw, _) = Raw::listening(|listener| listener.backlog = 3, no_cookies);
    for port in 1000..1003 {
        assert!(raw.answer(syn(port)).is(SYN.union(ACK)));
    }
    assert!(raw.hear(syn(1003)).is_empty());
    assert_eq!((raw.count(Counter::SynQueueFull), raw.count(Counter::HalfOpenFull)), (1, 0));
    // A listener's queue is its own.
    raw.shard.listen(Listener::new(Some(addr(1)), PORT, 0), raw.now).expect("free");
    assert!(raw.answer(syn(1003)).is(SYN.union(ACK)));
    // What leaves the queue makes room.
    raw.hear(Says { seq: IRS + 1, flags: RST, ..syn(1000) });
    raw.pass(secs(64));
    assert_eq!(raw.shard.census()[State::SynReceived as usize], 0);
    assert_eq!(raw.shard.flows(), 0);
}

#[test]
fn listen_full_table_of_half_open_entries_is_counted() {
    let (mut raw, _) = Raw::listening(
        |_| {},
        |config| {
            no_cookies(config);
            config.limits.half_open = 2;
        },
    );
    raw.answer(syn(1000));
    raw.answer(syn(1001));
    assert!(raw.hear(syn(1002)).is_empty());
    assert_eq!((raw.count(Counter::SynQueueFull), raw.count(Counter::HalfOpenFull)), (1, 1));
}

#[test]
fn syn_received_full_table_of_connections_drops_the_ack() {
    let (mut raw, _) = Raw::listening(|_| {}, |config| config.limits.connections = 1);
    raw.open(1000);
    let syn_ack = raw.answer(syn(1001));
    assert!(raw.hear(syn(1001).answer(&syn_ack)).is_empty());
    assert_eq!(raw.count(Counter::TableFull), 1);
    assert_eq!(raw.shard.census()[State::SynReceived as usize], 1);
}

// CM-2.d, CM-3.f, CM-10.b, CM-10.c: five repetitions, 63 s, and then the entry goes; what the peer says
// later is reset.
#[test]
fn syn_received_silence_doubles_and_ends_after_63_seconds() {
    let (mut raw, _) = Raw::listening(|_| {}, |_| {});
    let syn_ack = raw.answer(syn(1000));
    let sent = raw.pass(secs(62));
    let seconds: Vec<_> = sent.iter().map(|(at, _)| at / 1000).collect();
    assert_eq!(seconds, [1, 3, 7, 15, 31]);
    assert!(sent.iter().all(|(_, again)| again.seq == syn_ack.seq && again.is(SYN.union(ACK))));
    assert_eq!(raw.count(Counter::SynAckRetransmits), 5);
    assert_eq!(raw.shard.flows(), 1);
    assert!(raw.pass(secs(2)).is_empty());
    assert_eq!((raw.shard.flows(), raw.count(Counter::FailedOpens)), (0, 1));
    assert!(raw.answer(syn(1000).answer(&syn_ack)).is(RST));
}

// CM-10.d: from the same entry with the same ISN, but not more often than twice a second.
#[test]
fn syn_received_repeated_syn_is_answered_alike_within_a_limit() {
    let (mut raw, _) = Raw::listening(|_| {}, |_| {});
    let first = raw.answer(full_syn(1000, 500));
    let again = raw.answer(full_syn(1000, 600));
    assert_eq!((again.seq, again.flags), (first.seq, SYN.union(ACK)));
    // RFC 7323 4.3: the newer timestamp is echoed.
    assert_eq!(again.options.timestamps.map(|stamps| stamps.echo), Some(600));
    for _ in 0..100 {
        assert!(raw.hear(full_syn(1000, 600)).is_empty());
    }
    assert_eq!(raw.count(Counter::ChallengeAcksLimited), 100);
    assert!(raw.pass(Duration::from_millis(500)).is_empty());
    assert_eq!(raw.answer(full_syn(1000, 600)).seq, first.seq);
    // The timer began anew with the last answer: a second from there.
    let sent = raw.pass(secs(1));
    assert_eq!(sent.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1_000]);
    assert_eq!(raw.shard.flows(), 1);
}

#[test]
fn syn_received_segments_that_do_not_fit_are_answered_within_a_limit() {
    let (mut raw, _) = Raw::listening(|_| {}, |_| {});
    let syn_ack = raw.answer(syn(1000));
    let odd = Says { seq: IRS - 5, ..syn(1000).answer(&syn_ack) };
    let answers: usize = (0..50).map(|_| raw.hear(odd).len()).sum();
    assert_eq!(answers, 1);
    raw.pass(Duration::from_millis(500));
    assert!(raw.answer(odd).is(ACK));
}

// RFC 9293 3.5.1, figure 8 (CM-2.g): the answer to an old SYN is reset by the peer, and the new SYN
// opens.
#[test]
fn syn_received_old_duplicate_syn_gives_way_to_the_new_one() {
    let (mut raw, _) = Raw::listening(|_| {}, |_| {});
    let old = raw.answer(Says { seq: 90, ..syn(1000) });
    assert_eq!(old.ack, 91);
    assert!(raw.hear(Says { seq: 91, flags: RST, ..syn(1000) }).is_empty());
    let new = raw.answer(Says { seq: 100, ..syn(1000) });
    assert_eq!(new.ack, 101);
    assert!(raw.hear(syn(1000).answer(&new)).is_empty());
    assert_eq!(raw.told(), ["1000: accepted"]);
}

// CM-1.i. RFC 9293 3.10.7.4, fourth: another SYN in the window returns a passive open to LISTEN;
// repeated, it opens.
#[test]
fn syn_received_another_syn_in_the_window_returns_to_listen() {
    let (mut raw, _) = Raw::listening(|_| {}, |_| {});
    raw.answer(Says { seq: 90, ..syn(1000) });
    assert!(raw.hear(Says { seq: 100, ..syn(1000) }).is_empty());
    assert_eq!((raw.shard.flows(), raw.count(Counter::FailedOpens)), (0, 1));
    assert_eq!(raw.answer(Says { seq: 100, ..syn(1000) }).ack, 101);
}

// CM-1.h: text on a SYN is not acknowledged, and comes again.
#[test]
fn listen_text_on_the_syn_comes_again() {
    let (mut raw, _) = Raw::listening(|_| {}, |_| {});
    let syn_ack = raw.answer(Says { text: b"early", ..syn(1000) });
    assert_eq!(syn_ack.ack, IRS + 1);
    raw.hear(Says { text: b"early", ..syn(1000).answer(&syn_ack) });
    assert_eq!(raw.told(), ["1000: accepted", "1000: early"]);
}

// Linux's TCP_DEFER_ACCEPT: an acknowledgment without data opens nothing until the time is over.
#[test]
fn syn_received_deferred_accept_waits_for_data() {
    let defers = |listener: &mut Listener| listener.defers_accept = Some(secs(5));
    let (mut raw, _) = Raw::listening(defers, |_| {});
    let syn_ack = raw.open(1000);
    assert_eq!((raw.told().len(), raw.count(Counter::AcceptsDeferred)), (0, 1));
    raw.pass(secs(1));
    raw.hear(Says { text: b"hello", ..syn(1000).answer(&syn_ack) });
    assert_eq!(raw.told(), ["1000: accepted", "1000: hello"]);
    // FIN is as good as data.
    let syn_ack = raw.open(1001);
    raw.hear(Says { flags: FIN.union(ACK), ..syn(1001).answer(&syn_ack) });
    assert_eq!(raw.told(), ["1001: accepted", "1001: fin"]);
}

#[test]
fn syn_received_deferred_accept_opens_without_data_in_the_end() {
    let defers = |listener: &mut Listener| listener.defers_accept = Some(secs(5));
    let (mut raw, _) = Raw::listening(defers, |_| {});
    let syn_ack = raw.open(1000);
    // Five seconds are three timeouts: nothing is sent until the last of them.
    let sent = raw.pass(secs(8));
    assert_eq!(sent.iter().map(|(at, _)| at / 1000).collect::<Vec<_>>(), [7]);
    raw.hear(syn(1000).answer(&syn_ack));
    assert_eq!(raw.told(), ["1000: accepted"]);
}

#[test]
fn syn_received_deferred_accept_of_a_silent_peer_ends() {
    let defers = |listener: &mut Listener| listener.defers_accept = Some(secs(5));
    let (mut raw, _) = Raw::listening(defers, |_| {});
    raw.open(1000);
    raw.pass(secs(200));
    assert_eq!((raw.shard.flows(), raw.told().len()), (0, 0));
}

#[test]
fn listen_settings_show_in_the_syn_ack() {
    let settings: Arc<[Setting]> =
        Arc::new([Setting::MaxSegment(1000), Setting::ReceiveBuffer(8_000)]);
    let (mut raw, _) = Raw::listening(|listener| listener.settings = settings, |_| {});
    let syn_ack = raw.answer(syn(1000));
    assert_eq!((syn_ack.options.mss, syn_ack.window), (Some(1000), 8_000));
}

// The table of next hops is bounded: what finds no room there cannot be reached.
#[test]
fn syn_sent_full_table_of_next_hops_is_counted() {
    let mut raw = Raw::new(|config| config.limits.neighbours = 1);
    for host in [2, 3] {
        let to = Command::Connect { remote: addr(host), remote_port: 7, service: 0 };
        raw.shard.on_command(to, raw.now);
        raw.sent();
    }
    assert_eq!((raw.count(Counter::NeighboursFull), raw.shard.flows()), (1, 1));
    assert_eq!(raw.told(), ["0: Unreachable(NextHop)"]);
}

//! Rules of RFC 9293 and promises of ours that no other file shows.

use super::addr;
use super::raw::{ACK, FIN, PORT, RST, Raw, SYN, Says, syn};
use crate::counters::Counter;
use crate::shard::{Command, Open};
use crate::tables::listeners::{Accepts, Listener};
use crate::tcp::{Config, State};
use crate::time::Duration;
use crate::wire::MacAddr;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// OPEN from [`PORT`] to the peer's port 1000.
fn open(raw: &mut Raw) {
    let open = Open {
        local: None,
        local_port: Some(PORT),
        remote: addr(2),
        remote_port: 1000,
        service: 0,
        user: 0,
        settings: Vec::new(),
    };
    raw.shard.open(&open, raw.now).expect("the name is free");
}

/// As [`open`], and the SYN goes out; our ISN.
fn opening(raw: &mut Raw) -> u32 {
    open(raw);
    raw.sent().remove(0).seq
}

/// Goes from timer to timer in silence until `is_over`; how often something was sent.
fn repeat_until(raw: &mut Raw, is_over: impl Fn(&mut Raw) -> bool) -> usize {
    let mut repeated = 0;
    while !is_over(raw) {
        raw.now = raw.shard.next_deadline().expect("a timer runs");
        raw.shard.on_timers(raw.now);
        repeated += usize::from(!raw.frames().is_empty());
    }
    repeated
}

// CM-1.j: we open to a peer that opens to us, and our port listens too.
#[test]
fn syn_sent_peer_of_a_listening_port_opens_too_and_one_connection_results() {
    let (mut raw, _) = Raw::listening(|_| {}, |_| {});
    let iss = opening(&mut raw);
    let answer = raw.answer(syn(1000));
    assert_eq!((answer.flags, answer.seq), (SYN.union(ACK), iss));
    raw.hear(Says { ack: iss + 1, flags: SYN.union(ACK), ..syn(1000) });
    assert_eq!((raw.told(), raw.shard.flows()), (vec!["1000: connected".into()], 1));
    assert_eq!(raw.shard.census()[State::SynReceived as usize], 0);
}

// CM-2.e, RFC 9293 3.8.3 (MUST-21).
#[test]
fn open_of_either_side_ends_after_the_configured_number_of_repetitions() {
    let (mut raw, _) = Raw::listening(
        |_| {},
        |config| (config.tcp.syn_retries, config.tcp.syn_ack_retries) = (2, 1),
    );
    let listens = |raw: &Raw| raw.shard.census()[State::SynReceived as usize];
    raw.hear(syn(1001));
    assert_eq!((raw.pass(secs(60)).len(), listens(&raw)), (1, 0));
    opening(&mut raw);
    assert_eq!(raw.pass(secs(60)).len(), 2);
    assert_eq!(raw.told(), ["0: TimedOut"]);
}

// CM-6.a.
#[test]
fn time_wait_lasts_for_the_configured_2msl() {
    assert_eq!(Config::default().time_wait, secs(60));
    let on_call = |listener: &mut Listener| listener.accepts = Accepts::OnCall;
    let (mut raw, id) = Raw::listening(on_call, |config| config.tcp.time_wait = secs(5));
    raw.time_wait(id, 1000, None);
    raw.pass(Duration::from_millis(4_999));
    assert_eq!(raw.shard.flows(), 1);
    raw.pass(Duration::from_millis(2));
    assert_eq!(raw.shard.flows(), 0);
}

// CM-10.c: the entry of a silent client is gone, and it believes to be connected.
#[test]
fn listen_client_that_speaks_after_its_entry_is_gone_is_reset() {
    let (mut raw, _) = Raw::listening(|_| {}, |_| {});
    let syn_ack = raw.answer(syn(1000));
    raw.pass(secs(64));
    let late = Says { text: b"late", ..syn(1000).answer(&syn_ack) };
    let reset = raw.answer(late);
    assert_eq!((reset.flags, reset.seq), (RST, late.ack));
    assert!(raw.told().is_empty());
}

// RFC 9293 3.8.3 (MUST-20, SHLD-9, SHLD-10): after three retransmissions the next hop is asked for
// again, and the user hears of it, long before R2.
#[test]
fn established_silent_peer_is_doubted_with_the_third_retransmission() {
    let on_call = |listener: &mut Listener| listener.accepts = Accepts::OnCall;
    let (mut raw, id) = Raw::listening(on_call, |config| config.addrs[0].is_owned = true);
    raw.open(1000);
    let conn = raw.shard.accept(id, raw.now).expect("it is open");
    raw.shard.with(conn, raw.now, |conn| conn.send(b"anybody there?"));
    raw.frames();
    raw.told();
    let asked = raw.count(Counter::ArpRequests);
    let is_told = |raw: &mut Raw| {
        let told = raw.told();
        assert!(told.is_empty() || told == ["1000: trouble"], "{told:?}");
        !told.is_empty()
    };
    // The third goes with a question for the next hop.
    assert_eq!(repeat_until(&mut raw, is_told), 3);
    assert_eq!(raw.count(Counter::ArpRequests), asked + 1);
    assert_eq!(raw.shard.census()[State::Established as usize], 1);
}

// RFC 9293 3.8.3 (MUST-22): a SYN too.
#[test]
fn syn_sent_silent_peer_is_doubted_with_the_third_retransmission() {
    let mut raw = Raw::new(|config| config.addrs[0].is_owned = true);
    open(&mut raw);
    raw.frames();
    let mac = Some(MacAddr([2, 0, 0, 0, 0, 2]));
    raw.shard.on_command(Command::Neighbour { addr: addr(2), mac }, raw.now);
    assert_eq!(raw.frames().len(), 1);
    let asked = raw.count(Counter::ArpRequests);
    let is_asked = |raw: &mut Raw| raw.count(Counter::ArpRequests) > asked;
    assert_eq!(repeat_until(&mut raw, is_asked), 3);
}

// CM-5.h: one orphan more than there may be is reset at once.
#[test]
fn fin_wait_1_orphan_too_many_is_reset() {
    let on_call = |listener: &mut Listener| listener.accepts = Accepts::OnCall;
    let (mut raw, id) = Raw::listening(on_call, |config| config.limits.orphans = 2);
    let mut flags = Vec::new();
    for port in 1000..1003 {
        raw.open(port);
        let conn = raw.shard.accept(id, raw.now).expect("it is open");
        raw.shard.with(conn, raw.now, |conn| conn.close());
        flags.extend(raw.sent().iter().map(|sent| (sent.port, sent.flags)));
    }
    let (fin, rst) = (FIN.union(ACK), RST.union(ACK));
    assert_eq!(flags, [(1000, fin), (1001, fin), (1002, rst)]);
    assert_eq!((raw.shard.orphans(), raw.shard.flows()), (2, 2));
}

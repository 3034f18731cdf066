//! SYN cookies through a shard.

use super::raw::*;
use super::*;
use crate::tables::listeners::Accepts;
use crate::tcp::SynCookies;
use crate::wire::tcp::{Options, Timestamps};

fn always(config: &mut ShardConfig) {
    config.tcp.syn_cookies = SynCookies::Always;
}

fn with_cookies() -> Raw {
    Raw::listening(|_| {}, always).0
}

// CM-3.g.
#[test]
fn listen_full_syn_queue_is_answered_by_cookies() {
    let (mut raw, _) = Raw::listening(|listener| listener.backlog = 2, |_| {});
    raw.answer(syn(1000));
    raw.answer(syn(1001));
    assert_eq!(raw.count(Counter::CookiesSent), 0);
    for port in 1002..1100 {
        raw.open(port);
    }
    assert_eq!((raw.count(Counter::CookiesSent), raw.count(Counter::CookiesReceived)), (98, 98));
    assert_eq!((raw.count(Counter::SynQueueFull), raw.told().len()), (98, 98));
    assert_eq!(raw.shard.census()[State::SynReceived as usize], 2);
}

#[test]
fn listen_full_table_of_half_open_entries_is_answered_by_cookies() {
    let (mut raw, _) = Raw::listening(|_| {}, |config| config.limits.half_open = 0);
    raw.open(1000);
    assert_eq!(raw.told(), ["1000: accepted"]);
    assert_eq!((raw.count(Counter::HalfOpenFull), raw.count(Counter::CookiesSent)), (1, 1));
}

// CM-3.h.
#[test]
fn listen_cookie_without_timestamps_offers_mss_alone() {
    let mut raw = with_cookies();
    let mut asked = full_syn(1000, 0);
    asked.options.timestamps = None;
    let syn_ack = raw.answer(asked);
    assert_eq!(syn_ack.options, Options { mss: Some(1460), ..Options::NONE });
    raw.hear(syn(1000).answer(&syn_ack));
    assert_eq!(raw.told(), ["1000: accepted"]);
    assert_eq!(raw.shard.census()[State::Established as usize], 1);
}

// CM-3.h, CM-3.i. The peer's window scale, SACK and MSS come back with its acknowledgment.
#[test]
fn listen_cookie_with_timestamps_carries_every_option() {
    let mut raw = with_cookies();
    let syn_ack = raw.answer(full_syn(1000, 700));
    let options = syn_ack.options;
    assert_eq!(
        (options.mss, options.window_scale, options.sack_permitted),
        (Some(1460), Some(7), true)
    );
    let stamps = options.timestamps.expect("timestamps were offered");
    assert_eq!(stamps.echo, 700);
    let acks = raw.hear(Says { text: b"hi", ..syn(1000).answer(&syn_ack) });
    // CM-3.i, CM-3.j; RFC 7323 5.3: what follows is not older than the SYN-ACK.
    let next = acks[0].options.timestamps.expect("timestamps are on");
    assert!((next.value.wrapping_sub(stamps.value) as i32) >= 0, "{next:?} {stamps:?}");
    assert_eq!(raw.told(), ["1000: accepted", "1000: hi"]);
    let (_, conn) = raw.shard.core.conns.iter().next().expect("it is open");
    let info = conn.tcb.info(raw.now);
    assert_eq!((info.snd_wscale, info.has_sack, info.snd_mss), (7, true, 1388));
}

#[test]
fn listen_acknowledgment_of_no_cookie_is_reset_and_counted_after_one_was_sent() {
    let mut raw = with_cookies();
    let guess = Says { flags: ACK, seq: IRS + 1, ack: 12_345, ..syn(1000) };
    assert_eq!(raw.answer(guess).flags, RST);
    assert_eq!(raw.count(Counter::CookiesFailed), 0, "none was sent: nothing is looked at");
    let syn_ack = raw.answer(syn(1000));
    let right = syn(1000).answer(&syn_ack);
    let wrong = [
        Says { ack: right.ack + 8, ..right },
        Says { ack: right.ack - 7, ..right },
        Says { seq: right.seq + 1, ..right },
        Says { port: 1001, ..right },
    ];
    for wrong in wrong {
        let reset = raw.answer(wrong);
        assert_eq!((reset.flags, reset.seq), (RST, wrong.ack), "{wrong:?}");
    }
    assert_eq!(raw.count(Counter::CookiesFailed), 4);
    // SYN and RST beside ACK make it no answer to a SYN-ACK.
    assert!(raw.answer(Says { flags: SYN.union(ACK), ..right }).is(RST));
    assert!(raw.hear(Says { flags: RST.union(ACK), ..right }).is_empty());
    raw.hear(right);
    assert_eq!(raw.told(), ["1000: accepted"]);
}

#[test]
fn listen_cookie_is_good_for_a_minute_and_not_for_three() {
    for (secs, is_good) in [(0, true), (60, true), (67, true), (140, false), (200, false)] {
        let mut raw = with_cookies();
        let syn_ack = raw.answer(syn(1000));
        raw.pass(Duration::from_secs(secs));
        let answers = raw.hear(syn(1000).answer(&syn_ack));
        assert_eq!(answers.is_empty(), is_good, "after {secs} s: {answers:?}");
    }
}

// The listener stops looking once no cookie of its own can be good.
#[test]
fn listen_after_the_flood_acknowledgments_are_not_looked_at() {
    let mut raw = with_cookies();
    raw.answer(syn(1000));
    raw.pass(Duration::from_secs(140));
    let guess = Says { flags: ACK, seq: IRS + 1, ack: 12_345, ..syn(1000) };
    assert!(raw.answer(guess).is(RST));
    assert_eq!(raw.count(Counter::CookiesFailed), 0);
}

// The repeated SYN of a peer whose SYN-ACK was lost has the same ISN.
#[test]
fn listen_cookie_of_a_repeated_syn_is_the_same() {
    let mut raw = with_cookies();
    let first = raw.answer(syn(1000));
    assert_eq!(raw.answer(syn(1000)).seq, first.seq);
}

// What is late of a connection that is over opens no other.
#[test]
fn listen_spent_cookie_is_reset() {
    let mut raw = with_cookies();
    let syn_ack = raw.open(1000);
    raw.hear(Says { seq: IRS + 1, flags: RST, ..syn(1000) });
    assert_eq!(raw.told(), ["1000: accepted", "1000: Reset"]);
    let late = Says { text: b"late", ..syn(1000).answer(&syn_ack) };
    assert!(raw.answer(late).is(RST));
    assert!(raw.told().is_empty());
    assert_eq!(raw.count(Counter::CookiesFailed), 1);
}

// Room for an entry came between the cookie and the repeated SYN: the peer answers the first.
#[test]
fn syn_received_acknowledgment_of_an_earlier_cookie_opens() {
    let (mut raw, _) = Raw::listening(|listener| listener.backlog = 1, |_| {});
    raw.answer(syn(999));
    let cookie = raw.answer(syn(1000));
    raw.hear(Says { seq: IRS + 1, flags: RST, ..syn(999) });
    let entry = raw.answer(syn(1000));
    assert_ne!(entry.seq, cookie.seq);
    raw.hear(Says { text: b"yes", ..syn(1000).answer(&cookie) });
    assert_eq!(raw.told(), ["1000: accepted", "1000: yes"]);
    assert_eq!((raw.shard.flows(), raw.shard.census()[State::SynReceived as usize]), (1, 0));
}

#[test]
fn listen_cookie_finds_the_accept_queue_full() {
    for aborts in [false, true] {
        let (mut raw, id) = Raw::listening(
            |listener| (listener.accepts, listener.backlog) = (Accepts::OnCall, 0),
            |config| {
                always(config);
                config.tcp.abort_on_overflow = aborts;
            },
        );
        let syn_acks = [1000, 1001].map(|port| raw.answer(syn(port)));
        assert!(raw.hear(syn(1000).answer(&syn_acks[0])).is_empty());
        let answers = raw.hear(syn(1001).answer(&syn_acks[1]));
        assert_eq!(answers.iter().any(|answer| answer.is(RST)), aborts);
        assert!(raw.hear(syn(1002)).is_empty(), "no cookie either");
        raw.shard.accept(id, raw.now).expect("one waits");
        if !aborts {
            assert!(raw.hear(syn(1001).answer(&syn_acks[1])).is_empty());
            assert_eq!(raw.shard.waiting(id), 1);
        }
    }
}

#[test]
fn listen_cookie_finds_the_flow_table_or_connections_full() {
    let (mut raw, _) = Raw::listening(
        |_| {},
        |config| {
            always(config);
            config.limits.connections = 1;
        },
    );
    raw.open(1000);
    let syn_ack = raw.answer(syn(1001));
    assert!(raw.hear(syn(1001).answer(&syn_ack)).is_empty());
    assert_eq!((raw.count(Counter::TableFull), raw.shard.flows()), (1, 1));
}

// A million SYNs leave nothing behind.
#[test]
fn listen_flood_leaves_nothing_and_lets_a_client_in() {
    let (mut raw, _) = Raw::listening(|listener| listener.backlog = 64, |_| {});
    for n in 0..20_000_u32 {
        let port = 2_000 + (n % 60_000) as u16;
        raw.hear(Says { seq: n.wrapping_mul(7_919), ..syn(port) });
    }
    assert_eq!(raw.shard.flows(), 64);
    raw.open(1000);
    assert_eq!(raw.told(), ["1000: accepted"]);
    raw.pass(Duration::from_secs(64));
    assert_eq!(raw.shard.flows(), 1);
}

#[test]
fn listen_timestamp_that_echoes_nothing_of_ours_is_harmless() {
    let mut raw = with_cookies();
    let syn_ack = raw.answer(full_syn(1000, 5));
    for echo in [0, 1, u32::MAX] {
        let mut says = syn(1000).answer(&syn_ack);
        says.options.timestamps = Some(Timestamps { value: 6, echo });
        raw.hear(says);
    }
    assert_eq!(raw.told(), ["1000: accepted"]);
}

//! Opening: both roles, both at once, and what goes wrong.

use core::net::{IpAddr, Ipv6Addr};

use super::*;

fn offer() -> Options {
    Options {
        mss: Some(1400),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 500, echo: 0 }),
        ..Options::NONE
    }
}

fn half_open() -> HalfOpen {
    HalfOpen {
        tuple: tuple(),
        iss: SeqNum(ISS),
        irs: SeqNum(IRS),
        offer: Offer::of(&offer()),
        stamp_offset: 77,
        window: 0xffff,
        scale: 7,
        listener: 0,
        timeouts: 0,
        is_acknowledged: false,
        is_repeated: false,
        sent_at: Instant::ZERO,
        answers_from: 0,
    }
}

// RFC 9293 3.7.1 (MUST-14), RFC 7323 2.2 and 3.2, RFC 2018 2: all options are offered.
#[test]
fn syn_sent_open_offers_every_option() {
    let mut bench = Bench::opening();
    let sent = bench.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].seq, sent[0].flags), (ISS, SYN));
    let options = sent[0].options;
    assert_eq!(options.mss, Some(MSS));
    assert_eq!(options.window_scale, Some(7));
    assert!(options.sack_permitted && options.timestamps.is_some());
}

// RFC 9293 3.7.1 (MUST-16), CM-4.a. RFC 9293 3.10.7.3.
#[test]
fn syn_sent_syn_ack_establishes_and_acknowledges_at_once() {
    let mut bench = Bench::opening();
    bench.sent();
    bench.arrive(Segment { options: offer(), ..segment(IRS, ISS + 1, SYN.union(ACK), &[]) });
    assert_eq!(bench.tcb.state(), State::Established);
    assert!(bench.tcb.poll_event().opened);
    let sent = bench.sent();
    assert_eq!((sent[0].seq, sent[0].ack, sent[0].flags), (ISS + 1, IRS + 1, ACK));
    assert_eq!(sent[0].options.timestamps.map(|stamps| stamps.echo), Some(500));
    bench.send(&[1; 3000]);
    let lengths: Vec<_> = bench.sent().iter().map(|sent| sent.text.len()).collect();
    // RFC 9293 3.7.1: the peer's MSS counts, less the options.
    assert_eq!(lengths[..2], [1388, 1388]);
}

// RFC 9293 3.10.7.3, first: an unacceptable ACK is answered with RST.
#[test]
fn syn_sent_bad_ack_is_refused() {
    let mut bench = Bench::opening();
    bench.sent();
    assert!(bench.arrive(segment(IRS, ISS + 2, ACK, &[])));
    assert!(!bench.arrive(segment(IRS, ISS + 2, RST.union(ACK), &[])));
    assert!(!bench.arrive(segment(IRS, 0, RST, &[])));
    assert_eq!(bench.tcb.state(), State::SynSent);
}

#[test]
fn syn_sent_rst_with_our_ack_is_a_refusal() {
    let mut bench = Bench::opening();
    bench.sent();
    bench.arrive(segment(0, ISS + 1, RST.union(ACK), &[]));
    assert_eq!(bench.tcb.poll_event().closed, Some(CloseReason::Refused));
    assert!(bench.tcb.is_over());
}

// CM-2.c. RFC 9293 3.8.3 (MUST-23): at least three minutes of SYNs, doubling from one second.
#[test]
fn syn_sent_silence_doubles_and_times_out_after_247_seconds() {
    let mut bench = Bench::opening();
    assert_eq!(bench.sent_flags(), [SYN]);
    let mut waits = Vec::new();
    loop {
        waits.push(bench.wait() / 1000);
        if bench.tcb.state() == State::Closed {
            break;
        }
        assert_eq!(bench.sent_flags(), [SYN]);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 120]);
    assert_eq!(bench.tcb.poll_event().closed, Some(CloseReason::TimedOut));
}

// RFC 9293 3.5 (MUST-10), CM-1.b. RFC 9293 figure 7: both open at once.
#[test]
fn syn_sent_syn_opens_simultaneously() {
    let mut bench = Bench::opening();
    bench.sent();
    bench.arrive(Segment { options: offer(), ..segment(IRS, 0, SYN, &[]) });
    assert_eq!(bench.tcb.state(), State::SynReceived);
    let sent = bench.sent();
    assert_eq!((sent[0].seq, sent[0].ack), (ISS, IRS + 1));
    assert_eq!(sent[0].flags, SYN.union(ACK));
    let options = Options { timestamps: Some(Timestamps { value: 501, echo: 0 }), ..offer() };
    bench.arrive(Segment { options, ..segment(IRS, ISS + 1, SYN.union(ACK), &[]) });
    assert_eq!(bench.tcb.state(), State::Established);
}

// RFC 9293 figure 7, where the peer's SYN and its SYN-ACK come in one turn: our own SYN-ACK was
// never sent, and the peer waits for its SYN to be acknowledged.
#[test]
fn syn_received_syn_ack_before_ours_was_sent_is_acknowledged_at_once() {
    let mut bench = Bench::opening();
    bench.sent();
    bench.arrive(Segment { options: offer(), ..segment(IRS, 0, SYN, &[]) });
    bench.arrive(Segment { options: offer(), ..segment(IRS, ISS + 1, SYN.union(ACK), &[]) });
    assert_eq!(bench.tcb.state(), State::Established);
    let sent = bench.sent();
    assert_eq!(sent.len(), 1, "the peer would repeat its SYN-ACK after a second");
    assert_eq!((sent[0].seq, sent[0].ack, sent[0].flags), (ISS + 1, IRS + 1, ACK));
}

// CM-1.i, CM-10.d.
#[test]
fn half_open_syn_again_repeats_and_other_segments_get_their_due() {
    let half = half_open();
    let stamped = |mut segment: Segment<'static>| {
        segment.options.timestamps = Some(Timestamps { value: 501, echo: 0 });
        half.on_segment(&segment)
    };
    assert_eq!(stamped(segment(IRS, 0, SYN, &[])), HalfOpenVerdict::Repeat);
    assert_eq!(stamped(segment(IRS + 1, ISS + 1, ACK, &[])), HalfOpenVerdict::Open);
    assert_eq!(stamped(segment(IRS + 1, ISS, ACK, &[])), HalfOpenVerdict::Refuse);
    assert_eq!(stamped(segment(IRS + 1, ISS + 2, ACK, &[])), HalfOpenVerdict::Refuse);
    assert_eq!(stamped(segment(IRS + 1, 0, RST, &[])), HalfOpenVerdict::Remove);
    assert_eq!(stamped(segment(IRS + 2, 0, RST, &[])), HalfOpenVerdict::Acknowledge);
    assert_eq!(stamped(segment(IRS - 9, 0, RST, &[])), HalfOpenVerdict::Drop);
    assert_eq!(stamped(segment(IRS - 9, ISS + 1, ACK, &[])), HalfOpenVerdict::Acknowledge);
    assert_eq!(stamped(segment(IRS + 1, 0, Flags::NONE, &[1])), HalfOpenVerdict::Drop);
    // As on Linux, and unlike RFC 7323 3.2: nothing to check is no reason to drop.
    assert_eq!(half.on_segment(&segment(IRS + 1, ISS + 1, ACK, &[])), HalfOpenVerdict::Open);
}

// CM-4.b, CM-4.c. RFC 7323 2.2 and 3.2, RFC 2018 2: a SYN-ACK names only what the SYN offered.
#[test]
fn half_open_answer_names_only_what_was_offered() {
    let config = Config::default();
    let full = half_open().syn_ack(MSS, &config, Instant::from_millis(5)).options;
    assert_eq!((full.mss, full.window_scale, full.sack_permitted), (Some(MSS), Some(7), true));
    assert_eq!(full.timestamps, Some(Timestamps { value: 82, echo: 500 }));
    let bare = HalfOpen { offer: Offer::default(), ..half_open() };
    let bare = bare.syn_ack(MSS, &config, Instant::ZERO).options;
    assert_eq!(bare, Options { mss: Some(MSS), ..Options::NONE });
}

#[test]
fn syn_received_text_on_the_third_segment_is_taken() {
    let half = HalfOpen { offer: Offer { mss: Some(1400), ..Offer::default() }, ..half_open() };
    let mut bench =
        Bench::with(Config::default(), |env| Tcb::accept(&half, MSS, env, Instant::ZERO));
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, b"hello"));
    assert_eq!(bench.tcb.state(), State::Established);
    assert_eq!(bench.got, b"hello");
}

// RFC 7323 4.3: the SYN-ACK acknowledged the SYN, so the first text already moves TS.Recent.
#[test]
fn syn_received_first_text_moves_ts_recent() {
    let half = half_open();
    let mut bench =
        Bench::with(Config::default(), |env| Tcb::accept(&half, MSS, env, Instant::ZERO));
    let stamped = |value, segment: Segment<'static>| {
        let timestamps = Some(Timestamps { value, echo: 0 });
        Segment { options: Options { timestamps, ..Options::NONE }, ..segment }
    };
    bench.arrive(stamped(600, segment(IRS + 1, ISS + 1, ACK, b"hello")));
    bench.arrive(stamped(550, segment(IRS + 6, ISS + 1, ACK, b"old")));
    assert_eq!(bench.got, b"hello");
}

// RFC 9293 3.7.1 (MUST-15): 1220 without the option over IPv6.
#[test]
fn syn_received_peer_of_ipv6_without_mss_option_gets_1220_octets() {
    let addr = |n| Addr::from(IpAddr::from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n)));
    let tuple = FourTuple { local: addr(1), remote: addr(2), ..tuple() };
    let half = HalfOpen { tuple, offer: Offer::default(), ..half_open() };
    let bench = Bench::with(Config::default(), |env| Tcb::accept(&half, MSS, env, Instant::ZERO));
    assert_eq!(bench.tcb.info(bench.now).snd_mss, 1220);
}

// RFC 9293 3.7.1 (MUST-15): 536 without the option.
#[test]
fn syn_received_peer_without_mss_option_gets_536_octets() {
    let half = HalfOpen { offer: Offer::default(), ..half_open() };
    let mut bench =
        Bench::with(Config::default(), |env| Tcb::accept(&half, MSS, env, Instant::ZERO));
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, &[]));
    bench.send(&[1; 1000]);
    assert_eq!(bench.sent()[0].text.len(), 536);
}

// RFC 6298 5.5: the time doubles with each, up to two minutes; after the last one the entry goes.
#[test]
fn half_open_timeouts_double_and_end() {
    let mut half = half_open();
    let mut waits = vec![half.timeout()];
    while let HalfOpenTimeout::Repeat(wait) = half.on_timeout(8, 0) {
        waits.push(wait);
    }
    let waits: Vec<_> = waits.iter().map(|wait| wait.as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
    assert_eq!(HalfOpen::lasts(6), crate::time::Duration::from_secs(63));
    assert_eq!(half.on_timeout(8, 0), HalfOpenTimeout::Expire);
}

// Linux's TCP_DEFER_ACCEPT: a peer that has answered is left alone until the last timeout, and keeps
// its place until then whatever the retries are.
#[test]
fn half_open_deferred_waits_for_data_of_a_peer_that_answered() {
    let mut half = HalfOpen { is_acknowledged: true, ..half_open() };
    let mut steps = Vec::new();
    loop {
        match half.on_timeout(1, 3) {
            HalfOpenTimeout::Expire => break,
            HalfOpenTimeout::Wait(_) => steps.push("wait"),
            HalfOpenTimeout::Repeat(_) => steps.push("repeat"),
        }
    }
    assert_eq!(steps, ["wait", "wait", "repeat"]);
    // One that has not answered is asked again each time, and goes with the retries.
    let mut half = half_open();
    assert!(matches!(half.on_timeout(1, 3), HalfOpenTimeout::Repeat(_)));
    assert_eq!(half.on_timeout(1, 3), HalfOpenTimeout::Expire);
}

#[test]
fn half_open_answers_what_does_not_fit_twice_a_second_at_any_time() {
    for start in [0, 1_000, (1 << 31) - 100, (1 << 32) - 100, (1 << 32) + 5] {
        let at = |ms: u64| Instant::from_millis(start + ms);
        let mut half = HalfOpen { answers_from: start as u32, ..half_open() };
        assert!(half.may_answer(at(0)));
        assert!(!half.may_answer(at(0)) && !half.may_answer(at(499)));
        assert!(half.may_answer(at(500)), "{start}");
    }
}

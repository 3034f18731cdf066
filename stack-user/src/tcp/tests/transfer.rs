//! Text: order, windows, acknowledgments, retransmission, and blind attacks on them.

use super::*;

// RFC 9293 3.10.7.4 (SHLD-31, MAY-13), CM-4.c. RFC 9293 3.10.7.4, seventh; RFC 2018 4.
#[test]
fn established_gap_is_reported_by_sack_and_filled_in_order() {
    let mut bench = Bench::open();
    let (a, b, c) = ([1; 100], [2; 100], [3; 100]);
    bench.arrive(segment(IRS + 201, ISS + 1, ACK, &c));
    bench.arrive(segment(IRS + 101, ISS + 1, ACK, &b));
    let sent = bench.sent();
    assert_eq!(sent.len(), 2, "each duplicate ACK is sent");
    assert!(sent.iter().all(|sent| sent.ack == IRS + 1 && sent.text.is_empty()));
    assert_eq!(sent[1].options.sack.as_slice(), [(IRS + 101, IRS + 301)]);
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, &a));
    assert_eq!(bench.got, [a, b, c].concat());
    assert_eq!(bench.counters[Counter::DataBytesIn], 300);
    let sent = bench.sent();
    assert_eq!((sent[0].ack, sent[0].options.sack.is_empty()), (IRS + 301, true));
}

#[test]
fn established_overlapping_segment_is_trimmed() {
    let mut bench = Bench::open();
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, b"abc"));
    bench.arrive(segment(IRS + 2, ISS + 1, ACK, b"bcde"));
    assert_eq!(bench.got, b"abcde");
}

// RFC 9293 3.8.6.3 (MUST-40, MUST-58, MUST-59, SHLD-18, SHLD-19): delayed by less than 0.5 s, and
// every second full segment.
#[test]
fn established_text_is_acknowledged_every_second_segment_or_after_40_ms() {
    let mut bench = Bench::open();
    let text = [0; 1000];
    let mut seq = IRS + 1;
    for _ in 0..16 {
        bench.arrive(segment(seq, ISS + 1, ACK, &text));
        assert_eq!(bench.sent().len(), 1, "quick at the start");
        seq += 1000;
    }
    bench.arrive(segment(seq, ISS + 1, ACK, &text));
    assert_eq!(bench.sent().len(), 0);
    bench.arrive(segment(seq + 1000, ISS + 1, ACK, &text));
    assert_eq!(bench.sent().len(), 1);
    bench.arrive(segment(seq + 2000, ISS + 1, ACK, &text));
    assert_eq!(bench.sent().len(), 0);
    assert_eq!(bench.wait(), 40);
    assert_eq!(bench.sent()[0].ack, seq + 3000);
}

// RFC 6298 5.4 to 5.6; RFC 5681 3.1.
#[test]
fn established_silence_retransmits_with_back_off_until_r2() {
    let mut bench = Bench::open();
    bench.send(b"hello");
    let first = bench.sent();
    let mut waits = Vec::new();
    while bench.tcb.state() == State::Established {
        waits.push(bench.wait());
        if bench.tcb.state() == State::Established {
            assert_eq!(bench.sent(), first);
        }
    }
    // The least round trip is a microsecond, and deadlines are rounded up to the tick.
    assert_eq!(waits[..4], [201, 401, 801, 1601]);
    assert_eq!(waits.len(), 16);
    // RFC 9293 3.8.3 (SHLD-11): R2 is at least 100 s.
    assert!(waits.iter().sum::<u64>() > 100_000);
    assert_eq!(bench.tcb.poll_event().closed, Some(CloseReason::TimedOut));
}

// RFC 5681 3.2; RFC 6582.
#[test]
fn established_three_duplicates_retransmit_the_first_segment_only() {
    let mut bench = Bench::open_without_sack();
    bench.send(&[5; 10 * 1460]);
    assert_eq!(bench.sent().len(), 10);
    for _ in 0..2 {
        bench.arrive(segment(IRS + 1, ISS + 1, ACK, &[]));
        assert!(bench.sent().is_empty());
    }
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, &[]));
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].seq), (1, ISS + 1));
    assert_eq!(bench.counters[Counter::FastRetransmits], 1);
    // A partial acknowledgment: the next hole.
    bench.arrive(segment(IRS + 1, ISS + 1 + 4 * 1460, ACK, &[]));
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].seq), (1, ISS + 1 + 4 * 1460));
}

// RFC 9293 3.7.4 (SHLD-7) and 3.9.1 (MUST-17): Nagle, and without it.
#[test]
fn established_short_segment_waits_for_the_acknowledgment_unless_nodelay() {
    let mut bench = Bench::open();
    bench.send(b"a");
    assert_eq!(bench.sent().len(), 1);
    bench.send(b"b");
    assert!(bench.sent().is_empty());
    bench.arrive(segment(IRS + 1, ISS + 2, ACK, &[]));
    assert_eq!(bench.sent()[0].text, b"b");
    bench.set(Setting::NoDelay(true));
    bench.send(b"c");
    assert_eq!(bench.sent()[0].text, b"c");
}

// RFC 9293 3.8.6.1 (MUST-36, MUST-37, SHLD-29, SHLD-30).
#[test]
fn established_zero_window_is_probed_as_long_as_the_peer_answers() {
    let mut bench = Bench::open();
    let closed = || Segment { window: 0, ..segment(IRS + 1, ISS + 1, ACK, &[]) };
    bench.arrive(closed());
    bench.send(b"hello");
    assert!(bench.sent().is_empty());
    let mut waits = Vec::new();
    for _ in 0..20 {
        waits.push(bench.wait());
        let sent = bench.sent();
        // Outside of the window: whatever the peer does with text, it has to answer this.
        assert_eq!((sent.len(), sent[0].seq, sent[0].text.len()), (1, ISS, 0));
        bench.arrive(closed());
    }
    assert!(waits.is_sorted() && waits[19] <= 120_000);
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, &[]));
    assert_eq!(bench.sent()[0].text, b"hello");
    assert_eq!(bench.counters[Counter::WindowProbes], 20);
}

// RFC 9293 3.8.6 (SHLD-14): the window is not shrunk, and 3.8.6.2.2 (MUST-39): nor opened by
// crumbs.
#[test]
fn established_unread_text_closes_the_window_and_consumption_opens_it_in_steps() {
    let mut bench = Bench::open();
    let text = [0; 1460];
    let mut edge = IRS + 1 + 65_535;
    let mut seq = IRS + 1;
    loop {
        let sent_before = bench.tcb.rcv.edge.since(SeqNum(seq));
        if sent_before == 0 {
            break;
        }
        let n = sent_before.min(1460) as usize;
        bench.arrive(segment(seq, ISS + 1, ACK, &text[..n]));
        seq += n as u32;
        bench.env(|tcb, env| tcb.keep_unread(&text[..n], env));
        for sent in bench.sent() {
            let now = sent.ack + u32::from(sent.window);
            assert!(now >= edge || sent.ack + u32::from(sent.window) == edge);
            edge = now;
        }
    }
    // A probe into the closed window is answered, its text not taken.
    let got = bench.got.len();
    bench.arrive(segment(seq, ISS + 1, ACK, &[9]));
    assert_eq!((bench.sent()[0].window, bench.got.len()), (0, got));
    let mut chain = bench.tcb.take_unread();
    chain.consume(&mut bench.pool, 100);
    bench.tcb.put_unread(chain);
    bench.tcb.on_consumed();
    assert!(bench.sent().is_empty(), "100 octets are no step");
    let mut chain = bench.tcb.take_unread();
    chain.consume(&mut bench.pool, 2000);
    bench.tcb.put_unread(chain);
    bench.tcb.on_consumed();
    assert_eq!(bench.sent()[0].window, 2101);
}

// RFC 9293 3.10.7.4 (MAY-12), CM-7.a, CM-7.b, CM-7.c, CM-7.d, CM-7.h. RFC 5961 3, 4 and 5.
#[test]
fn established_blind_rst_syn_and_ack_are_challenged_within_the_budget() {
    let mut bench = Bench::open();
    for flags in [RST, SYN] {
        bench.arrive(segment(IRS + 100, ISS + 1, flags, &[]));
        assert_eq!(bench.sent_flags(), [ACK]);
    }
    bench.arrive(segment(IRS + 1, ISS + 5000, ACK, b"evil"));
    bench.arrive(segment(IRS + 1, ISS.wrapping_sub(70_000), ACK, b"evil"));
    assert_eq!(bench.sent_flags(), [ACK, ACK]);
    assert!(bench.got.is_empty());
    for _ in 0..100 {
        bench.arrive(segment(IRS + 100, 0, RST, &[]));
    }
    assert_eq!(bench.sent().len(), 6);
    assert_eq!(bench.counters[Counter::ChallengeAcksLimited], 94);
    assert_eq!(bench.tcb.state(), State::Established);
}

// CM-7.b.
#[test]
fn established_rst_outside_the_window_is_ignored_and_exact_one_resets() {
    let mut bench = Bench::open();
    bench.arrive(segment(IRS - 10, 0, RST, &[]));
    assert!(bench.sent().is_empty());
    bench.arrive(segment(IRS + 1, 0, RST, &[]));
    assert_eq!(bench.tcb.poll_event().closed, Some(CloseReason::Reset));
}

// CM-4.e. RFC 7323 5.3 R1, 4.3 and 3.2.
#[test]
fn established_old_timestamp_is_acknowledged_and_dropped() {
    let mut bench = Bench::opening();
    bench.sent();
    let stamp =
        |value| Options { timestamps: Some(Timestamps { value, echo: 0 }), ..Options::NONE };
    let syn_ack = segment(IRS, ISS + 1, SYN.union(ACK), &[]);
    bench.arrive(Segment { options: stamp(1000), ..syn_ack });
    bench.sent();
    bench.arrive(Segment { options: stamp(999), ..segment(IRS + 1, ISS + 1, ACK, b"old") });
    assert_eq!((bench.sent().len(), bench.got.len()), (1, 0));
    assert_eq!(bench.counters[Counter::PawsDropped], 1);
    bench.arrive(Segment { options: stamp(1001), ..segment(IRS + 1, ISS + 1, ACK, b"new") });
    assert_eq!(bench.got, b"new");
    assert_eq!(bench.sent()[0].options.timestamps.map(|stamps| stamps.echo), Some(1001));
    // As on Linux, and unlike RFC 7323 3.2.
    bench.arrive(segment(IRS + 4, ISS + 1, ACK, b"none"));
    assert_eq!(bench.got, b"newnone");
}

#[test]
fn established_full_send_buffer_tells_when_there_is_room_again() {
    let mut bench = Bench::open();
    let text = vec![1; 1 << 20];
    let waits = |bench: &Bench| bench.tcb.waits_for_pool(&bench.pool, &bench.config);
    assert!(bench.send(b"text") == 4 && !waits(&bench));
    let taken = 4 + bench.send(&text);
    // Its own acknowledgments will make room.
    assert!(taken < text.len() && !waits(&bench));
    let mut una = ISS + 1;
    let mut is_told = false;
    while una < ISS + 1 + taken as u32 {
        for sent in bench.sent() {
            una = sent.seq + sent.text.len() as u32;
        }
        bench.arrive(segment(IRS + 1, una, ACK, &[]));
        is_told |= bench.tcb.poll_event().writable;
    }
    assert!(is_told);
    assert_eq!(bench.pool.used(), 0);
}

// CM-4.f, RFC 7323 5.5: what the peer's clock said 24 days ago says nothing of what it says now.
#[test]
fn established_timestamp_is_not_compared_with_one_of_24_days_ago() {
    let mut bench = Bench::opening();
    bench.sent();
    let stamp =
        |value| Options { timestamps: Some(Timestamps { value, echo: 0 }), ..Options::NONE };
    let syn_ack = segment(IRS, ISS + 1, SYN.union(ACK), &[]);
    bench.arrive(Segment { options: stamp(1000), ..syn_ack });
    bench.sent();
    let days = |days: u64| Instant::from_millis(days * 24 * 3600 * 1000);
    let older = || Segment { options: stamp(999), ..segment(IRS + 1, ISS + 1, ACK, b"text") };
    bench.now = days(24);
    bench.arrive(older());
    assert!(bench.got.is_empty());
    bench.now = days(24) + Duration::from_millis(1);
    bench.arrive(older());
    assert_eq!(bench.got, b"text");
}

// CM-4.d, RFC 2883 4.1 and 4.2: text that comes once more is reported, in order or ahead of a gap.
#[test]
fn established_duplicate_text_is_reported_once_by_the_first_sack_block() {
    let mut bench = Bench::open();
    let text = [1; 100];
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, &text));
    bench.sent();
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, &text));
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].ack), (1, IRS + 101));
    assert_eq!(sent[0].options.sack.as_slice(), [(IRS + 1, IRS + 101)]);
    let early = (IRS + 201, IRS + 301);
    for blocks in [&[early][..], &[early, early]] {
        bench.arrive(segment(IRS + 201, ISS + 1, ACK, &text));
        assert_eq!(bench.sent()[0].options.sack.as_slice(), blocks);
    }
    bench.arrive(segment(IRS + 101, ISS + 1, ACK, &text));
    assert!(bench.sent()[0].options.sack.is_empty(), "a report is made once");
}

// RFC 9293 3.10.7.4: a peer whose window closed over what is out takes no segment beyond it; what
// acknowledges its own text must begin within it.
#[test]
fn established_window_closed_over_the_flight_acknowledgments_begin_within_it() {
    let mut bench = Bench::open();
    bench.send(&[7; 200]);
    bench.sent();
    let closed = |seq, text| Segment { window: 0, ..segment(seq, ISS + 101, ACK, text) };
    bench.arrive(closed(IRS + 1, &[1; 10]));
    bench.arrive(closed(IRS + 11, &[2; 10]));
    let sent = bench.sent();
    assert_eq!((sent[0].seq, sent[0].ack, sent[0].text.len()), (ISS + 101, IRS + 21, 0));
    // The window opens and everything was taken: the numbers go on.
    bench.arrive(segment(IRS + 21, ISS + 201, ACK, &[3; 2000]));
    assert_eq!(bench.sent()[0].seq, ISS + 201);
}

// RFC 9293 3.10.7.4, and Linux: text that came early has a larger number than what follows, but what
// acknowledges more is newer. Its window counts, or the old one would be taken from the new SND.UNA.
#[test]
fn established_new_acknowledgment_brings_its_window_though_later_text_came_first() {
    let mut bench = Bench::open();
    bench.send(&[7; 10_000]);
    bench.sent();
    bench.arrive(Segment { window: 8_000, ..segment(IRS + 500, ISS + 1, ACK, b"early") });
    bench.send(&[8; 20_000]);
    bench.arrive(Segment { window: 1_000, ..segment(IRS + 1, ISS + 8_001, ACK, &[]) });
    let sent = bench.sent();
    let end = sent.iter().map(|sent| sent.seq + sent.text.len() as u32).max();
    assert!(end.is_none_or(|end| end <= ISS + 8_001 + 1_000), "{end:?} is beyond the window");
}

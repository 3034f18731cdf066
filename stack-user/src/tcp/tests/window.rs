//! The peer's window when it shrinks, and both ends' avoidance of silly windows.

use super::*;

fn window_of(bench: &mut Bench, window: u16, ack: u32) {
    let seq = bench.tcb.rcv.nxt.0;
    bench.arrive(Segment { window, ..segment(seq, ack, ACK, &[]) });
}

// RFC 9293 3.8.6 (MUST-34, SHLD-15, SHLD-16, MAY-7): the usable window becomes
// negative. Nothing new goes out, and what lies within the window goes again as ever.
#[test]
fn established_window_that_shrinks_below_the_flight_holds_new_text_alone() {
    let mut bench = Bench::open();
    bench.send(&[1; 4 * MSS as usize]);
    assert_eq!(bench.sent().len(), 4);
    window_of(&mut bench, 2 * MSS, ISS + 1);
    bench.send(&[1; 5_000]);
    assert_eq!(bench.sent(), []);
    bench.wait();
    let sent = bench.sent();
    assert_eq!((sent[0].seq, sent[0].text.len()), (ISS + 1, usize::from(MSS)));
    // The window opens again: everything goes through.
    window_of(&mut bench, 0xffff, ISS + 1 + 4 * u32::from(MSS));
    assert_eq!(bench.sent().iter().map(|sent| sent.text.len()).sum::<usize>(), 5_000);
}

// RFC 9293 3.8.6 (SHLD-17): a peer that answers keeps its connection, whatever lies beyond its edge.
#[test]
fn established_data_beyond_the_edge_does_not_time_the_connection_out() {
    let mut bench = Bench::open();
    bench.send(&[1; 4 * MSS as usize]);
    bench.sent();
    window_of(&mut bench, 0, ISS + 1);
    for _ in 0..40 {
        bench.wait();
        assert!(!bench.sent().is_empty());
        // RFC 9293 3.8.6 (MUST-35): the window that shrank to nothing is asked after like any other.
        window_of(&mut bench, 0, ISS + 1);
    }
    assert_eq!(bench.tcb.state(), State::Established);
    window_of(&mut bench, 0xffff, ISS + 1);
    for _ in 0..4 {
        bench.wait();
        for sent in bench.sent() {
            let end = sent.seq + sent.text.len() as u32;
            window_of(&mut bench, 0xffff, end);
        }
    }
    assert_eq!(bench.tcb.unacknowledged(), 0);
}

// RFC 9293 3.8.6.2.1 (MUST-38): a window of crumbs is not filled with crumbs.
#[test]
fn established_crumbs_of_a_window_are_saved_up() {
    let mut bench = Bench::open();
    bench.send(&[1; 20_000]);
    bench.sent();
    window_of(&mut bench, 100, ISS + 1 + 10 * u32::from(MSS));
    bench.send(&[1; 20_000]);
    assert_eq!(bench.sent(), []);
    window_of(&mut bench, 1_000, ISS + 1 + 10 * u32::from(MSS));
    assert_eq!(bench.sent(), []);
    window_of(&mut bench, MSS, ISS + 1 + 10 * u32::from(MSS));
    assert_eq!(bench.sent()[0].text.len(), usize::from(MSS));
}

/// An acknowledgment of `ack` that offers `window`.
fn offer(ack: u32, window: u16) -> Segment<'static> {
    Segment { window, ..segment(IRS + 1, ack, ACK, &[]) }
}

// RFC 9293 3.1 (MUST-1, REC-1): above half of 16 bits, and scaled beyond them.
#[test]
fn established_large_window_is_no_negative_number() {
    let mut bench = Bench::open();
    bench.arrive(offer(ISS + 1, 0x8001));
    bench.send(&[1; 5 * 1460]);
    assert_eq!(bench.sent().len(), 5);
    let mut bench = Bench::opening();
    bench.sent();
    let options = Options { mss: Some(MSS), window_scale: Some(14), ..Options::NONE };
    bench.arrive(Segment { options, ..segment(IRS, ISS + 1, SYN.union(ACK), &[]) });
    bench.arrive(offer(ISS + 1, 0xffff));
    assert_eq!(bench.tcb.snd.wnd, 0xffff << 14);
    bench.send(&[1; 5 * 1460]);
    assert_eq!(bench.sent().iter().filter(|sent| !sent.text.is_empty()).count(), 5);
}

// RFC 9293 3.9.1.2 (SHLD-27, SHLD-28, MAY-16): what was pushed piece by piece leaves in full
// segments.
#[test]
fn established_many_small_sends_are_joined_to_full_segments() {
    let mut bench = Bench::open();
    bench.send(b"a");
    assert_eq!(bench.sent()[0].text, b"a");
    for _ in 0..1460 / 5 + 1 {
        bench.send(b"piece");
    }
    assert_eq!(bench.sent().iter().map(|sent| sent.text.len()).collect::<Vec<_>>(), [1460]);
    bench.arrive(offer(ISS + 2, 0xffff));
    assert_eq!(bench.sent()[0].text, b"piece");
}

// RFC 9293 3.2 (MUST-65): in no segment but a SYN.
#[test]
fn established_no_segment_names_the_mss() {
    let mut bench = Bench::open();
    let mut all = Vec::new();
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, b"text"));
    bench.send(b"text");
    all.extend(bench.sent());
    bench.wait();
    all.extend(bench.sent());
    bench.close();
    all.extend(bench.sent());
    bench.env(|tcb, env| tcb.abort(env));
    all.extend(bench.sent());
    for flags in [FIN, RST] {
        assert!(all.iter().any(|sent| sent.flags.contains(flags)));
    }
    assert!(all.iter().all(|sent| sent.options.mss.is_none()), "{all:?}");
}

// CM-1.f: the FIN is out and text before it is not acknowledged.
#[test]
fn fin_wait_1_acknowledgment_of_text_alone_is_none_of_the_fin() {
    let mut bench = Bench::open();
    bench.send(b"all of it");
    bench.close();
    let sent = bench.sent();
    assert!(sent.last().is_some_and(|sent| sent.flags.contains(FIN)));
    bench.arrive(segment(IRS + 1, ISS + 1 + 3, ACK, &[]));
    assert_eq!(bench.tcb.state(), State::FinWait1);
    bench.arrive(segment(IRS + 1, ISS + 1 + 9, ACK, &[]));
    assert_eq!(bench.tcb.state(), State::FinWait1);
    bench.wait();
    let again = bench.sent();
    assert_eq!((again[0].seq, again[0].text.len()), (ISS + 1 + 9, 0));
    assert!(again[0].flags.contains(FIN));
    bench.arrive(segment(IRS + 1, ISS + 1 + 10, ACK, &[]));
    assert_eq!(bench.tcb.state(), State::FinWait2);
}

// RFC 9293 3.8.6: what is offered is what there is room for, in units of the scale.
#[test]
fn established_scaled_window_is_no_larger_than_the_room() {
    let mut bench =
        Bench::open_as(Config::default(), Options { window_scale: Some(7), ..Options::NONE });
    for n in 0..4 {
        bench.arrive(segment(IRS + 1 + 1000 * n, ISS + 1, ACK, &[1; 1000]));
        let offered = u32::from(bench.sent()[0].window) << bench.tcb.rcv.scale;
        assert_eq!(offered, 65_536);
    }
}

// The window grows to four times what arrived in a round trip, whatever the segments were.
#[test]
fn established_receive_window_grows_to_four_times_the_text_of_a_round_trip() {
    let mut bench = super::recovery::slow(Options { window_scale: Some(7), ..Options::NONE });
    let arrive = |bench: &mut Bench, millis| {
        super::recovery::wait(bench, millis);
        let seq = bench.tcb.rcv.nxt.0;
        bench.arrive(segment(seq, ISS + 1, ACK, &[1; 1000]));
        bench.sent();
        bench.tcb.rcv.limit
    };
    // The first ends what began with the handshake.
    arrive(&mut bench, 100);
    for _ in 0..99 {
        assert_eq!(arrive(&mut bench, 1), 65_536, "not before the round trip is over");
    }
    assert_eq!(arrive(&mut bench, 1), 400_000);
    for _ in 0..200 {
        assert_eq!(arrive(&mut bench, 1), 400_000, "the same in each round trip");
    }
}

// What waits for a user who does not read takes no more memory than the first window.
#[test]
fn established_receive_window_does_not_grow_by_text_that_nobody_reads() {
    let mut bench = super::recovery::slow(Options { window_scale: Some(7), ..Options::NONE });
    let text = [1; 10_000];
    let mut arrive = |is_read: bool| {
        super::recovery::wait(&mut bench, 50);
        let seq = bench.tcb.rcv.nxt.0;
        bench.arrive(segment(seq, ISS + 1, ACK, &text));
        bench.env(|tcb, env| match is_read {
            true => while tcb.read(&mut [0; 10_000], env) > 0 {},
            false => tcb.keep_unread(&text, env),
        });
        bench.sent();
        bench.tcb.rcv.limit
    };
    for _ in 0..6 {
        assert_eq!(arrive(false), 65_536);
    }
    arrive(true);
    assert!((0..4).any(|_| arrive(true) > 65_536), "what is read makes it grow");
}

// A peer in slow start has twice as much in flight with each round trip: an acknowledgment offers it
// twice what came since the round trip before, or it would have to wait for the window.
#[test]
fn established_receive_window_stays_ahead_of_slow_start() {
    const ROUNDS: usize = 7;
    const STEPS: usize = 20;
    // The rounds of the measurement begin anywhere within those of the peer.
    for phase in 0..STEPS {
        let mut bench = super::recovery::slow(Options { window_scale: Some(7), ..Options::NONE });
        super::recovery::wait(&mut bench, 5 * phase as u64);
        let mut came = vec![0; STEPS];
        for step in 0..ROUNDS * STEPS {
            super::recovery::wait(&mut bench, 5);
            let len = 730 << (step / STEPS);
            let seq = bench.tcb.rcv.nxt.0;
            bench.arrive(segment(seq, ISS + 1, ACK, &vec![1; len]));
            bench.sent();
            came.push(len as u32);
            let round: u32 = came[came.len() - STEPS..].iter().sum();
            let offered = bench.tcb.rcv.limit;
            assert!(offered >= 2 * round, "{offered} after {round}, step {step}, phase {phase}");
        }
    }
}

// RFC 9293 3.8.6.1: a window that opens ends the back-off of its probes, and what goes then is
// repeated after a timeout as ever.
#[test]
fn established_timeout_after_probes_is_that_of_the_path() {
    let mut bench = Bench::open();
    window_of(&mut bench, 0, ISS + 1);
    bench.send(b"hello");
    let mut last = 0;
    for _ in 0..6 {
        bench.sent();
        last = bench.wait();
        bench.sent();
        window_of(&mut bench, 0, ISS + 1);
    }
    assert!(last > 5_000);
    window_of(&mut bench, 0xffff, ISS + 1);
    assert_eq!(bench.sent()[0].text, b"hello");
    assert_eq!(bench.wait(), 201);
}

// RFC 9293 3.8.6 (SHLD-15): a closed window takes no text, pushed or not, nor a segment without any.
#[test]
fn established_cork_pulled_before_a_closed_window_sends_nothing() {
    let mut bench = Bench::open();
    window_of(&mut bench, 0, ISS + 1);
    bench.set(Setting::Cork(true));
    bench.send(&[1; 40]);
    bench.set(Setting::Cork(false));
    assert_eq!(bench.sent(), []);
    window_of(&mut bench, 0xffff, ISS + 1);
    assert_eq!(bench.sent()[0].text.len(), 40);
}

// Text is stuck from the first probe that a closed window needs, until it opens.
#[test]
fn established_text_is_stuck_while_probes_find_the_window_closed() {
    let mut bench = Bench::open();
    window_of(&mut bench, 0, ISS + 1);
    bench.send(b"hello");
    bench.sent();
    assert!(!bench.tcb.is_stuck(), "nobody was asked yet");
    bench.wait();
    bench.sent();
    assert!(bench.tcb.is_stuck());
    window_of(&mut bench, 0xffff, ISS + 1);
    assert!(!bench.tcb.is_stuck());
}

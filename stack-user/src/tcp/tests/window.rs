//! The peer's window: large, tiny, shrinking; and what the sender packs into segments.

use super::*;

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

// RFC 9293 3.8.6 (MUST-34, SHLD-15, SHLD-16, MAY-7): the window shrinks below what is out.
#[test]
fn established_window_that_shrinks_stops_new_text_and_not_the_repetition_of_old() {
    let mut bench = Bench::open();
    bench.send(&[1; 20 * 1460]);
    assert_eq!(bench.sent().len(), 10);
    // Room for two of the ten, and no acknowledgment of any.
    bench.arrive(offer(ISS + 1, 2 * 1460));
    assert!(bench.sent().is_empty(), "nothing new");
    bench.wait();
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].seq, sent[0].text.len()), (1, ISS + 1, 1460));
    // The peer takes the two; the window's edge stays. What was sent may go again (RFC 9293
    // 3.8.6: MAY-7).
    let end = ISS + 1 + 10 * 1460;
    bench.arrive(offer(ISS + 1 + 2 * 1460, 0));
    assert!(bench.sent().iter().all(|sent| sent.seq < end), "nothing new");
    bench.arrive(offer(end, 0xffff));
    assert_eq!(bench.sent()[0].seq, end);
    assert_eq!(bench.tcb.state(), State::Established);
}

// RFC 9293 3.8.6 (MUST-35, SHLD-17): the window shrinks to zero while text is out. It is probed as
// any other, and what lies beyond its edge ends nothing.
#[test]
fn established_window_that_shrinks_to_zero_is_probed_and_ends_nothing() {
    let mut bench = Bench::open();
    bench.send(&[1; 10 * 1460]);
    assert_eq!(bench.sent().len(), 10);
    bench.arrive(offer(ISS + 1, 0));
    for _ in 0..40 {
        bench.wait();
        let sent = bench.sent();
        assert_eq!((sent.len(), sent[0].seq, sent[0].text.is_empty()), (1, ISS + 1, false));
        bench.arrive(offer(ISS + 1, 0));
    }
    assert_eq!(bench.tcb.state(), State::Established);
    // It opens: what was lost goes again, by the next timeout at the latest.
    bench.arrive(offer(ISS + 1, 0xffff));
    let mut sent = bench.sent();
    if sent.is_empty() {
        bench.wait();
        sent = bench.sent();
    }
    assert_eq!(sent[0].seq, ISS + 1);
}

// RFC 9293 3.8.6.2.1 (MUST-38) and 3.9.1.2 (MUST-60): crumbs of a window are left, but not for ever.
#[test]
fn established_crumb_of_a_window_is_used_after_a_timeout_only() {
    let mut bench = Bench::open();
    bench.send(&[1; 1460]);
    bench.sent();
    bench.arrive(offer(ISS + 1 + 1460, 100));
    bench.send(&[2; 1460]);
    assert!(bench.sent().is_empty(), "100 octets of a window of 65,535");
    bench.wait();
    assert_eq!(bench.sent()[0].text.len(), 100);
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

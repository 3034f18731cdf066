//! When segments go out: PSH, Nagle's algorithm, corks, quick acknowledgments.

use super::*;

const PSH: Flags = Flags::PSH;

fn pushed(sent: &[Sent]) -> Vec<bool> {
    sent.iter().map(|sent| sent.flags.contains(PSH)).collect()
}

fn texts(bench: &mut Bench) -> Vec<usize> {
    bench.sent().iter().map(|sent| sent.text.len()).collect()
}

// CM-9.c. RFC 9293 3.9.1 (MUST-60, MUST-61, SHLD-27, SHLD-28): the last segment of what is
// buffered, the segments as large as they may be, and nothing is kept back for good.
#[test]
fn established_last_segment_of_each_send_carries_psh() {
    let mut bench = Bench::open();
    bench.send(&[1; 3000]);
    assert_eq!(pushed(&bench.sent()), [false, false, true]);
    bench.acknowledge(0xffff);
    bench.send(&[1; 100]);
    bench.send(&[1; 100]);
    let sent = bench.sent();
    assert_eq!((pushed(&sent), sent[0].text.len()), (vec![true], 200));
}

#[test]
fn established_repeated_last_segment_carries_psh_again_though_more_is_queued() {
    let mut bench = Bench::open();
    bench.send(&[1; 100]);
    bench.sent();
    bench.arrive(Segment { window: 100, ..segment(IRS + 1, ISS + 1, ACK, &[]) });
    bench.send(&[1; 5_000]);
    bench.sent();
    bench.wait();
    let sent = bench.sent();
    assert_eq!((pushed(&sent), sent[0].text.len()), (vec![true], 100));
}

// As on Linux: a stream says it once in half a window, and where a
// burst ends, of half the congestion window at most.
#[test]
fn established_endless_stream_carries_psh_each_half_window() {
    let mut bench = Bench::open();
    bench.arrive(Segment { window: 10_000, ..segment(IRS + 1, ISS + 1, ACK, &[]) });
    bench.tcb.snd.max_wnd = 10_000;
    bench.send(&[1; 60_000]);
    let mut all = Vec::new();
    while all.len() < 14 {
        all.extend(pushed(&bench.sent()));
        bench.acknowledge(10_000);
    }
    let at: Vec<_> = (0..14).filter(|i| all[*i]).collect();
    assert_eq!(at, [3, 4, 7, 11]);
}

// RFC 9293 3.7.4 (SHLD-7), as Minshall changed it: one short segment at a time.
#[test]
fn established_second_short_segment_waits_for_the_first() {
    let mut bench = Bench::open();
    bench.send(&[1; 100]);
    assert_eq!(texts(&mut bench), [100]);
    bench.send(&[1; 100]);
    assert_eq!(texts(&mut bench), [0; 0]);
    bench.send(&[1; 1400]);
    assert_eq!(texts(&mut bench), [1460], "a full one does not wait, its rest does");
    bench.acknowledge(0xffff);
    assert_eq!(texts(&mut bench), [40]);
    bench.acknowledge(0xffff);
    // Full segments that are out hold no short one back.
    bench.send(&[1; 2 * MSS as usize + 7]);
    assert_eq!(texts(&mut bench), [1460, 1460, 7]);
}

// RFC 9293 3.7.4 (MUST-17): the user turns it off.
#[test]
fn established_without_nagle_short_segments_go_at_once() {
    let mut bench = Bench::open();
    bench.set(Setting::NoDelay(true));
    for _ in 0..3 {
        bench.send(&[1; 100]);
        assert_eq!(texts(&mut bench), [100]);
    }
}

#[test]
fn established_cork_holds_short_segments_until_it_is_pulled() {
    let mut bench = Bench::open();
    bench.set(Setting::Cork(true));
    bench.send(&[1; 40]);
    assert_eq!(texts(&mut bench), [0; 0]);
    bench.send(&[1; 40]);
    assert_eq!(texts(&mut bench), [0; 0]);
    bench.set(Setting::Cork(false));
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].text.len(), pushed(&sent)), (1, 80, vec![true]));
    bench.acknowledge(0xffff);
    // Full ones pass.
    bench.set(Setting::Cork(true));
    bench.send(&[1; 2000]);
    assert_eq!(texts(&mut bench), [1460]);
}

// As on Linux: turning Nagle's algorithm off pushes what the cork holds, once.
#[test]
fn established_cork_is_pushed_by_no_delay_once() {
    let mut bench = Bench::open();
    bench.set(Setting::Cork(true));
    bench.send(&[1; 1500]);
    assert_eq!(texts(&mut bench), [1460]);
    bench.set(Setting::NoDelay(true));
    assert_eq!(texts(&mut bench), [40]);
    bench.send(&[1; 40]);
    assert_eq!(texts(&mut bench), [0; 0]);
}

// RFC 9293 3.9.1.2 (MUST-60). RFC 9293 3.8.6.2.1: the override timeout; no cork holds data for ever
// (MUST-60).
#[test]
fn established_forgotten_cork_holds_data_for_a_timeout_at_most() {
    let mut bench = Bench::open();
    bench.set(Setting::Cork(true));
    bench.send(&[1; 40]);
    assert_eq!(texts(&mut bench), [0; 0]);
    assert!(bench.wait() <= 1_000);
    assert_eq!(texts(&mut bench), [40]);
}

// As on Linux: what announces more (MSG_MORE) waits for it, until something arrives.
#[test]
fn established_text_that_announces_more_waits_and_is_not_pushed() {
    let send_more =
        |bench: &mut Bench, len| bench.env(|tcb, env| tcb.send_more(&vec![1; len], env));
    let mut bench = Bench::open();
    send_more(&mut bench, 2000);
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].text.len(), pushed(&sent)), (1, 1460, vec![false]));
    // An acknowledgment ends the wait, not the announcement.
    bench.acknowledge(0xffff);
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].text.len(), pushed(&sent)), (1, 540, vec![false]));
    bench.acknowledge(0xffff);
    // What ends the message goes with all that waits for it.
    send_more(&mut bench, 40);
    assert_eq!(texts(&mut bench), [0; 0]);
    bench.send(&[1; 2]);
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].text.len(), pushed(&sent)), (1, 42, vec![true]));
    bench.acknowledge(0xffff);
    // Nothing follows: a timer ends it, and so does the end of the stream.
    send_more(&mut bench, 40);
    assert_eq!(texts(&mut bench), [0; 0]);
    bench.wait();
    assert_eq!(pushed(&bench.sent()), [true]);
    bench.acknowledge(0xffff);
    send_more(&mut bench, 40);
    bench.close();
    assert_eq!(pushed(&bench.sent()), [true]);
}

#[test]
fn fin_wait_1_cork_does_not_hold_the_end() {
    let mut bench = Bench::open();
    bench.set(Setting::Cork(true));
    bench.send(&[1; 40]);
    bench.close();
    let sent = bench.sent();
    assert!(sent[0].flags.contains(FIN));
    assert_eq!(sent[0].text.len(), 40);
}

#[test]
fn established_quick_acks_are_turned_on_and_off() {
    let mut bench = Bench::open();
    bench.set(Setting::QuickAck(false));
    let text = |n: u32| segment(IRS + 1 + 10 * n, ISS + 1, ACK, &[7; 10]);
    bench.arrive(text(0));
    assert_eq!(bench.sent_flags(), []);
    // The one that waits goes at once, and so do those that follow.
    bench.set(Setting::QuickAck(true));
    assert_eq!(bench.sent_flags(), [ACK]);
    bench.arrive(text(1));
    assert_eq!(bench.sent_flags(), [ACK]);
}

// As on Linux: beyond half of the largest window, and not with its last octet.
#[test]
fn established_stream_carries_psh_behind_half_a_window() {
    let mut bench = Bench::open();
    let single = usize::from(MSS);
    bench.arrive(Segment { window: MSS, ..segment(IRS + 1, ISS + 1, ACK, &[]) });
    bench.tcb.snd.max_wnd = 4 * u32::from(MSS);
    bench.send(&[1; MSS as usize]);
    assert_eq!(pushed(&bench.sent()), [true], "where the count begins");
    bench.acknowledge(MSS);
    bench.send(&[1; 60_000]);
    let mut all = Vec::new();
    for _ in 0..9 {
        let sent = bench.sent();
        assert_eq!((sent.len(), sent[0].text.len()), (1, single));
        all.extend(pushed(&sent));
        bench.acknowledge(MSS);
    }
    let at: Vec<_> = (0..9).filter(|i| all[*i]).collect();
    assert_eq!(at, [2, 5, 8]);
}

/// Acknowledges all, after the 10 ms of the path; which of the segments that this lets out carry
/// PSH, where the user has more than may go.
fn next_flight(bench: &mut Bench) -> Vec<usize> {
    bench.now = bench.now + Duration::from_millis(10);
    bench.acknowledge(0xffff);
    let room = bench.env(|tcb, env| tcb.send_room(env.pool, env.config));
    bench.send(&vec![1; room]);
    let marks = pushed(&bench.sent());
    (0..marks.len()).filter(|i| marks[*i]).collect()
}

// As on Linux: a burst is what the pacing rate lets out in 1.024 ms, at twice the window for each
// round trip in slow start and at 1.2 times from half of the threshold on.
#[test]
fn established_burst_on_a_long_path_is_a_millisecond_of_the_pacing_rate() {
    let mut bench = Bench::opening();
    bench.sent();
    bench.now = bench.now + Duration::from_millis(10);
    let options = Options { mss: Some(MSS), window_scale: Some(14), ..Options::NONE };
    let options = Options { sack_permitted: true, ..options };
    bench.arrive(Segment { options, ..segment(IRS, ISS + 1, SYN.union(ACK), &[]) });
    bench.acknowledge(0xffff);
    for _ in 0..3 {
        next_flight(&mut bench);
    }
    // Of 2 * 80 segments for each 10 ms, fifteen whole ones.
    assert_eq!(next_flight(&mut bench)[..4], [14, 29, 44, 59]);
    // The first of eighty is lost: the threshold falls to 56, and the window with it.
    bench.now = bench.now + Duration::from_millis(10);
    let (una, nxt) = (bench.tcb.snd.una.0, bench.tcb.snd.nxt.0);
    let sack = [(una + u32::from(MSS), nxt)].into_iter().collect();
    let options = Options { sack, ..Options::NONE };
    bench.arrive(Segment { options, ..segment(IRS + 1, una, ACK, &[]) });
    bench.sent();
    let marks = next_flight(&mut bench);
    assert_eq!(bench.tcb.info(bench.now).ssthresh, Some(56));
    // Of 1.2 * 57 segments for each 10 ms, six whole ones.
    assert_eq!(marks[..4], [5, 11, 17, 23]);
}

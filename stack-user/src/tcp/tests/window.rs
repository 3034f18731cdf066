//! The peer's window when it shrinks, and both ends' avoidance of silly windows.

use super::*;

fn window_of(bench: &mut Bench, window: u16, ack: u32) {
    let seq = bench.tcb.rcv.nxt.0;
    bench.arrive(Segment { window, ..segment(seq, ack, ACK, &[]) });
}

// RFC 9293 3.8.6 (MUST-34, SHLD-15, SHLD-16): the usable window becomes negative. Nothing new goes
// out, and what lies within the window goes again as ever.
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

//! Urgent data (RFC 9293, 3.8.5; RFC 6093).

use super::*;

const URG: Flags = Flags::URG;

fn send_urgent(bench: &mut Bench, text: &[u8]) {
    let taken = bench.env(|tcb, env| tcb.send_urgent(text, env));
    assert_eq!(taken, text.len());
}

fn urgent(seq: u32, urgent: u16, text: &[u8]) -> Segment<'_> {
    Segment { urgent, ..segment(seq, ISS + 1, ACK.union(URG), text) }
}

// CM-9.b. RFC 9293 3.8.5 (MUST-30, MUST-62): the pointer names the octet after the last urgent one.
#[test]
fn established_urgent_text_carries_the_pointer() {
    let mut bench = Bench::open();
    send_urgent(&mut bench, b"help");
    bench.send(b" me");
    let sent = bench.sent();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].flags.contains(URG));
    assert_eq!((sent[0].urgent, &sent[0].text[..]), (4, &b"help me"[..]));
    bench.acknowledge(0xffff);
    bench.send(b"calm");
    assert!(!bench.sent()[0].flags.contains(URG));
}

// CM-9.b. RFC 9293 3.8.5 (MUST-31): any length, also beyond what the field can say.
#[test]
fn established_urgent_text_longer_than_the_field_keeps_the_pointer_ahead() {
    let mut bench = Bench::open();
    bench.tcb.snd.wnd = 200_000;
    let text = vec![1; 100_000];
    let taken = bench.env(|tcb, env| tcb.send_urgent(&text, env)) as u32;
    assert!(taken > 65_535, "{taken}");
    let end = ISS + 1 + taken;
    let mut una = ISS + 1;
    while una != end {
        for sent in bench.sent() {
            assert!(sent.flags.contains(URG));
            assert_eq!(u32::from(sent.urgent), (end - sent.seq).min(65_535));
            una = sent.seq + sent.text.len() as u32;
        }
        bench.arrive(segment(IRS + 1, una, ACK, &[]));
        bench.tcb.snd.wnd = 200_000;
    }
}

// RFC 9293 3.8.6 (MUST-66): the peer hears of it though its window is closed.
#[test]
fn established_urgent_text_into_a_closed_window_is_announced() {
    let mut bench = Bench::open();
    bench.arrive(Segment { window: 0, ..segment(IRS + 1, ISS + 1, ACK, &[]) });
    send_urgent(&mut bench, b"help");
    let sent = bench.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].flags, sent[0].seq, sent[0].urgent), (ACK.union(URG), ISS + 1, 4));
    assert!(sent[0].text.is_empty());
}

// Nagle's algorithm holds no urgent text.
#[test]
fn established_urgent_text_does_not_wait_for_company() {
    let mut bench = Bench::open();
    bench.send(b"short");
    bench.sent();
    bench.send(b"held");
    assert_eq!(bench.sent(), []);
    send_urgent(&mut bench, b"!");
    assert_eq!(bench.sent()[0].text, b"held!");
}

// CM-9.a. RFC 9293 3.8.5 (MUST-32, MUST-33): told of each advance, and how much is left.
#[test]
fn established_urgent_pointer_is_told_and_counted_down() {
    let mut bench = Bench::open();
    bench.arrive(urgent(IRS + 1, 6, b"abc"));
    assert!(bench.tcb.poll_event().urgent);
    // The three octets are in the user's hands.
    assert_eq!(bench.tcb.urgent_ahead(3), Some(6));
    assert_eq!(bench.tcb.urgent_ahead(0), Some(3));
    // The same pointer again is no news.
    bench.arrive(urgent(IRS + 4, 3, b"d"));
    assert!(!bench.tcb.poll_event().urgent);
    bench.arrive(urgent(IRS + 5, 4, b"e"));
    assert!(bench.tcb.poll_event().urgent);
    assert_eq!(bench.tcb.urgent_ahead(0), Some(3));
    bench.arrive(segment(IRS + 6, ISS + 1, ACK, b"fgh"));
    // At the mark, then past it.
    assert_eq!(bench.tcb.urgent_ahead(0), Some(0));
    bench.arrive(segment(IRS + 9, ISS + 1, ACK, b"i"));
    assert_eq!(bench.tcb.urgent_ahead(0), None);
    assert_eq!(bench.got, b"abcdefghi");
}

// RFC 6093 section 3.4: a pointer may be anything.
#[test]
fn established_urgent_pointer_of_the_past_says_nothing() {
    let mut bench = Bench::open();
    bench.arrive(urgent(IRS + 1, 0, b"abc"));
    assert_eq!((bench.tcb.poll_event().urgent, bench.tcb.urgent_ahead(0)), (false, None));
    bench.arrive(urgent(IRS + 4, 0xffff, b"d"));
    assert_eq!(bench.tcb.urgent_ahead(0), Some(65_534));
}

// RFC 9293 3.8.6 (MUST-66): URG counts though the window takes no text.
#[test]
fn established_urgent_pointer_counts_while_our_window_is_closed() {
    let mut bench = Bench::open();
    bench.tcb.rcv.edge = bench.tcb.rcv.nxt;
    bench.arrive(urgent(IRS + 1, 4, &[]));
    assert!(bench.tcb.poll_event().urgent);
    assert_eq!(bench.tcb.urgent_ahead(0), Some(4));
}

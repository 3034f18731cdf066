//! What a stranger may send who knows the addresses and ports, and guesses the rest (RFC 5961).

use super::*;

/// The segments that answer `segment`.
fn answers(bench: &mut Bench, segment: Segment<'_>) -> Vec<(u32, u32, Flags)> {
    bench.arrive(segment);
    bench.sent().iter().map(|sent| (sent.seq, sent.ack, sent.flags)).collect()
}

const CHALLENGE: [(u32, u32, Flags); 1] = [(ISS + 1, IRS + 1, ACK)];

// RFC 5961 3.2.
#[test]
fn established_rst_counts_only_where_it_is_exact() {
    for ack in [RST, RST.union(ACK)] {
        let mut bench = Bench::open();
        assert_eq!(answers(&mut bench, segment(IRS + 2, ISS + 1, ack, &[])), CHALLENGE);
        assert_eq!(answers(&mut bench, segment(IRS + 60_000, ISS + 1, ack, &[])), CHALLENGE);
        assert_eq!(answers(&mut bench, segment(IRS, ISS + 1, ack, &[])), []);
        assert_eq!(answers(&mut bench, segment(IRS + 70_000, ISS + 1, ack, &[])), []);
        assert_eq!(bench.tcb.state(), State::Established);
        bench.arrive(segment(IRS + 1, 0, ack, &[]));
        assert_eq!((bench.ended(), bench.sent_flags()), (Some(CloseReason::Reset), vec![]));
    }
}

// RFC 5961 4.2: whatever its numbers, a SYN gets a challenge; a peer that began anew then sends the
// right RST.
#[test]
fn established_syn_anywhere_gets_a_challenge() {
    for seq in [IRS, IRS + 1, IRS + 100, IRS + 70_000, IRS.wrapping_sub(70_000)] {
        for flags in [SYN, SYN.union(ACK), SYN.union(FIN)] {
            let mut bench = Bench::open();
            assert_eq!(answers(&mut bench, segment(seq, ISS + 1, flags, b"")), CHALLENGE);
            assert_eq!(bench.tcb.state(), State::Established);
            assert_eq!(bench.counters[Counter::ChallengeAcks], 1, "{seq} {flags:?}");
        }
    }
}

// CM-7.c, CM-7.h. RFC 5961 5.2: an acknowledgment too old or too new takes its text with it.
#[test]
fn established_text_with_an_impossible_ack_is_not_taken() {
    let mut bench = Bench::open();
    bench.send(&[1; 100]);
    bench.sent();
    bench.acknowledge(0xffff);
    let nxt = ISS + 101;
    let challenge = [(nxt, IRS + 1, ACK)];
    assert_eq!(answers(&mut bench, segment(IRS + 1, nxt + 1, ACK, b"forged")), challenge);
    assert_eq!(
        answers(&mut bench, segment(IRS + 1, nxt.wrapping_sub(65_536), ACK, b"forged")),
        challenge
    );
    assert_eq!(answers(&mut bench, segment(IRS + 1, nxt, Flags::NONE, b"forged")), []);
    assert!(bench.got.is_empty());
    bench.arrive(segment(IRS + 1, nxt.wrapping_sub(65_535), ACK, b"late"));
    assert_eq!(bench.got, b"late");
}

// CM-7.d. RFC 5961 7, and CVE-2016-5696: the budget is the connection's own.
#[test]
fn established_challenges_are_limited_for_each_connection() {
    let mut bench = Bench::open();
    for _ in 0..100 {
        bench.arrive(segment(IRS + 2, 0, RST, &[]));
    }
    assert_eq!(bench.sent().len(), 10);
    assert_eq!(bench.counters[Counter::ChallengeAcksLimited], 90);
    bench.now = Instant::from_millis(1_000);
    assert_eq!(answers(&mut bench, segment(IRS + 2, 0, RST, &[])), CHALLENGE);
}

// CM-7.g. RFC 9293 3.10.7.1: a RST is answered by nothing, in any state.
#[test]
fn any_state_rst_is_never_answered_by_rst() {
    assert!(on_closed(&segment(1, 2, RST, &[])).is_none());
    assert!(on_closed(&segment(1, 2, RST.union(ACK), &[])).is_none());
    let mut bench = Bench::opening();
    bench.sent();
    for seq in [0, IRS, IRS + 1] {
        for ack in [ISS - 1, ISS, ISS + 2] {
            assert!(!bench.arrive(segment(seq, ack, RST.union(ACK), &[])));
        }
    }
    assert_eq!(bench.sent_flags(), []);
}

// CM-7.f. RFC 9293 figure 9: we began anew, and the peer still has the old connection.
#[test]
fn syn_sent_ack_of_an_old_connection_is_refused_and_the_syn_goes_again() {
    let mut bench = Bench::opening();
    bench.sent();
    assert!(bench.arrive(segment(300, 100, ACK, &[])), "<SEQ=100><CTL=RST>");
    assert_eq!(bench.tcb.state(), State::SynSent);
    bench.wait();
    assert_eq!(bench.sent_flags(), [SYN]);
}

// CM-7.f. RFC 9293 figures 9 and 10, seen from the end that still has the connection.
#[test]
fn established_peer_that_began_anew_is_challenged_and_its_rst_believed() {
    let mut bench = Bench::open();
    assert_eq!(answers(&mut bench, segment(400, 0, SYN, &[])), CHALLENGE);
    // The peer's answer takes its number from our challenge.
    bench.arrive(segment(IRS + 1, 0, RST, &[]));
    assert_eq!(bench.ended(), Some(CloseReason::Reset));
}

// RFC 9293 3.5.1 figure 8: an old SYN-ACK is refused, the right one is taken.
#[test]
fn syn_sent_old_duplicate_syn_ack_is_refused_and_the_new_one_taken() {
    let mut bench = Bench::opening();
    bench.sent();
    assert!(bench.arrive(segment(90, ISS - 500, SYN.union(ACK), &[])));
    bench.arrive(segment(IRS, ISS + 1, SYN.union(ACK), &[]));
    assert_eq!(bench.tcb.state(), State::Established);
}

//! ICMP errors: soft, hard, forged; and the MTU of the path.

use super::*;
use crate::wire::icmp::Error;

const HOST: Error = Error::DestinationUnreachable { code: 1 };
const PORT: Error = Error::DestinationUnreachable { code: 3 };

fn icmp(bench: &mut Bench, error: Error, seq: u32) {
    bench.env(|tcb, env| tcb.on_icmp(error, SeqNum(seq), env));
}

fn too_big(bench: &mut Bench, mtu: u16, seq: u32) {
    icmp(bench, Error::FragmentationNeeded { mtu }, seq);
}

// CM-7.i. RFC 9293 3.9.2.2 (SHLD-26, MUST-54).
#[test]
fn syn_sent_hard_error_ends_the_open_and_says_what() {
    for (code, what) in
        [(2, Unreachable::Protocol), (3, Unreachable::Port), (13, Unreachable::Prohibited)]
    {
        let mut bench = Bench::opening();
        bench.sent();
        icmp(&mut bench, Error::DestinationUnreachable { code }, ISS);
        assert_eq!(bench.ended(), Some(CloseReason::Unreachable(what)));
        assert_eq!(bench.sent_flags(), []);
    }
}

// RFC 9293 3.9.1.8 (MUST-47, SHLD-20). RFC 9293 3.9.2.2 (MUST-56, SHLD-25): soft errors end
// nothing, and explain the end.
#[test]
fn syn_sent_soft_error_is_told_when_the_open_times_out() {
    let soft = [
        (Error::DestinationUnreachable { code: 0 }, Unreachable::Network),
        (HOST, Unreachable::Host),
        (Error::DestinationUnreachable { code: 5 }, Unreachable::SourceRoute),
        (Error::TimeExceeded { code: 0 }, Unreachable::TimeExceeded),
        (Error::ParameterProblem { code: 0 }, Unreachable::ParameterProblem),
    ];
    for (error, what) in soft {
        let mut bench = Bench::opening();
        bench.sent();
        icmp(&mut bench, error, ISS);
        // RFC 9293 3.9.1.8 (MUST-47): the user is told of it when it comes.
        assert_eq!(bench.tcb.poll_event().trouble, Some(Trouble::Unreachable(what)));
        assert_eq!((bench.tcb.state(), bench.tcb.soft_error()), (State::SynSent, Some(what)));
        bench.run_out();
        assert_eq!(bench.ended(), Some(CloseReason::Unreachable(what)));
    }
}

// RFC 9293 3.9.1.8 (MUST-47), CM-7.i. RFC 5927 5.2: a synchronized connection survives hard errors
// too.
#[test]
fn established_errors_end_nothing_and_are_forgotten_with_progress() {
    let mut bench = Bench::open();
    bench.send(b"text");
    bench.sent();
    icmp(&mut bench, PORT, ISS + 1);
    assert_eq!(bench.tcb.soft_error(), Some(Unreachable::Port));
    assert_eq!(bench.tcb.state(), State::Established);
    bench.acknowledge(0xffff);
    assert_eq!(bench.tcb.soft_error(), None);
    bench.send(b"text");
    bench.sent();
    icmp(&mut bench, HOST, ISS + 5);
    bench.run_out();
    assert_eq!(bench.ended(), Some(CloseReason::Unreachable(Unreachable::Host)));
}

// CM-7.i. RFC 5927 4.1: what it quotes must be out.
#[test]
fn any_state_error_about_what_is_not_out_is_ignored() {
    let mut bench = Bench::opening();
    bench.sent();
    icmp(&mut bench, PORT, ISS + 1);
    icmp(&mut bench, PORT, ISS - 1);
    assert_eq!(bench.tcb.state(), State::SynSent);
    let mut bench = Bench::open();
    bench.send(b"text");
    bench.sent();
    icmp(&mut bench, HOST, ISS);
    icmp(&mut bench, HOST, ISS + 5);
    assert_eq!(bench.tcb.soft_error(), None);
    assert_eq!(bench.counters[Counter::IcmpErrorsStale], 2);
}

// RFC 9293 3.9.2.2 (MUST-55).
#[test]
fn established_source_quench_is_ignored() {
    let mut bench = Bench::open();
    bench.send(b"text");
    bench.sent();
    let window = bench.tcb.info(bench.now).cwnd;
    icmp(&mut bench, Error::SourceQuench, ISS + 1);
    assert_eq!((bench.tcb.soft_error(), bench.tcb.info(bench.now).cwnd), (None, window));
}

// RFC 1191 6.4 and RFC 5927 7.2: nothing as long is known to have arrived.
#[test]
fn established_first_segments_too_long_shrink_and_go_again_at_once() {
    let mut bench = Bench::open();
    bench.send(&[1; 2 * MSS as usize]);
    bench.sent();
    let window = bench.tcb.info(bench.now).cwnd;
    too_big(&mut bench, 1000, ISS + 1);
    let lengths: Vec<_> = bench.sent().iter().map(|s| (s.seq - ISS - 1, s.text.len())).collect();
    assert_eq!(lengths, [(0, 960), (960, 500), (1460, 960), (2420, 500)]);
    // The first piece arrives, and nothing becomes of the others by that.
    bench.arrive(segment(IRS + 1, ISS + 1 + 960, ACK, &[]));
    let told = bench.tcb.info(bench.now);
    assert_eq!((told.cwnd, told.ssthresh), (window, None), "no sign of congestion");
    assert_eq!(bench.counters[Counter::FastRetransmits], 0);
    assert_eq!(bench.counters[Counter::PathMtuReductions], 1);
}

// RFC 5927 7.2: segments of that length arrived before; a timeout has to prove the claim.
#[test]
fn established_claim_below_what_arrived_waits_for_a_timeout() {
    let mut bench = Bench::open();
    bench.send(&[1; MSS as usize]);
    bench.sent();
    bench.acknowledge(0xffff);
    bench.send(&[1; MSS as usize]);
    bench.sent();
    too_big(&mut bench, 600, ISS + 1 + u32::from(MSS));
    assert_eq!(bench.sent(), []);
    bench.send(&[1; MSS as usize]);
    assert_eq!(bench.sent()[0].text.len(), usize::from(MSS));
    bench.wait();
    assert_eq!(bench.sent()[0].text.len(), 560);
}

#[test]
fn established_claim_is_forgotten_when_the_segment_arrives() {
    let mut bench = Bench::open();
    bench.send(&[1; MSS as usize]);
    bench.sent();
    bench.acknowledge(0xffff);
    bench.send(&[1; MSS as usize]);
    bench.sent();
    too_big(&mut bench, 600, ISS + 1 + u32::from(MSS));
    bench.acknowledge(0xffff);
    bench.send(&[1; MSS as usize]);
    bench.sent();
    bench.wait();
    assert_eq!(bench.sent()[0].text.len(), usize::from(MSS));
}

#[test]
fn established_path_mtu_has_a_floor_and_never_grows_by_a_message() {
    let mut bench = Bench::open();
    bench.send(&[1; MSS as usize]);
    bench.sent();
    too_big(&mut bench, 68, ISS + 1);
    assert_eq!(bench.sent()[0].text.len(), 512);
    too_big(&mut bench, 9000, ISS + 1);
    assert_eq!(bench.sent(), []);
}

// RFC 1191 5: routers that are older do not say which MTU; RFC 1191 7.1: the next that is common.
#[test]
fn established_message_without_mtu_goes_down_a_plateau() {
    let mut bench = Bench::open();
    bench.send(&[1; MSS as usize]);
    bench.sent();
    too_big(&mut bench, 0, ISS + 1);
    assert_eq!(bench.sent()[0].text.len(), 1492 - 40);
    too_big(&mut bench, 0, ISS + 1);
    assert_eq!(bench.sent()[0].text.len(), 1006 - 40);
}

// What is out is shorter than the MTU that is said to be too small for it.
#[test]
fn established_claim_about_a_short_segment_is_ignored() {
    let mut bench = Bench::open();
    bench.send(&[1; 100]);
    bench.sent();
    too_big(&mut bench, 600, ISS + 1);
    assert_eq!((bench.sent(), bench.counters[Counter::IcmpErrorsStale]), (vec![], 1));
}

// Nobody will ask again: the next hop is gone, and with it whoever the RST was for.
#[test]
fn closed_rst_without_a_next_hop_is_dropped() {
    let mut bench = Bench::open();
    bench.env(|tcb, env| tcb.abort(env));
    let now = bench.now;
    bench.env(|tcb, env| tcb.on_no_next_hop(env, now));
    bench.ended();
    assert!(bench.tcb.is_over());
}

// RFC 5927 7.2: short segments that arrived say nothing against a claim about longer ones; and a
// claim that has come true by other messages changes nothing when a timeout comes.
#[test]
fn established_claim_above_what_arrived_is_believed_at_once_and_once() {
    let mut bench = Bench::open();
    bench.send(&[1; 800]);
    bench.sent();
    bench.acknowledge(0xffff);
    let first = ISS + 1 + 800;
    bench.send(&[1; MSS as usize]);
    bench.sent();
    too_big(&mut bench, 600, first);
    assert_eq!(bench.sent(), [], "800 octets arrived: a timeout has to prove it");
    too_big(&mut bench, 1000, first);
    assert_eq!(bench.sent()[0].text.len(), 960);
    too_big(&mut bench, 600, first);
    assert_eq!(bench.sent()[0].text.len(), 560);
    bench.wait();
    assert_eq!(bench.sent()[0].text.len(), 560);
    assert_eq!(bench.counters[Counter::PathMtuReductions], 2);
}

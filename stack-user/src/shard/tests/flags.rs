//! Every set of flags in the states without a connection: what is answered, by the letter of RFC 9293,
//! 3.10.7.1 to 3.10.7.4.

use super::raw::*;
use super::*;
use crate::tables::listeners::Accepts;
use crate::wire::tcp::Flags;

/// What a segment leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Nothing,
    /// <SEQ=SEG.ACK><CTL=RST>
    Reset,
    /// <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
    ResetAndAck,
    /// An ACK with the numbers as they are.
    Acknowledge,
    /// SYN and ACK.
    Open,
}

/// The 64 sets of URG, ACK, PSH, RST, SYN and FIN.
fn all_flags() -> impl Iterator<Item = Flags> {
    (0..64).map(Flags)
}

/// Says `says` with every set of flags to a shard in a state of its own each time, and compares.
fn each(
    make: impl Fn() -> (Raw, Says),
    expected: impl Fn(Flags) -> (Answer, State),
    state_of: impl Fn(&Raw) -> State,
) {
    for flags in all_flags() {
        let (mut raw, says) = make();
        let heard = raw.hear(Says { flags, ..says });
        let (answer, state) = expected(flags);
        let len = u32::from(flags.has(SYN)) + u32::from(flags.has(FIN));
        match (answer, &heard[..]) {
            (Answer::Nothing, []) => {}
            (Answer::Reset, [one]) => {
                assert_eq!((one.flags, one.seq), (RST, says.ack), "{flags:?}");
            }
            (Answer::ResetAndAck, [one]) => {
                let numbers = (one.flags, one.seq, one.ack);
                assert_eq!(numbers, (RST.union(ACK), 0, says.seq + len), "{flags:?}");
            }
            (Answer::Acknowledge, [one]) => assert_eq!(one.flags, ACK, "{flags:?}"),
            (Answer::Open, [one]) => {
                assert_eq!((one.flags, one.ack), (SYN.union(ACK), says.seq + 1), "{flags:?}");
            }
            (answer, heard) => panic!("{flags:?}: {answer:?} expected, {heard:?}"),
        }
        // RFC 9293 3.10.7.1: an incoming segment with RST is never answered by RST.
        let resets = heard.iter().any(|one| one.flags.contains(RST));
        assert!(!(flags.contains(RST) && resets), "{flags:?}");
        assert_eq!(state_of(&raw), state, "{flags:?}");
    }
}

/// The state that a shard with at most one connection or record shows.
fn state_of(raw: &Raw) -> State {
    let census = raw.shard.census();
    let is_held = |state: &State| *state != State::Listen && census[*state as usize] > 0;
    match State::ALL.into_iter().rfind(is_held) {
        Some(held) => held,
        None if census[State::Listen as usize] > 0 => State::Listen,
        None => State::Closed,
    }
}

fn listening() -> (Raw, crate::tables::listeners::ListenerId) {
    Raw::listening(|listener| listener.accepts = Accepts::OnCall, |_| {})
}

// RFC 9293 3.10.7.1 (CM-7.e, CM-7.g, CM-7.l).
#[test]
fn closed_every_set_of_flags_is_answered_as_the_standard_says() {
    let says = Says { seq: 77, ack: 9_000, ..syn(1000) };
    let expected = |flags: Flags| {
        let answer = match flags {
            flags if flags.contains(RST) => Answer::Nothing,
            flags if flags.contains(ACK) => Answer::Reset,
            _ => Answer::ResetAndAck,
        };
        (answer, State::Closed)
    };
    each(|| (Raw::new(|_| {}), says), expected, state_of);
}

// CM-7.e, CM-7.g, CM-7.l. RFC 9293 3.10.7.2; SYN with FIN is dropped, a recorded deviation.
#[test]
fn listen_every_set_of_flags_is_answered_as_the_standard_says() {
    let says = Says { seq: 77, ack: 9_000, ..syn(1000) };
    let expected = |flags: Flags| match flags {
        flags if flags.contains(RST) => (Answer::Nothing, State::Listen),
        flags if flags.contains(ACK) => (Answer::Reset, State::Listen),
        flags if flags.contains(FIN) => (Answer::Nothing, State::Listen),
        flags if flags.contains(SYN) => (Answer::Open, State::SynReceived),
        _ => (Answer::Nothing, State::Listen),
    };
    each(|| (listening().0, says), expected, state_of);
}

fn half_open(change: impl Fn(Says) -> Says) -> (Raw, Says) {
    let (mut raw, _) = listening();
    let syn_ack = raw.answer(syn(1000));
    let says = change(syn(1000).answer(&syn_ack));
    (raw, says)
}

// RFC 9293 3.10.7.4 (CM-1.i, CM-7.l), for a passive open.
#[test]
fn syn_received_every_set_of_flags_in_order_does_what_the_standard_says() {
    let expected = |flags: Flags| match flags {
        flags if flags.contains(RST) => (Answer::Nothing, State::Listen),
        flags if flags.contains(SYN) => (Answer::Nothing, State::Listen),
        flags if !flags.contains(ACK) => (Answer::Nothing, State::SynReceived),
        flags if flags.contains(FIN) => (Answer::Acknowledge, State::CloseWait),
        _ => (Answer::Nothing, State::Established),
    };
    each(|| half_open(|says| says), expected, state_of);
}

#[test]
fn syn_received_every_set_of_flags_with_a_bad_ack_does_what_the_standard_says() {
    let expected = |flags: Flags| match flags {
        flags if flags.contains(RST) => (Answer::Nothing, State::Listen),
        flags if flags.contains(SYN) => (Answer::Nothing, State::Listen),
        flags if !flags.contains(ACK) => (Answer::Nothing, State::SynReceived),
        _ => (Answer::Reset, State::SynReceived),
    };
    let make = || half_open(|says| Says { ack: says.ack + 1, ..says });
    each(make, expected, state_of);
}

#[test]
fn syn_received_every_set_of_flags_outside_the_window_is_acknowledged() {
    let expected = |flags: Flags| match flags {
        flags if flags.contains(RST) => (Answer::Nothing, State::SynReceived),
        _ => (Answer::Acknowledge, State::SynReceived),
    };
    for by in [100_000, -100_000] {
        let make = || half_open(|says| Says { seq: says.seq.wrapping_add_signed(by), ..says });
        each(make, expected, state_of);
    }
}

// RFC 5961 3.2: a RST in the window, but not exact, is challenged.
#[test]
fn syn_received_every_set_of_flags_ahead_in_the_window_does_what_the_standard_says() {
    let expected = |flags: Flags| match flags {
        flags if flags.contains(RST) => (Answer::Acknowledge, State::SynReceived),
        flags if flags.contains(SYN) => (Answer::Nothing, State::Listen),
        flags if !flags.contains(ACK) => (Answer::Nothing, State::SynReceived),
        flags if flags.contains(FIN) => (Answer::Acknowledge, State::Established),
        _ => (Answer::Nothing, State::Established),
    };
    each(|| half_open(|says| Says { seq: says.seq + 10, ..says }), expected, state_of);
}

fn time_wait(change: impl Fn(Says, u32) -> Says) -> (Raw, Says) {
    let (mut raw, id) = listening();
    let (snd_nxt, rcv_nxt) = raw.time_wait(id, 1000, None);
    let says = change(Says { seq: rcv_nxt, ack: snd_nxt, ..syn(1000) }, rcv_nxt);
    (raw, says)
}

// RFC 9293 3.10.7.4, TIME-WAIT (CM-7.l); RFC 1337 (CM-6.d).
#[test]
fn time_wait_every_set_of_flags_in_order_does_what_the_standard_says() {
    let expected = |flags: Flags| {
        let answer = match flags {
            flags if flags.contains(RST) => Answer::Nothing,
            flags if flags.contains(SYN) => Answer::Acknowledge,
            flags if !flags.contains(ACK) => Answer::Nothing,
            flags if flags.contains(FIN) => Answer::Acknowledge,
            _ => Answer::Nothing,
        };
        (answer, State::TimeWait)
    };
    each(|| time_wait(|says, _| says), expected, state_of);
}

// RFC 6191: a SYN ahead of what was received opens anew.
#[test]
fn time_wait_every_set_of_flags_ahead_does_what_the_standard_says() {
    let expected = |flags: Flags| match flags {
        flags if flags.contains(RST) => (Answer::Nothing, State::TimeWait),
        flags if flags == SYN || flags.without(Flags(0x28)) == SYN => {
            (Answer::Open, State::SynReceived)
        }
        _ => (Answer::Acknowledge, State::TimeWait),
    };
    each(|| time_wait(|says, next| Says { seq: next + 5, ..says }), expected, state_of);
}

#[test]
fn time_wait_every_set_of_flags_of_the_past_does_what_the_standard_says() {
    let expected = |flags: Flags| match flags {
        flags if flags.contains(RST) => (Answer::Nothing, State::TimeWait),
        _ => (Answer::Acknowledge, State::TimeWait),
    };
    each(|| time_wait(|says, next| Says { seq: next - 5, ..says }), expected, state_of);
}

// RFC 9293 3.9.2.3 (MUST-57, MUST-63), CM-7.j, CM-7.k: nothing is ever said to what came from, or
// went to, an address that no single host has.
#[test]
fn any_state_segment_from_an_impossible_address_is_dropped() {
    use core::net::Ipv4Addr;
    let own = Ipv4Addr::new(10, 0, 0, 1);
    let sources = [
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::new(240, 0, 0, 1),
        Ipv4Addr::new(0, 1, 2, 3),
        own,
    ];
    let destinations =
        [Ipv4Addr::BROADCAST, Ipv4Addr::new(10, 0, 0, 255), Ipv4Addr::new(224, 0, 0, 1)];
    let (mut raw, _) = listening();
    for flags in all_flags() {
        let says = Says { flags, ..syn(1000) };
        let pairs = sources.iter().map(|src| (*src, own));
        let pairs = pairs.chain(destinations.iter().map(|dst| (Ipv4Addr::new(10, 0, 0, 2), *dst)));
        for (src, dst) in pairs {
            let frame = frame_between(&says, src.into(), dst.into());
            raw.shard.on_frames(&[&frame], &mut |_, _| {}, raw.now);
            assert!(raw.sent().is_empty(), "{flags:?} {src} {dst}");
        }
        // To everybody on the link, with our address.
        let mut frame = frame(&says);
        frame[..6].copy_from_slice(&[0xff; 6]);
        raw.shard.on_frames(&[&frame], &mut |_, _| {}, raw.now);
        assert!(raw.sent().is_empty(), "{flags:?}");
    }
    assert_eq!(raw.shard.flows(), 0);
    assert_eq!(raw.count(Counter::SegmentsIn), 0);
    let dropped = raw.count(Counter::DropMartian) + raw.count(Counter::DropNotOurs);
    assert_eq!(dropped, 64 * (sources.len() + destinations.len() + 1) as u64);
}

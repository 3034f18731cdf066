//! Header prediction does what the checks would have done, and the acknowledgment written at once is the
//! one that output would have planned.

use super::*;
use proptest::prelude::*;

/// What happens to both connections.
#[derive(Clone, Debug)]
enum Step {
    /// A segment: where it begins beside RCV.NXT and what it acknowledges beside SND.UNA or SND.NXT,
    /// its length and window, whether it has PSH or FIN, and how old its timestamp is.
    Arrive {
        seq: i32,
        ack: (bool, i32),
        len: usize,
        window: u16,
        flags: Flags,
        age: Option<u32>,
    },
    Send(usize),
    Transmit,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let near = prop_oneof![8 => Just(0i32), 1 => -1500i32..1500];
    let ack = (any::<bool>(), prop_oneof![8 => Just(0i32), 1 => -1500i32..3000]);
    let len = prop_oneof![Just(0usize), Just(1), Just(64), Just(1448), 0..1460usize];
    let window = prop_oneof![8 => Just(0xffffu16), 1 => Just(0u16), 1 => any::<u16>()];
    let flags = prop_oneof![
        6 => Just(ACK), 3 => Just(ACK.union(Flags::PSH)), 1 => Just(FIN.union(ACK)),
        1 => Just(Flags::NONE), 1 => Just(ACK.union(Flags::ECE)), 1 => Just(ACK.union(Flags::URG)),
    ];
    let age = prop_oneof![8 => Just(Some(0u32)), 1 => Just(None), 1 => (0u32..50).prop_map(Some)];
    let arrive =
        (near, ack, len, window, flags, age).prop_map(|(seq, ack, len, window, flags, age)| {
            Step::Arrive { seq, ack, len, window, flags, age }
        });
    let step = prop_oneof![
        6 => arrive,
        2 => (1usize..4000).prop_map(Step::Send),
        3 => Just(Step::Transmit),
        2 => (0u64..60).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

/// Takes a step; what came of it. With `predicts` a segment may be predicted.
fn take(bench: &mut Bench, step: &Step, predicts: bool) -> String {
    let seen = match *step {
        Step::Arrive { seq, ack: (is_nxt, ack), len, window, flags, age } => {
            let seq = bench.tcb.rcv.nxt.0.wrapping_add_signed(seq);
            let from = if is_nxt { bench.tcb.snd.nxt } else { bench.tcb.snd.una };
            let text = vec![seq as u8; len];
            let now = bench.now;
            let stamp = |age| Timestamps { value: now.as_millis() as u32 + 100 - age, echo: 0 };
            let options = Options { timestamps: age.map(stamp), ..Options::NONE };
            let ack = from.0.wrapping_add_signed(ack);
            let segment = Segment { window, options, ..segment(seq, ack, flags, &text) };
            let accepted = bench.env(|tcb, env| match predicts || tcb.state() == State::Closed {
                true => tcb.on_segment(&segment, env, now),
                false => tcb.on_other_states(&segment, env, now),
            });
            let follows = accepted.follows.into_vec(&mut bench.pool);
            format!("{:?} {follows:?} {}", accepted.text, accepted.is_refused)
        }
        Step::Send(len) => format!("{}", bench.send(&vec![7; len])),
        Step::Transmit => format!("{:?}", transmit(bench, predicts)),
        Step::Wait(millis) => {
            bench.now = bench.now + Duration::from_millis(millis);
            let now = bench.now;
            bench.env(|tcb, env| tcb.on_timer(env, now));
            String::new()
        }
    };
    format!("{seen} {:?} {:?}", bench.tcb, bench.counters)
}

/// Everything that is sent now. With `predicts` a bare acknowledgment may be written at once.
fn transmit(bench: &mut Bench, predicts: bool) -> Vec<Vec<u8>> {
    let (mut all, now, mut frame) = (Vec::new(), bench.now, [0; 2048]);
    let mut next = || {
        let len = bench.env(|tcb, env| match predicts {
            true => tcb.poll_transmit(&mut frame, env, now),
            false => tcb.write_planned(&mut frame, env, now),
        })?;
        Some(frame[..len].to_vec())
    };
    while let Some(sent) = next() {
        all.push(sent);
    }
    all
}

proptest! {
    #[test]
    fn established_any_segments_leave_the_same_with_and_without_prediction(
        steps in steps(), with_stamps in any::<bool>(), keepalive in any::<bool>(),
    ) {
        let timestamps = with_stamps.then_some(Timestamps { value: 1, echo: 0 });
        let options = Options { sack_permitted: true, timestamps, ..Options::NONE };
        let open = || Bench::open_as(Config { keepalive, ..Config::default() }, options);
        let (mut one, mut other) = (open(), open());
        for step in &steps {
            prop_assert_eq!(take(&mut one, step, true), take(&mut other, step, false), "{:?}", step);
        }
    }
}

// As the next one: it is worth something only where acknowledgments are written at once.
#[test]
fn established_usual_acknowledgments_are_written_at_once() {
    let stamps = Some(Timestamps { value: 1, echo: 0 });
    let mut bench =
        Bench::open_as(Config::default(), Options { timestamps: stamps, ..Options::NONE });
    let (nxt, una) = (bench.tcb.rcv.nxt.0, bench.tcb.snd.una.0);
    let options = Options { timestamps: stamps, ..Options::NONE };
    bench.arrive(Segment { options, ..segment(nxt, una, ACK, b"text") });
    assert!(bench.tcb.owes_stamped_ack());
    bench.send(b"answer");
    assert!(!bench.tcb.owes_stamped_ack());
}

// The comparison is worth something only if segments are predicted.
#[test]
fn established_usual_segments_are_predicted() {
    let mut bench = Bench::open();
    bench.send(b"question");
    bench.sent();
    let (nxt, una) = (bench.tcb.rcv.nxt.0, bench.tcb.snd.una.0);
    for usual in [
        segment(nxt, una, ACK, b"text"),
        segment(nxt, una + 8, ACK.union(Flags::PSH), b"text"),
        segment(nxt, una + 3, ACK, &[]),
    ] {
        assert!(bench.env(|tcb, env| tcb.is_predicted(&usual, env)), "{usual:?}");
    }
    for unusual in [
        segment(nxt + 1, una, ACK, b"text"),
        segment(nxt, una, ACK, &[]),
        segment(nxt, una + 9, ACK, b"text"),
        segment(nxt, una - 1, ACK, b"text"),
        segment(nxt, una, ACK.union(FIN), b"text"),
        segment(nxt, una, Flags::PSH, b"text"),
        Segment { window: 0, ..segment(nxt, una, ACK, b"text") },
        segment(nxt, una, ACK, &[0; 70_000]),
    ] {
        assert!(!bench.env(|tcb, env| tcb.is_predicted(&unusual, env)), "{unusual:?}");
    }
}

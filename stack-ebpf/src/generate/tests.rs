//! Tests of pace, draw and sink; whole frames are tested where their templates are made.

use core::cell::Cell;
use std::vec;
use std::vec::Vec;

use super::*;

const SEED: State = State {
    random: 7,
    due: 0,
    sent: 0,
    held: 0,
    first: 0,
    last: 0,
    waited: 0,
    idle_since: 0,
    is_sending: 0,
};

/// Runs an order with a look at the clock every `step` ns; gives the times at which frames were sent.
fn times(order: &Order, step: u64, until: u64) -> (State, Vec<u64>) {
    let mut state = SEED;
    let clock = Cell::new(1_000_000);
    let mut sent = Vec::new();
    while clock.get() < 1_000_000 + until {
        if state.turn(order, || clock.get()).is_some() {
            sent.push(clock.get() - 1_000_000);
        }
        clock.set(clock.get() + step);
    }
    (state, sent)
}

fn paced(rate: u64, burst: u64) -> Order {
    let interval = Order::interval_of(rate);
    Order { interval, burst: burst * interval, frames: u64::MAX, templates: 1, ..Order::default() }
}

#[test]
fn pace_is_met_to_the_frame_also_where_the_interval_is_no_whole_number() {
    for rate in [50_000, 200_000, 300_000, 1_300_000] {
        let (state, sent) = times(&paced(rate, 16), 37, 1_000_000_000);
        let wrong = sent.len().abs_diff(rate as usize);
        assert!(wrong <= 1 + rate as usize / 100_000, "{rate}: {}", sent.len());
        assert_eq!(state.sent, sent.len() as u64);
        assert_eq!(state.last - state.first, *sent.last().unwrap());
    }
}

#[test]
fn pause_is_made_up_for_within_the_burst_alone() {
    // One look at the clock in a millisecond, at a frame every 5 us: 200 were due, 16 may go.
    let mut state = SEED;
    let order = paced(200_000, 16);
    let clock = Cell::new(0);
    let mut bursts = Vec::new();
    for round in 0..10 {
        clock.set(round * 1_000_000);
        bursts.push((0..500).filter(|_| state.turn(&order, || clock.get()).is_some()).count());
    }
    assert_eq!(bursts[1..], vec![17; 9]);
    assert_eq!(bursts[0], 1);
}

#[test]
fn waiting_is_neither_what_a_frame_takes_nor_what_somebody_else_took() {
    // A frame every 10 us, a look every 100 ns; each frame takes 300 ns, the end of its batch 1 us, and
    // once somebody else has the CPU.
    let order = paced(100_000, 1);
    let (mut state, mut now) = (SEED, 1_000_000);
    let (mut idle, mut is_sending) = (0, false);
    for round in 1..=16 * 1_000 {
        let is_sent = state.turn(&order, || now).is_some();
        is_sending |= is_sent;
        let is_end = round % PACED_BATCH == 0;
        let pause = match (is_sent, is_end && is_sending) {
            (_, true) => 1_000,
            (true, false) => 300,
            (false, false) if round == 8_000 - 3 => 3_000,
            (false, false) => {
                idle += 100;
                100
            }
        };
        is_sending &= !is_end;
        now += pause;
    }
    // What follows the last round nobody has seen yet.
    assert!(idle - state.waited <= 100 && idle > 1_000_000, "{} of {idle}", state.waited);
    assert_eq!(state.held + state.sent, 16_000);
    // Flat out there is none.
    let flat = Order { frames: 100, templates: 1, ..Order::default() };
    assert_eq!(times(&flat, 50, 10_000).0.waited, 0);
}

#[test]
fn count_of_frames_ends_the_order() {
    let order = Order { frames: 3, templates: 1, ..Order::default() };
    let (state, sent) = times(&order, 1, 100);
    assert_eq!((state.sent, sent.len()), (3, 3));
    assert_eq!(times(&Order::default(), 1, 100).1, []);
}

#[test]
fn draw_stays_within_its_mask_and_meets_every_template() {
    let order = Order { mask: 0x1ffff, templates: 3, ..paced(0, 0) };
    let mut state = SEED;
    let mut met = [0; 3];
    let mut sources = Vec::new();
    for _ in 0..10_000 {
        let draw = state.turn(&order, || 0).unwrap();
        met[draw.template as usize] += 1;
        assert!(draw.source <= 0x1ffff && draw.port >= 1024);
        sources.push((draw.source, draw.port));
    }
    assert!(met.iter().all(|count| (2_900..3_800).contains(count)), "{met:?}");
    sources.sort_unstable();
    sources.dedup();
    assert!(sources.len() > 9_990);
}

#[test]
fn sink_knows_answers_to_its_prefix_alone() {
    let sink = Sink::v4([198, 18, 0, 0], [255, 254, 0, 0]);
    let frame = |destination: [u8; 4], protocol, flags| {
        let mut frame = vec![0_u8; 54];
        frame[12] = 8;
        (frame[14], frame[23], frame[47]) = (0x45, protocol, flags);
        frame[30..34].copy_from_slice(&destination);
        frame
    };
    let answer = |frame: &Vec<u8>| sink.answer(&frame[..]);
    let spoofed = [198, 19, 255, 1];
    assert_eq!(answer(&frame(spoofed, 6, 0x12)), Some(Answer::SynAck));
    assert_eq!(answer(&frame(spoofed, 6, 0x14)), Some(Answer::Reset));
    assert_eq!(answer(&frame(spoofed, 6, 0x10)), Some(Answer::Other));
    assert_eq!(answer(&frame(spoofed, 1, 0x12)), Some(Answer::Other));
    assert_eq!(answer(&frame([198, 20, 0, 1], 6, 0x12)), None);
    assert_eq!(Sink::default().answer(&frame([0; 4], 6, 0x12)[..]), None);
    assert_eq!(answer(&frame(spoofed, 6, 0x12)[..20].into()), None);
}

#[test]
fn sink_of_one_family_knows_no_answer_of_the_other() {
    let prefix = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut mask = [u8::MAX; 16];
    mask[12..].fill(0);
    mask[8..12].fill(u8::MAX);
    let sink = Sink { prefix, mask };
    let frame = |last: [u8; 4], next_header, flags| {
        let mut frame = vec![0_u8; 74];
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        (frame[14], frame[20], frame[67]) = (0x60, next_header, flags);
        frame[38..54].copy_from_slice(&prefix);
        frame[50..54].copy_from_slice(&last);
        frame
    };
    let answer = |frame: &Vec<u8>| sink.answer(&frame[..]);
    assert_eq!(answer(&frame([9; 4], 6, 0x12)), Some(Answer::SynAck));
    assert_eq!(answer(&frame([9; 4], 6, 0x04)), Some(Answer::Reset));
    assert_eq!(answer(&frame([9; 4], 58, 0x12)), Some(Answer::Other));
    let mut other = frame([9; 4], 6, 0x12);
    other[45] = 1;
    assert_eq!(answer(&other), None);
    assert_eq!(Sink::v4([9; 4], [255; 4]).answer(&frame([9; 4], 6, 0x12)[..]), None);
}

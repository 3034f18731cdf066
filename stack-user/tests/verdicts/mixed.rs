//! Many frames of all kinds: each verdict is the library's, and the counters are what was sent.

use stack_ebpf::contract::{Address, AddressKey, Config};
use stack_ebpf::steer::{Tables, classify};
use stack_ebpf::verdict::{Action, Verdict};

use crate::cases::{World, untagged};
use crate::front::Both;
use crate::ground::{ACK, FIN, HTTP, RST, SYN, Says, linux_options, sum_ipv4};
use crate::kernel::{Kernel, returned};
use crate::{Random, is_long};

fn rounds() -> usize {
    if is_long() { 1_000_000 } else { 10_000 }
}

/// How many frames met each verdict.
struct Tally(Vec<u64>);

impl Tally {
    fn new() -> Self {
        Self(vec![0; Verdict::ALL.len()])
    }

    fn add(&mut self, verdict: Verdict) -> u64 {
        self.0[verdict as usize] += 1;
        self.0[verdict as usize]
    }

    /// Asserts that these are the counters, every one of them.
    fn assert_counted(&self, counters: &[(&'static str, u64)]) {
        for (verdict, (wanted, counted)) in Verdict::ALL.iter().zip(self.0.iter().zip(counters)) {
            assert_eq!((verdict.name(), *wanted), *counted);
        }
    }
}

/// Any frame: of a case, changed or not, cut or not; or of octets that mean nothing.
fn frame(random: &mut Random, cases: &[Vec<u8>]) -> Vec<u8> {
    if random.below(8) == 0 {
        return (0..14 + random.below(120)).map(|_| random.byte()).collect();
    }
    let mut frame = cases[random.below(cases.len())].clone();
    for _ in 0..random.below(4) {
        let at = random.below(frame.len());
        // Small values are lengths, offsets and protocols: the bits that decide.
        frame[at] = if random.below(2) == 0 { random.byte() } else { random.byte() % 16 };
    }
    if random.below(4) != 0 {
        // Else most changes would end at the header's checksum.
        sum_ipv4(&mut frame);
    }
    if random.below(8) == 0 {
        frame.truncate(14 + random.below(frame.len() - 13));
    }
    frame
}

#[test]
#[ignore = "needs root and the BPF object"]
fn mixed_frames_counters_match_what_was_sent_to_the_frame() {
    let mut random = Random::seeded();
    let world = World::new(0);
    let kernel = Kernel::serving(&world);
    let cases = untagged();
    let mut sent = Tally::new();
    for _ in 0..rounds() {
        let case = &cases[random.below(cases.len())];
        kernel.run(&case.frame);
        sent.add(case.verdict);
    }
    sent.assert_counted(&kernel.program.maps.counters().unwrap());
    let met = sent.0.iter().filter(|count| **count > 0).count();
    println!("{} frames of {met} verdicts", rounds());
}

#[test]
#[ignore = "needs root and the BPF object"]
fn any_octets_meet_the_librarys_verdict() {
    let mut random = Random::seeded();
    let world = World::new(0);
    let kernel = Kernel::serving(&world);
    let cases: Vec<_> = untagged().into_iter().map(|case| case.frame).collect();
    let mut sent = Tally::new();
    for round in 0..rounds() {
        let frame = frame(&mut random, &cases);
        let verdict = classify(&frame[..], &world);
        let action = kernel.run(&frame);
        // One counter moves for each frame: that it is this one says that no other did.
        let count = kernel.program.maps.count(verdict).unwrap();
        let met = (action, count);
        assert_eq!(
            met,
            (returned(verdict), sent.add(verdict)),
            "{round}: {verdict:?} {frame:02x?}"
        );
    }
    sent.assert_counted(&kernel.program.maps.counters().unwrap());
}

#[test]
#[ignore = "needs root and the BPF object"]
fn any_octets_at_a_closed_gate_meet_the_librarys_verdict() {
    let mut random = Random::seeded();
    let mut both = Both::new(0);
    // As many as come: a budget depends on the clock.
    (both.ground.front.stray_cost, both.ground.front.reset_cost) = (0, 1);
    both.tell();
    let mut cases: Vec<_> = untagged().into_iter().map(|case| case.frame).collect();
    for flags in [SYN, ACK, SYN | ACK, FIN | ACK, RST, SYN | FIN] {
        for is_v6 in [false, true] {
            let options = linux_options(1, 7);
            cases.push(Says { is_v6, flags, options, ports: (5, HTTP), ..Says::default() }.frame());
        }
    }
    let mut sent = Tally::new();
    for round in 0..rounds() {
        let frame = frame(&mut random, &cases);
        let (verdict, ..) = both.ground.meet(&frame);
        let action = both.returned(&frame);
        let met = (action, both.program.maps.count(verdict).unwrap());
        assert_eq!(
            met,
            (returned(verdict), sent.add(verdict)),
            "{round}: {verdict:?} {frame:02x?}"
        );
    }
    sent.assert_counted(&both.program.maps.counters().unwrap());
}

/// Nothing of ours, not even an address.
struct Nothing;

impl Tables for Nothing {
    fn config(&self) -> Option<&Config> {
        None
    }

    fn address(&self, _addr: &AddressKey) -> Option<Address> {
        None
    }

    fn is_listener(&self, _local: &AddressKey, _port: u16) -> bool {
        false
    }
}

#[test]
#[ignore = "needs root and the BPF object"]
fn any_octets_to_a_program_that_was_told_nothing_pass() {
    let mut random = Random::seeded();
    let kernel = Kernel::unconfigured();
    let cases: Vec<_> = untagged().into_iter().map(|case| case.frame).collect();
    for _ in 0..1_000 {
        let frame = frame(&mut random, &cases);
        assert_eq!(kernel.run(&frame), returned(Verdict::PassMac), "{frame:02x?}");
        assert_eq!(classify(&frame[..], &Nothing).action(), Action::Pass);
    }
}

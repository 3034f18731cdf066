//! The XDP program in the kernel, over crafted frames through BPF_PROG_TEST_RUN: verdict, counter,
//! and what the library says of the same frame.
//!
//! Needs root and the BPF object (`cargo xtask build-ebpf`). No frame leaves the test; interfaces
//! are made in network namespaces that end with the test's thread.
#![allow(clippy::unwrap_used)]

mod attaching;
#[path = "../../../stack-ebpf/src/steer/cases/mod.rs"]
mod cases;
mod front;
#[path = "../../../stack-ebpf/src/front/ground/mod.rs"]
#[allow(dead_code, reason = "the host's tests need all of it")]
mod ground;
mod kernel;
mod limits;
mod mixed;

use stack_ebpf::contract::{FRONT_PROGRAMS, PROGRAM};
use stack_ebpf::steer::classify;
use stack_ebpf::verdict::{Action, Verdict};

use cases::{Case, VLAN, World, tagged, untagged};
use kernel::Kernel;

#[test]
#[ignore = "needs root and the BPF object"]
fn untagged_every_case_meets_its_verdict_and_its_counter() {
    expect(&Kernel::serving(&World::new(0)), &untagged());
}

#[test]
#[ignore = "needs root and the BPF object"]
fn tagged_every_case_meets_its_verdict_and_its_counter() {
    expect(&Kernel::serving(&World::new(VLAN)), &tagged());
}

#[test]
#[ignore = "needs root and the BPF object"]
fn queue_without_socket_what_is_ours_is_dropped_and_counted() {
    let kernel = Kernel::load(&World::new(0));
    for case in untagged() {
        let wanted = match case.verdict.action() {
            Action::Redirect => Verdict::DropNoSocket,
            _ => case.verdict,
        };
        kernel.expect(&case.frame, wanted, case.name);
    }
}

#[test]
#[ignore = "needs root and the BPF object"]
fn unconfigured_every_case_passes() {
    let kernel = Kernel::unconfigured();
    for case in untagged() {
        assert_eq!(kernel.run(&case.frame), XDP_PASS, "{}", case.name);
    }
}

#[test]
#[ignore = "needs root and the BPF object"]
fn cut_at_every_length_kernel_and_library_agree() {
    for (world, cases) in [(World::new(0), untagged()), (World::new(VLAN), tagged())] {
        let kernel = Kernel::serving(&world);
        for case in cases {
            for length in SHORTEST..case.frame.len() {
                let cut = &case.frame[..length];
                let at = format!("{} at {length}", case.name);
                kernel.expect(cut, classify(cut, &world), &at);
            }
        }
    }
}

#[test]
#[ignore = "needs root and the BPF object"]
fn mutated_at_random_kernel_and_library_agree() {
    let seed = std::env::var("SLUICE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random(seed);
    let world = World::new(0);
    let kernel = Kernel::serving(&world);
    for case in untagged() {
        for round in 0..MUTATIONS {
            let mut frame = case.frame.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(frame.len());
                // Small values are lengths, offsets and protocols: the bits that decide.
                frame[at] = if random.below(2) == 0 { random.byte() } else { random.byte() % 16 };
            }
            let at = format!("{} in round {round} of seed {seed}: {frame:02x?}", case.name);
            kernel.expect(&frame, classify(&frame[..], &world), &at);
        }
    }
}

#[test]
#[ignore = "needs root and the BPF object"]
fn verifier_walks_a_bounded_number_of_instructions() {
    let program = Kernel::unconfigured().program;
    for (name, most) in
        [(PROGRAM, MOST_INSTRUCTIONS), (FRONT_PROGRAMS[0], 400_000), (FRONT_PROGRAMS[1], 600_000)]
    {
        let count = program.verified_instructions(name).expect("the kernel tells it since 5.16");
        println!("{name}: the verifier walked {count} instructions");
        // Linux refuses a program above one million; here a change is to be noticed long before.
        assert!((1..most).contains(&count), "{name}: {count}");
    }
}

fn expect(kernel: &Kernel, cases: &[Case]) {
    for case in cases {
        kernel.expect(&case.frame, case.verdict, case.name);
    }
}

/// Whether the tests run in their full sizes (`cargo xtask test --long`).
fn is_long() -> bool {
    std::env::var_os("SLUICE_LONG").is_some()
}

/// Marsaglia's xorshift64: enough to choose bytes.
struct Random(u64);

impl Random {
    /// From the seed that the environment gives; prints it.
    fn seeded() -> Self {
        let seed = std::env::var("SLUICE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(1);
        println!("seed {seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits fit") % bound
    }

    fn byte(&mut self) -> u8 {
        (self.next() >> 56) as u8
    }
}

/// What the kernel takes for a frame at least: an Ethernet header.
const SHORTEST: usize = 14;
/// Frames made of each case.
const MUTATIONS: usize = 200;
const MOST_INSTRUCTIONS: u32 = 100_000;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

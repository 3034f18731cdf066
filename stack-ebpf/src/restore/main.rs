//! The program that steers, as the bench measures it: BPF_PROG_TEST_RUN repeats a run on the frame as
//! the last round left it, so that each round begins by putting the frame back.
//!
//! Owns the map of the frame and the two entry points; the program is the one that runs, from the same
//! file.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

/// The program exists for the BPF target alone; on the host this keeps the workspace buildable.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod entry;
#[cfg(target_arch = "bpf")]
#[path = "../program.rs"]
mod program;

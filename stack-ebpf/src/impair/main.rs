//! The XDP program of the tests' impaired link: passes frames from one interface on to another,
//! drops, repeats and reorders some of them.
//!
//! Owns the maps and the redirection. What becomes of a frame is drawn in the library.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

/// The program exists for the BPF target alone; on the host this keeps the workspace buildable.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program;

//! The generator of frames: a program that runs on frames which came from nowhere, writes them, and
//! sends them out of an interface.
//!
//! Owns the maps and the access to the frame. What is written, and when, is the library's to say.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

/// The program exists for the BPF target alone; on the host this keeps the workspace buildable.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program;

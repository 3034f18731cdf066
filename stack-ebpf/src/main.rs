//! The XDP program: parse, classify, then pass, drop or redirect.
//!
//! Owns the maps and the access to the packet. What is decided stands in the library, where the
//! host's tests reach it.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

/// The program exists for the BPF target alone; on the host this keeps the workspace buildable.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program;
